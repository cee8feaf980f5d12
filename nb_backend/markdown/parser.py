"""Set up markdown-it to find the blocks of a text, with a rule for formulas that fill whole lines."""

from __future__ import annotations

import re
from collections.abc import Callable

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, blockquote
from markdown_it.token import Token

from .elements import escape_bars

MAX_NESTING = 50  # token levels; a list takes two
_MAX_QUOTE_WORK = 8  # lines that quotes look at, for each line of the text
_MAX_QUOTE_LINES = 20
ENVIRONMENTS = (
    r"equation|align(?:ed|at)?|gather(?:ed)?|multline|eqnarray|flalign|split|cases|array|smallmatrix|[bBpvV]?matrix"
)
_formula_opening = re.compile(rf"\$\$(?!\$)|\\\\?\[|\\begin\{{((?:{ENVIRONMENTS})\*?)\}}")
_formula_in_table_row = re.compile(r"\$(?![\s$])(?:[^$\\]|\\.)+(?<!\s)\$(?!\d)")
# g4f writes these comments around generated images (its `format_images_markdown`); its own page removes them too.
generated_images_comment = re.compile(r"^[ \t]*<!-- generated images (?:start|end) -->[ \t]*(?:\n|\Z)", re.MULTILINE)


def block_parser(is_allowed: Callable[[str], bool]) -> MarkdownIt:
    """Return a parser of blocks only, in which HTML is text.

    A link reference definition whose destination is not allowed is text too.
    """
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": MAX_NESTING}).enable("table")
    parser.core.ruler.disable("inline")
    parser.block.ruler.at("blockquote", _quote_rule, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    parser.block.ruler.before("table", "math", math_rule, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    parser.validateLink = is_allowed  # type: ignore[method-assign,assignment]
    parser.normalizeLink = str  # type: ignore[method-assign,assignment]
    return parser


def escape_bars_in_tables(text: str, tokens: list[Token]) -> str | None:
    """Return the text with ``|`` written as macros in the formulas of its tables; None if nothing changes.

    ``tokens`` are those of the text, which then has to be parsed again.
    """
    lines = text.split("\n")
    changed = False
    for token in tokens:
        if token.type == "table_open" and token.map:
            for i in range(token.map[0], min(token.map[1], len(lines))):
                if lines[i].count("$") > 1 and "`" not in lines[i]:
                    row = _formula_in_table_row.sub(lambda match: escape_bars(match[0]), lines[i])
                    changed, lines[i] = changed or row != lines[i], row
    return "\n".join(lines) if changed else None


def _quote_rule(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Find a quote as markdown-it does, in linear time.

    The rule of markdown-it looks at all lines up to an empty one, also if the quote ends before it. After too many
    lines in all, a quote has at most ``_MAX_QUOTE_LINES``.
    """
    at = state.bMarks[start] + state.tShift[start]
    if silent or state.src[at : at + 1] != ">":
        return blockquote(state, start, end, silent)
    lines: dict[str, int] = state.env.setdefault("quote_lines", {"seen": 0, "first": 0, "last": 0})
    if not lines["first"] <= start < lines["last"]:
        last = start + 1
        while last < end and not state.isEmpty(last):
            last += 1
        lines |= {"first": start, "last": last}
    lines["seen"] += min(end, lines["last"]) - start
    if lines["seen"] > _MAX_QUOTE_WORK * len(state.bMarks):
        end = min(end, start + _MAX_QUOTE_LINES)
    return blockquote(state, start, end, silent)


def math_rule(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Block rule of markdown-it: a formula that fills whole lines, before its lines are taken for lists or headings."""
    if state.is_code_block(start):
        return False
    opening = _formula_opening.match(_line(state, start))
    if opening is None:
        return False
    closer = f"\\end{{{opening[1]}}}" if opening[1] else opening[0].replace("[", "]")
    # Lines in which a search for the closer failed: each is searched only once, so that parsing takes linear time.
    no_match_lines: dict[str, range] = state.env.setdefault("no_match_lines", {})
    if start in no_match_lines.get(closer, ()):
        return False
    lines: list[str] = []
    for number in range(start, end):
        line = _line(state, number)
        if not line.strip() or (lines and state.sCount[number] < state.blkIndent):
            break
        at = line.find(closer, 0 if lines else opening.end())
        if at >= 0:
            if line[at + len(closer) :].strip(" \t.,;"):
                break
            if not silent:
                _push_formula(state, [*lines, line], opening, at, closer)
                state.line = number + 1
                state.tokens[-1].map = [start, state.line]
            return True
        lines.append(line)
    no_match_lines[closer] = range(start, start + len(lines))
    return False


def _push_formula(state: StateBlock, lines: list[str], opening: re.Match[str], at: int, closer: str) -> None:
    """Push a ``math_block`` token; ``at`` is the position of the closer in the last line."""
    last = lines[-1]
    token = state.push("math_block", "", 0)
    if opening[1]:  # an environment is part of the formula
        token.content = "\n".join(lines)
    elif len(lines) == 1:
        token.content = last[opening.end() : at] + last[at + len(closer) :]
    else:
        token.content = "\n".join((lines[0][opening.end() :], *lines[1:-1], last[:at] + last[at + len(closer) :]))


def _line(state: StateBlock, number: int) -> str:
    return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]]
