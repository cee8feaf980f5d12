"""Where the Markdown of an answer may be cut: each piece reads alone as it did within the whole.

Never inside a fence, list, quote, table or formula, nor within a paragraph: only before a line that begins a block at
the left margin, behind an empty line. Whatever comes later, a place that was found stays one: the pieces of a text that
grows are those of the whole text, but for the last.
"""

from __future__ import annotations

import re
import sys

from ..text import unicode_text
from .safe import block_starts

PIECE = 4096  # characters of a piece at the least
WHOLE = 16_384  # characters that are saved as one piece
_SMALL = 16  # pieces of that size; the next are a quarter larger
_MANY = 42  # pieces, from which on each is twice the one before
_MOST = 48  # pieces: JupyterLab shows 50 outputs of a cell
_line_end = re.compile(r"\r\n|\r|\n")
_place = re.compile(r"(?:\A|[\r\n])[ \t]*(?:\r\n|[\r\n])[^ \t\r\n][^\r\n]*[\r\n]")  # whatever it is within


def split_points(text: str) -> list[int]:
    """Give all places, in order, where a text may be cut that may go on. Linear time."""
    if not _place.search(text):
        return []
    starts = [0, *(match.end() for match in _line_end.finditer(text))]
    source = unicode_text(text)
    lines = source.split("\n")
    return [starts[line] for line in block_starts(source) if 0 < line < len(lines) - 1 and _begins(lines, line)]


def _begins(lines: list[str], line: int) -> bool:
    return not lines[line - 1].strip(" \t") and lines[line][:1] not in ("", " ", "\t")


def min_piece_size(number: int) -> int:
    """Give how many characters the piece of this number, counted from 0, has at the least; the last has all."""
    if number < _SMALL:
        return PIECE
    return PIECE * 5 // 4 << max(0, number - _MANY + 1) if number < _MOST - 1 else sys.maxsize


def pieces(text: str) -> list[str]:
    """Give the pieces of a text that is whole: one if it is short."""
    if len(text) <= WHOLE:
        return [text]
    found: list[str] = []
    start = 0
    for at in split_points(text):
        if at - start >= min_piece_size(len(found)):
            found.append(text[start:at])
            start = at
    return [*found, text[start:]]
