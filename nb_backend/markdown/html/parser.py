"""Parse a model's Markdown into tokens: CommonMark, tables, ``~~deleted~~``, formulas and bare URLs.

The blocks are those of ``markdown.parser``. Formulas, links and bare URLs are found with the same functions as in
``markdown.inline``, so that the panel and the cell show the same.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import MutableMapping
from typing import Any, NamedTuple

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, reference
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from ..data_uris import is_bitmap
from ..links import MAX_ALT_CHARS, Links, link_destination, safe_destination
from ..parser import block_parser, escape_bars_in_tables, math_rule
from ..scan import bare_url, formula_in_brackets, formula_in_dollars

_MAX_BLOCK_DEPTH = 40  # token levels; a list takes two
_MAX_FORMULA_LINES = 100  # while a text grows, no block waits longer for the end of a formula
_url_scheme = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
References = MutableMapping[str, dict[str, Any]]


class ParsedBlocks(NamedTuple):
    """The tokens of a text's blocks.

    ``formula_search_end`` is the last line that a search for the end of a formula has reached without success.
    """

    tokens: list[Token]
    formula_search_end: int


def parse_blocks(source: str, references: References) -> ParsedBlocks:
    """Parse blocks, and add the link reference definitions of the text to ``references``, with their lines."""
    tokens, env = _parse_blocks(source, references)
    if with_bars := escape_bars_in_tables(source, tokens):
        tokens, env = _parse_blocks(with_bars, references)
    return ParsedBlocks(tokens, env.get("formula_search_end", -1))


def _parse_blocks(source: str, references: References) -> tuple[list[Token], dict[str, Any]]:
    env: dict[str, Any] = {"references": references}
    return _parser.parse(source, env), env


def parse_inline(source: str, links: Links) -> list[Token]:
    """Parse the text of a paragraph, heading or table cell."""
    tokens: list[Token] = []
    _parser.inline.parse(source, _parser, {"brackets": _Brackets(links)}, tokens)
    return tokens


class _Opener(NamedTuple):
    """A ``[`` or ``![`` that is not closed yet."""

    token: int  # its index in the tokens
    text_start: int  # the position of its text in the source
    is_image: bool
    meta_count: int  # length of the state's `tokens_meta`


class _Brackets:
    """The open brackets of one text, and where formulas in brackets may end."""

    def __init__(self, links: Links) -> None:
        self.links = links
        self.openers: list[_Opener] = []
        self.around_link = 0  # the first openers are around a link: links cannot contain links, but image texts can
        self.next_closers: dict[str, int] = {}  # see `formula_in_brackets`


# -- rules for blocks; their parameters and result are those of markdown-it's block rules


def _too_deep_rule(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read lines as a paragraph if they are nested too deeply for blocks, so that no text is lost."""
    if silent or state.level < _MAX_BLOCK_DEPTH:
        return False
    line = start + 1
    while line < end and not state.isEmpty(line) and state.sCount[line] >= state.blkIndent:
        line += 1
    state.line = line
    state.push("paragraph_open", "p", 1).map = [start, line]
    state.push("inline", "", 0).content = state.getLines(start, line, state.blkIndent, False).strip()
    state.push("paragraph_close", "p", -1)
    return True


def _formula_block_rule(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Find a formula as ``math_rule`` does, of at most ``_MAX_FORMULA_LINES`` lines."""
    at = state.bMarks[start] + state.tShift[start]
    if state.src[at : at + 1] not in ("$", "\\"):
        return False
    if math_rule(state, start, min(end, start + _MAX_FORMULA_LINES), silent):
        return True
    no_match_lines: dict[str, range] = state.env.get("no_match_lines", {})
    for closer, lines in list(no_match_lines.items()):
        state.env["formula_search_end"] = max(state.env.get("formula_search_end", -1), lines.stop)
        if lines.stop == start + _MAX_FORMULA_LINES:  # the closer may be further down, too far from this line
            no_match_lines[closer] = range(start, _next_line_with(state, closer, lines.stop) - _MAX_FORMULA_LINES + 1)
    return False


def _next_line_with(state: StateBlock, text: str, line: int) -> int:
    """Return the next line, from ``line`` on, that contains a text; the whole source is searched only once."""
    positions: dict[str, int] = state.env.setdefault("next", {})
    start = state.bMarks[min(line, len(state.bMarks) - 1)]
    if positions.get(text, 0) < start:
        found = state.src.find(text, start)
        positions[text] = found if found >= 0 else len(state.src) + 1
    if positions[text] > len(state.src):
        return len(state.bMarks) * 2
    return bisect_right(state.bMarks, positions[text]) - 1


def _definition_rule(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Find a link reference definition, and push a token for it, which shows that the text before it is done."""
    if not reference(state, start, end, silent):
        return False
    if not silent:
        state.push("definition", "", 0).map = [start, state.line]
    return True


# -- rules for text; their parameters and result are those of markdown-it's inline rules


def _formula_rule(state: StateInline, silent: bool) -> bool:
    character = state.src[state.pos]
    if character == "\\":
        found = formula_in_brackets(state.src, state.pos, _brackets(state).next_closers)
        if found is None:
            return False
        body, end, display = found
    elif character == "$":
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


def _bare_url_rule(state: StateInline, silent: bool) -> bool:
    """Find a bare URL; its scheme, before the colon at the position, was read as text."""
    colon = state.pos
    if state.src[colon : colon + 3] != "://":
        return False
    scheme = re.search(r"(?<![^\W_])https?\Z", state.src[max(0, colon - 6) : colon], re.IGNORECASE)
    if scheme is None or not state.pending.endswith(scheme[0]):
        return False
    start = colon - len(scheme[0])
    url = bare_url(state.src, start)
    if len(url) <= len(scheme[0]) + 3 or safe_destination(url) is None:
        return False
    state.pending = state.pending[: -len(scheme[0])]
    state.push("link_open", "a", 1).attrs = {"href": url}
    state.push("text", "", 0).content = url
    state.push("link_close", "a", -1)
    state.pos = start + len(url)
    return True


def _bracket_rule(state: StateInline, silent: bool) -> bool:
    brackets, character = _brackets(state), state.src[state.pos]
    if character == "]":
        return _close_bracket(state, brackets)
    is_image = state.src.startswith("![", state.pos)
    if character != "[" and not is_image:
        return False
    token = state.push("text", "", 0)
    token.content = "![" if is_image else "["
    state.pos += len(token.content)
    brackets.openers.append(_Opener(len(state.tokens) - 1, state.pos, is_image, len(state.tokens_meta)))
    return True


def _close_bracket(state: StateInline, brackets: _Brackets) -> bool:
    if not brackets.openers:
        return False
    opener = brackets.openers.pop()
    is_around_link = len(brackets.openers) < brackets.around_link
    brackets.around_link = min(brackets.around_link, len(brackets.openers))
    if is_around_link and not opener.is_image:
        return False
    links = brackets.links
    url, end = link_destination(state.src, opener.text_start, state.pos, links)
    if not url:
        return False
    url = links.resolve(url, image=opener.is_image)
    destination = safe_destination(url)
    if opener.is_image:
        has_host = destination is not None and destination[1] != ""
        if not (is_bitmap(url) or has_host or re.match(r"data:[^,]*;base64,", url)):
            return False
        _push_image(state, opener, url)
    else:
        if destination is None:
            return False
        _push_link(state, opener, url)
        brackets.around_link = len(brackets.openers)
    state.pos = end
    return True


def _push_image(state: StateInline, opener: _Opener, url: str) -> None:
    """Replace the tokens of an image's text by one token for the image."""
    state.pending = ""
    del state.tokens[opener.token :]
    del state.tokens_meta[opener.meta_count :]
    _remove_delimiters(state, opener.token)
    token = state.push("image", "img", 0)
    token.content = state.src[opener.text_start : state.pos][:MAX_ALT_CHARS]
    token.attrs = {"src": url}


def _push_link(state: StateInline, opener: _Opener, url: str) -> None:
    # Without a level of its own: `tokens_meta` keeps the link's delimiters apart from those around it.
    closing = state.push("link_close", "a", 0)
    closing.nesting = -1
    state.tokens[opener.token] = Token("link_open", "a", 1, attrs={"href": url})
    state.tokens_meta.append({"delimiters": _remove_delimiters(state, opener.token)})


def _remove_delimiters(state: StateInline, token: int) -> list[Any]:
    """Remove and return the delimiters of emphasis from this token on."""
    first = len(state.delimiters)
    while first and state.delimiters[first - 1].token >= token:
        first -= 1
    removed = state.delimiters[first:]
    del state.delimiters[first:]
    return removed


def _brackets(state: StateInline) -> _Brackets:
    brackets: _Brackets = state.env["brackets"]
    return brackets


def _is_allowed(url: str) -> bool:
    """Whether a reference may lead to a URL; one without a scheme may stand for another, which is checked later."""
    return safe_destination(url) is not None or is_bitmap(url) or _url_scheme.match(url) is None


def _html_parser() -> MarkdownIt:
    parser = block_parser(_is_allowed).enable("strikethrough")
    parser.options["maxNesting"] = 2 * _MAX_BLOCK_DEPTH
    parser.block.ruler.at("math", _formula_block_rule, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    parser.block.ruler.after("math", "too_deep", _too_deep_rule)
    parser.block.ruler.at("reference", _definition_rule)
    parser.inline.ruler.before("escape", "formula", _formula_rule)
    parser.inline.ruler.before("escape", "bare_url", _bare_url_rule)
    parser.inline.ruler.before("autolink", "bracket", _bracket_rule)
    parser.disable(["link", "image", "html_inline", "linkify"])
    parser.inline.ruler2.disable("fragments_join")
    return parser


_parser = _html_parser()
