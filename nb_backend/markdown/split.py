"""Split the Markdown of an answer into pieces that read alone as they do within the whole.

A split point is before a line that starts a block at the left margin, after a blank line: never inside a fence, list,
quote, table, formula or paragraph. It stays a split point whatever text follows, so the pieces of a growing text are
those of the complete text, except for the last.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping

from ..text import unicode_text
from .data_uris import MAX_LIVE_BYTES
from .images import AnswerMarkdown
from .safe import block_starts

MIN_PIECE_CHARS = 4096  # the last piece may be shorter
MAX_UNSPLIT_CHARS = 16_384  # a longer text is saved in pieces
_FIRST_LARGER_PIECE = 16  # from this piece on, the minimum is a quarter larger
_FIRST_DOUBLED_PIECE = 42  # from this piece on, each minimum is twice the one before
_MAX_PIECES = 48  # JupyterLab shows 50 outputs of a cell (`maxNumberOutputs` of its notebook settings)
_line_end = re.compile(r"\r\n|\r|\n")
_line_after_blank_line = re.compile(r"(?:\A|[\r\n])[ \t]*(?:\r\n|[\r\n])[^ \t\r\n][^\r\n]*[\r\n]")


def split_points(text: str) -> list[int]:
    """Return all positions, in order, where a text that may still grow can be cut. Linear time."""
    if not _line_after_blank_line.search(text):
        return []
    starts = [0, *(match.end() for match in _line_end.finditer(text))]
    source = unicode_text(text)
    lines = source.split("\n")
    return [starts[line] for line in block_starts(source) if 0 < line < len(lines) - 1 and _starts_apart(lines, line)]


def _starts_apart(lines: list[str], line: int) -> bool:
    """Whether a line starts at the left margin, after a blank line."""
    return not lines[line - 1].strip(" \t") and lines[line][:1] not in ("", " ", "\t")


def min_piece_size(number: int) -> int:
    """Return the minimum length, in characters, of the piece with this number (from 0); the last takes all the rest."""
    if number < _FIRST_LARGER_PIECE:
        return MIN_PIECE_CHARS
    if number >= _MAX_PIECES - 1:
        return sys.maxsize
    return MIN_PIECE_CHARS * 5 // 4 << max(0, number - _FIRST_DOUBLED_PIECE + 1)


def split_text(text: str) -> list[str]:
    """Return the pieces of a complete text; a short text is one piece."""
    if len(text) <= MAX_UNSPLIT_CHARS:
        return [text]
    pieces: list[str] = []
    start = 0
    for end in split_points(text):
        if end - start >= min_piece_size(len(pieces)):
            pieces.append(text[start:end])
            start = end
    return [*pieces, text[start:]]


class StreamingMarkdown:
    """The text of an answer that still grows, as safe Markdown: finished pieces, and an open piece after them.

    Only the tail of the open piece, after the last split point, is read again when more text arrives. The arguments
    ``addresses`` and ``alts`` are those of ``answer_markdown``; both may gain entries between calls.
    """

    def __init__(self) -> None:
        self._tail: list[str] = []  # deltas
        self._blocks: list[str] = []  # of the open piece, without the tail, as Markdown
        self._texts: list[str] = []  # the text of each of these blocks
        self._size = 0  # characters of these texts
        self._finished_count = 0
        self._writer: AnswerMarkdown | None = None  # has written everything before the tail

    def append(self, delta: str) -> None:
        """Add text at the end."""
        self._tail.append(delta)

    def finished_pieces(self, addresses: Mapping[str, str], alts: Mapping[str, str]) -> Iterator[tuple[list[str], str]]:
        """Yield each piece that is finished since the last call: its blocks as Markdown, and its text."""
        tail, start = "".join(self._tail), 0
        if ends := split_points(tail):
            self._writer = AnswerMarkdown(addresses, alts, MAX_LIVE_BYTES, self._writer)
            for end in ends:
                self._blocks.append(self._writer.write(tail[start:end]))
                self._texts.append(tail[start:end])
                self._size += end - start
                start = end
                if self._size >= min_piece_size(self._finished_count):
                    yield self._blocks, "".join(self._texts)
                    self._finished_count += 1
                    self._blocks, self._texts, self._size = [], [], 0
        self._tail = [tail[start:]]

    def open_blocks(self, addresses: Mapping[str, str], alts: Mapping[str, str]) -> list[str]:
        """Return the blocks of the piece that is not finished, the tail last."""
        writer = AnswerMarkdown(addresses, alts, MAX_LIVE_BYTES, self._writer)
        return [*self._blocks, writer.finish("".join(self._tail), growing=True)]
