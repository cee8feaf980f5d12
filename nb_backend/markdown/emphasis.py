"""Pair the delimiters of emphasis (CommonMark 6.2, GFM 6.5), and write them so that no parser has to pair them again.

Marked, which JupyterLab uses, searches for the partner of each delimiter up to the end of the paragraph, and reads what
is between two again (its ``emStrong``): many delimiters in a long paragraph take minutes. A paragraph with that many is
written with ``<em>``, ``<strong>`` and ``<del>``; delimiters without a partner are entities.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from markdown_it.common.utils import isMdAsciiPunct, isPunctChar, isWhiteSpace

_MAX_DEPTH = 10  # deeper emphasis is not shown
_MAX_WORK = 200_000  # delimiters times characters; with that many, marked takes 7 ms
_MAX_WORD_WORK = 4_000_000  # the same for underscores within words, which marked skips
_delimiter = re.compile(r"\*+|~+|!|(?<![^\W_])_+|_+(?![^\W_])")
_START, _END = "\3", "\4"  # around a delimiter run, whose partner is not known yet
_run = re.compile(rf"{_START}([0-3])([*_~]+){_END}")
_CAN_OPEN, _CAN_CLOSE = 1, 2


def is_slow(source: str) -> bool:
    """Whether marked would take long to pair the delimiters of a text; an exclamation mark may begin an image."""
    work = (source.count("*") + source.count("_") + source.count("~") + source.count("!")) * len(source)
    if work <= _MAX_WORK:
        return False
    return work > _MAX_WORD_WORK or len(_delimiter.findall(source)) * len(source) > _MAX_WORK


def mark_run(source: str, start: int, end: int) -> str:
    """Return the delimiter run at a position with a note whether it can open or close emphasis."""
    before, after = ord(source[start - 1 : start] or " "), ord(source[end : end + 1] or " ")
    space_before, space_after = isWhiteSpace(before), isWhiteSpace(after)
    punctuation_before = isMdAsciiPunct(before) or isPunctChar(chr(before))
    punctuation_after = isMdAsciiPunct(after) or isPunctChar(chr(after))
    left = not space_after and (not punctuation_after or space_before or punctuation_before)
    right = not space_before and (not punctuation_before or space_after or punctuation_after)
    if source[start] == "_":
        left, right = left and (not right or punctuation_before), right and (not left or punctuation_after)
    return f"{_START}{_CAN_OPEN * left + _CAN_CLOSE * right}{source[start:end]}{_END}"


@dataclass
class _Run:
    """A delimiter run; ``left`` is how many of its characters have no partner yet."""

    character: str
    length: int
    can_open: bool
    can_close: bool
    left: int
    closing: list[str] = field(default_factory=list)  # tags, from left to right
    opening: list[str] = field(default_factory=list)  # tags, from right to left

    def pairs_with(self, closer: _Run) -> bool:
        """Whether this run can open what ``closer`` closes."""
        if self.character != closer.character:
            return False
        if self.character == "~":
            return self.length == closer.length
        one_of_both = (self.can_close or closer.can_open) and (self.length % 3 or closer.length % 3)
        return not one_of_both or (self.length + closer.length) % 3 != 0


def write_emphasis(text: str) -> str:
    """Replace the runs of ``mark_run`` in safe Markdown by tags and entities. Linear time."""
    parts = _run.split(text)
    runs = [_as_run(int(flags), run) for flags, run in zip(parts[1::3], parts[2::3], strict=True)]
    _pair(runs)
    out = [parts[0]]
    open_count = 0
    for run, following in zip(runs, parts[3::3], strict=True):
        for tag in run.closing:
            open_count -= 1
            out.append(f"</{tag}>" if open_count < _MAX_DEPTH else "")
        out.append(f"&#{ord(run.character)};" * run.left)
        for tag in reversed(run.opening):
            out.append(f"<{tag}>" if open_count < _MAX_DEPTH else "")
            open_count += 1
        out.append(following)
    return "".join(out)


def _as_run(flags: int, run: str) -> _Run:
    can_pair = run[0] != "~" or len(run) <= 2  # GFM 6.5
    return _Run(run[0], len(run), can_pair and bool(flags & _CAN_OPEN), can_pair and bool(flags & _CAN_CLOSE), len(run))


def _pair(runs: list[_Run]) -> None:
    """Find the partners of all runs, as CommonMark's "process emphasis" does."""
    openers: list[_Run] = []
    searched: dict[tuple[str, bool, int], int] = {}  # by kind of closer: the openers below this index do not fit
    for run in runs:
        kind = (run.character, run.can_open, run.length % 3 if run.character != "~" else run.length)
        while run.can_close and run.left:
            first, i = searched.get(kind, 0), len(openers) - 1
            while i >= first and not openers[i].pairs_with(run):
                i -= 1
            if i < first:
                searched[kind] = len(openers)
                break
            opener = openers[i]
            count = min(2, opener.left, run.left)
            tag = "del" if run.character == "~" else "strong" if count == 2 else "em"
            opener.opening.append(tag)
            run.closing.append(tag)
            opener.left -= count
            run.left -= count
            del openers[i + 1 if opener.left else i :]
            searched = {kind: min(index, len(openers)) for kind, index in searched.items()}
        if run.can_open and run.left:
            openers.append(run)
