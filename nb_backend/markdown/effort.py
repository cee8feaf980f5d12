"""Limit what a text may cost the page that shows it.

Marked, which JupyterLab uses, copies the list of all elements for each element (its ``walkTokens``), and masks a
paragraph anew for each element in it. MathJax takes about 0.1 ms for each symbol of a formula. An ordinary answer has
at most one element in ten characters; a text that has far more, and is long, loses some: formulas are shown as their
source, paragraphs as plain text, lists, quotes and tables as code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from markdown_it.token import Token

_FREE = 1200
_CHARS_EACH = 12  # so many characters allow one more
_FREE_IN_TEXT = 300  # of one paragraph
_CHARS_EACH_IN_TEXT = 10
_FREE_IN_FORMULAS = 2000
_CHARS_EACH_IN_FORMULAS = 14
_FORMULA_EFFORT = 3  # of a formula without symbols
# Where marked stops to look for an element.
_COUNTED = ("\\", "<", "!", "[", "`", "*", "~", "_", "@", "  \n", "://", "www.")
_symbol = re.compile(r"\\[A-Za-z]+|\\.|[^\s{}]", re.DOTALL)
_TOKEN_WEIGHTS = {"inline": 0.0, "td_open": 0.5, "th_open": 0.5, "tr_open": 0.0, "fence": 3.0}


class Effort:
    """How many elements and symbols of formulas a text of ``chars`` characters may still have."""

    def __init__(self, chars: int) -> None:
        self._elements = _FREE + chars // _CHARS_EACH
        self._formulas = _FREE_IN_FORMULAS + chars // _CHARS_EACH_IN_FORMULAS

    def spend_on_text(self, count: int, chars: int) -> bool:
        """Deduct the ``count`` elements of a paragraph of ``chars`` characters; return whether that many were left."""
        if count > min(self._elements, _FREE_IN_TEXT + chars // _CHARS_EACH_IN_TEXT):
            return False
        self._elements -= count
        return True

    def spend_on_formula(self, formula: str) -> bool:
        """Deduct the symbols of a formula; return whether that many were left."""
        count = _FORMULA_EFFORT + len(_symbol.findall(formula))
        if count > self._formulas:
            return False
        self._formulas -= count
        return True


def count_elements(text: str) -> int:
    """Return how many elements a paragraph of safe Markdown may have."""
    return sum(map(text.count, _COUNTED))


def limit_blocks(tokens: list[Token], text: str) -> list[Token]:
    """Return the tokens of a text; those of blocks that have too many parts are replaced by a block of code."""
    left = _FREE + len(text) // _CHARS_EACH
    if len(tokens) * _TOKEN_WEIGHTS["fence"] <= left:
        return tokens
    limited: list[Token] = []
    code: Token | None = None  # the last block, if it is in place of others
    for block in _top_level(tokens):
        weight = 1 + sum(_TOKEN_WEIGHTS.get(token.type, 1.0) for token in block if token.nesting >= 0)
        start, end = block[0].map or (0, 0)
        if weight <= left:
            left -= int(weight)
            code = None
            limited += block
        elif code is None or code.map is None:
            code = Token("fence", "", 0, map=[start, end])
            limited.append(code)
        else:
            code.map[1] = end
    lines = text.split("\n")
    for token in limited:
        if token.type == "fence" and not token.content and token.map:
            token.content = "\n".join(lines[slice(*token.map)])
    return limited


def _top_level(tokens: list[Token]) -> Iterator[list[Token]]:
    """Yield the tokens of each block that is not in another."""
    first = 0
    for i, token in enumerate(tokens):
        if token.level == 0 and token.nesting <= 0:
            yield tokens[first : i + 1]
            first = i + 1
