r"""How a model's Markdown is read to be shown as HTML: CommonMark, tables, ``~~gone~~``, formulas, bare addresses.

Nothing here writes HTML: the rules find tokens. Blocks are those of ``markdown``; inside them formulas, links and
bare addresses are found as there too, so that the panel and the cell show the same.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import MutableMapping
from typing import Any, NamedTuple, Protocol

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, reference
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from .. import elements as parts
from ..data_uris import is_bitmap
from ..parser import bars_of_formulas, block_parser, math_rule
from ..scan import bare_address, formula_in_brackets, formula_in_dollars, link_label, link_target

_DEEPEST = 40  # levels; a list takes two
_FORMULA_LINES = 100  # of a formula as a block: no block has to wait longer for what may still end one
_scheme = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
References = MutableMapping[str, dict[str, Any]]


class Links(Protocol):
    """Says what links and images lead to."""

    def reference(self, label: str) -> str:
        """Give the address that a label stands for, or ""."""

    def stands_for(self, address: str, *, image: bool) -> str:
        """Give the address that is meant by one that was written."""


class Read(NamedTuple):
    """The blocks of a text. ``reach``: the line at which the search for a formula's end was given up, the last one."""

    tokens: list[Token]
    reach: int


def read_blocks(source: str, references: References) -> Read:
    """Give the tokens of blocks; what the references in it stand for is added to ``references``, with their lines."""
    tokens, env = _read(source, references)
    if with_bars := bars_of_formulas(source, tokens):
        tokens, env = _read(with_bars, references)
    return Read(tokens, env.get("reach", -1))


def _read(source: str, references: References) -> tuple[list[Token], dict[str, Any]]:
    env: dict[str, Any] = {"references": references}
    return _parser.parse(source, env), env


def read_inline(source: str, links: Links) -> list[Token]:
    """Give the tokens of a paragraph's text."""
    tokens: list[Token] = []
    _parser.inline.parse(source, _parser, {"scan": _Scan(links)}, tokens)
    return tokens


class _Opener(NamedTuple):
    token: int  # where `[` is in the tokens
    start: int  # where its text starts in the source
    image: bool
    metas: int  # how many lists of delimiters there were


class _Scan:
    """What is known while one text is read."""

    def __init__(self, links: Links) -> None:
        self.links = links
        self.openers: list[_Opener] = []
        self.closed = 0  # so many of them stand around a link, and can only open images
        self.closers: dict[str, int] = {}


def _too_deep(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read blocks as words where the text is deeper than it is shown: nothing is left out."""
    if silent or state.level < _DEEPEST:
        return False
    line = start + 1
    while line < end and not state.isEmpty(line) and state.sCount[line] >= state.blkIndent:
        line += 1
    state.line = line
    state.push("paragraph_open", "p", 1).map = [start, line]
    state.push("inline", "", 0).content = state.getLines(start, line, state.blkIndent, False).strip()
    state.push("paragraph_close", "p", -1)
    return True


def _formula_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Find a formula as ``markdown`` does, but none of more lines than the end of a growing text is waited for."""
    at = state.bMarks[start] + state.tShift[start]
    if state.src[at : at + 1] not in ("$", "\\"):
        return False
    if math_rule(state, start, min(end, start + _FORMULA_LINES), silent):
        return True
    no_match_lines: dict[str, range] = state.env.get("no_match_lines", {})
    for closer, lines in list(no_match_lines.items()):
        state.env["reach"] = max(state.env.get("reach", -1), lines.stop)
        if lines.stop == start + _FORMULA_LINES:  # what ends a formula may stand further on
            no_match_lines[closer] = range(start, _line_of_next(state, closer, lines.stop) - _FORMULA_LINES + 1)
    return False


def _line_of_next(state: StateBlock, text: str, line: int) -> int:
    """Give the line, from this one on, in which a text stands next; it is looked for once in all."""
    known: dict[str, int] = state.env.setdefault("next", {})
    start = state.bMarks[min(line, len(state.bMarks) - 1)]
    if known.get(text, 0) < start:
        found = state.src.find(text, start)
        known[text] = found if found >= 0 else len(state.src) + 1
    return bisect_right(state.bMarks, known[text]) - 1 if known[text] <= len(state.src) else len(state.bMarks) * 2


def _definition(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Find what a label stands for, and say where: the text before it is done."""
    if not reference(state, start, end, silent):
        return False
    if not silent:
        state.push("definition", "", 0).map = [start, state.line]
    return True


def _formula(state: StateInline, silent: bool) -> bool:
    sign, scan = state.src[state.pos], _scan(state)
    if sign == "\\":
        found = formula_in_brackets(state.src, state.pos, scan.closers)
        if found is None:
            return False
        body, end, display = found
    elif sign == "$":
        dollars = formula_in_dollars.match(state.src, state.pos)
        if dollars is None:
            end = state.pos
            while state.src[end : end + 1] == "$":
                end += 1
            state.pending += state.src[state.pos : end]
            state.pos = end
            return True
        body, end, display = dollars[1] or dollars[2], dollars.end(), dollars[1] is not None
    else:
        return False
    token = state.push("formula", "math", 0)
    token.content = body
    token.markup = state.src[state.pos : end]
    token.meta = {"display": display}
    state.pos = end
    return True


def _bare_address(state: StateInline, silent: bool) -> bool:
    colon = state.pos
    if state.src[colon : colon + 3] != "://":
        return False
    scheme = re.search(r"(?<![^\W_])https?\Z", state.src[max(0, colon - 6) : colon], re.IGNORECASE)
    if scheme is None or not state.pending.endswith(scheme[0]):
        return False
    start = colon - len(scheme[0])
    url = bare_address(state.src, start)
    if len(url) <= len(scheme[0]) + 3 or parts.address(url) is None:
        return False
    state.pending = state.pending[: -len(scheme[0])]
    state.push("link_open", "a", 1).attrs = {"href": url}
    state.push("text", "", 0).content = url
    state.push("link_close", "a", -1)
    state.pos = start + len(url)
    return True


def _bracket(state: StateInline, silent: bool) -> bool:
    scan, sign = _scan(state), state.src[state.pos]
    if sign == "]":
        return _closing_bracket(state, scan)
    image = state.src.startswith("![", state.pos)
    if sign != "[" and not image:
        return False
    token = state.push("text", "", 0)
    token.content = "![" if image else "["
    state.pos += len(token.content)
    scan.openers.append(_Opener(len(state.tokens) - 1, state.pos, image, len(state.tokens_meta)))
    return True


def _closing_bracket(state: StateInline, scan: _Scan) -> bool:
    if not scan.openers:
        return False
    opener = scan.openers.pop()
    around = len(scan.openers) < scan.closed
    scan.closed = min(scan.closed, len(scan.openers))
    if around and not opener.image:
        return False
    url, end = _target(state.src, opener.start, state.pos, scan.links)
    if not url:
        return False
    url = scan.links.stands_for(url, image=opener.image)
    if opener.image:
        if not (is_bitmap(url) or (parts.address(url) or ("", ""))[1] or re.match(r"data:[^,]*;base64,", url)):
            return False
        _push_image(state, opener, url)
    else:
        if parts.address(url) is None:
            return False
        _push_link(state, opener, url)
        scan.closed = len(scan.openers)
    state.pos = end
    return True


def _target(source: str, start: int, end: int, links: Links) -> tuple[str, int]:
    """Give the address of the link whose text is ``source[start:end]``, and where the link ends; "" for no link."""
    if found := link_target.match(source, end + 1):
        return parts.unescape_address(found[1] or found[2] or ""), found.end()
    label = link_label.match(source, end + 1)
    if label and label[1]:
        return links.reference(label[1]), label.end()
    after = label.end() if label else end + 1
    named = end - start <= 999 and not re.search(r"[\[\]]", source[start:end])
    return (links.reference(source[start:end]) if named else ""), after


def _push_image(state: StateInline, opener: _Opener, url: str) -> None:
    """Put an image in the place of what was found in its text."""
    state.pending = ""
    del state.tokens[opener.token :]
    del state.tokens_meta[opener.metas :]
    _delimiters_after(state, opener.token)
    token = state.push("image", "img", 0)
    token.content = state.src[opener.start : state.pos][:200]
    token.attrs = {"src": url}


def _push_link(state: StateInline, opener: _Opener, url: str) -> None:
    closing = state.push("link_close", "a", 0)  # a level of its own is not needed: what may pair inside is kept apart
    closing.nesting = -1
    state.tokens[opener.token] = Token("link_open", "a", 1, attrs={"href": url})
    state.tokens_meta.append({"delimiters": _delimiters_after(state, opener.token)})


def _delimiters_after(state: StateInline, token: int) -> list[Any]:
    """Take the signs of emphasis behind a token from those that look for a pair."""
    first = len(state.delimiters)
    while first and state.delimiters[first - 1].token >= token:
        first -= 1
    taken = state.delimiters[first:]
    del state.delimiters[first:]
    return taken


def _scan(state: StateInline) -> _Scan:
    scan: _Scan = state.env["scan"]
    return scan


def _may_lead(url: str) -> bool:
    """Whether a reference may lead to an address; which of those without a host do is only known later."""
    return parts.address(url) is not None or is_bitmap(url) or _scheme.match(url) is None


def _html_parser() -> MarkdownIt:
    parser = block_parser(_may_lead).enable("strikethrough")
    parser.options["maxNesting"] = 2 * _DEEPEST
    parser.block.ruler.at("math", _formula_block, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    parser.block.ruler.after("math", "too_deep", _too_deep)
    parser.block.ruler.at("reference", _definition)
    parser.inline.ruler.before("escape", "formula", _formula)
    parser.inline.ruler.before("escape", "bare_address", _bare_address)
    parser.inline.ruler.before("autolink", "bracket", _bracket)
    parser.disable(["link", "image", "html_inline", "linkify"])
    parser.inline.ruler2.disable("fragments_join")
    return parser


_parser = _html_parser()
