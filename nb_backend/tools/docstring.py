"""What a docstring says about a function and about each argument, in the styles of Google, NumPy and reST."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

_GOOGLE = re.compile(r"(?:Args|Arguments|Parameters|Params|Keyword Args|Keyword Arguments|Other Parameters):\s*")
_NUMPY = re.compile(r"(?:Other )?Parameters\s*")
_UNDERLINE = re.compile(r"-{3,}\s*")
_GOOGLE_ITEM = re.compile(r"\*{0,2}(\w+)(?:\s*\(.*?\))?\s*:(?:\s+(.*))?")
_NUMPY_ITEM = re.compile(r"(\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?:\s:.*|:)?")
_REST_ITEM = re.compile(r":(?:param|parameter|arg|argument|key|keyword)\s+(?:[^:]*\s)?\*{0,2}(\w+)\s*:\s*(.*)")
_REST_TYPE = re.compile(r":type\s+\w+\s*:.*")


def read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Return the text of a docstring without its sections about arguments, and what they say about each argument."""
    lines = inspect.cleandoc(text).splitlines()
    kept: list[str] = []
    about: dict[str, str] = {}
    at = 0
    while at < len(lines):
        line, after = lines[at], lines[at + 1 : at + 2]
        if _GOOGLE.fullmatch(line):
            end = _end_of_indented(lines, at + 1)
            about |= _items(inspect.cleandoc("\n" + "\n".join(lines[at + 1 : end])).splitlines(), _GOOGLE_ITEM)
        elif _NUMPY.fullmatch(line) and after and _UNDERLINE.fullmatch(after[0]):
            end = _end_of_section(lines, at + 2)
            about |= _items(lines[at + 2 : end], _NUMPY_ITEM)
        elif _REST_ITEM.fullmatch(line):
            end = _end_of_indented(lines, at + 1)
            about |= _items(lines[at:end], _REST_ITEM)
        elif _REST_TYPE.fullmatch(line):
            end = at + 1
        else:
            kept.append(line)
            end = at + 1
        at = end
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip(), about


def _end_of_indented(lines: list[str], at: int) -> int:
    """Return where the indented lines end that start here; empty lines may be among them."""
    while at < len(lines) and (not lines[at].strip() or lines[at][0].isspace()):
        at += 1
    return at


def _end_of_section(lines: list[str], at: int) -> int:
    """Return where the next section of a docstring of NumPy starts, or the end."""
    for end in range(at, len(lines) - 1):
        if lines[end].strip() and _UNDERLINE.fullmatch(lines[end + 1]):
            return end
    return len(lines)


def _items(lines: list[str], item: re.Pattern[str]) -> dict[str, str]:
    """Return the description of each name: the rest of its line, and the indented lines below it."""
    found: dict[str, list[str]] = {}
    names: list[str] = []
    for name, words in _named(lines, item):
        names = name or names
        for one in names:
            found.setdefault(one, []).append(words)
    return {name: " ".join(" ".join(words).split()) for name, words in found.items()}


def _named(lines: list[str], item: re.Pattern[str]) -> Iterator[tuple[list[str], str]]:
    for line in lines:
        match = None if line[:1].isspace() else item.fullmatch(line)
        if match is None:
            yield [], line
        else:
            words = match[2] if item.groups > 1 else ""
            yield re.findall(r"\w+", match[1]), words or ""
