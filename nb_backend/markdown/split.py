"""Split the Markdown of an answer into pieces that read alone as they do within the whole.

A split point is before a line that starts a block at the left margin, after a blank line: never inside a fence, list,
quote, table, formula or paragraph. It stays a split point whatever text follows, so the pieces of a growing text are
those of the complete text, except for the last.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..text import unicode_text
from .data_uris import MAX_LIVE_BYTES
from .images import AnswerMarkdown
from .safe import block_starts

MIN_PIECE_CHARS = 4096  # the last piece may be shorter
MAX_UNSPLIT_CHARS = 16_384  # a longer text is saved in pieces
_FIRST_LARGER_PIECE = 16  # from this piece on, the minimum is a quarter larger
_FIRST_DOUBLED_PIECE = 42  # from this piece on, each minimum is twice the one before
_MAX_PIECES = 47  # JupyterLab shows 50 outputs of a cell (`maxNumberOutputs` of its notebook settings)
_MIN_PART_CHARS = 1024  # of a piece that grows: the shorter the open part, the less a repaint takes
_FIRST_PART_CHARS = 2048  # an ordinary answer has one output also while it grows
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


def _min_part_size(piece: int, size: int) -> int:
    """Return the minimum length of the next part of a piece, given the piece's number and how long it is already."""
    return max(_MIN_PART_CHARS, size // 4) if piece or size else _FIRST_PART_CHARS


def split_text(text: str) -> list[str]:
    """Return the pieces of a complete text; a short text is one piece.

    What is left after the last piece is in up to two outputs, as it was while the text grew: the finished parts, and
    the rest.
    """
    return [text] if len(text) <= MAX_UNSPLIT_CHARS else pieces_of(text)


def pieces_of(text: str, before: int = 0) -> list[str]:
    """Return the same as ``split_text`` for a text of any length, ``before`` which there are so many pieces."""
    pieces: list[str] = []
    start = part = 0
    for end in split_points(text):
        number = before + len(pieces)
        if end - start >= min_piece_size(number):
            pieces.append(text[start:end])
            start = part = end
        elif end - part >= _min_part_size(number, part - start):
            part = end
    return [*pieces, *filter(None, (text[start:part], text[part:]))]


class FinishedPart(NamedTuple):
    """The finished parts of a piece: their blocks as Markdown, and their text.

    ``grows``: they replace the parts of this piece that were finished before.
    """

    blocks: list[str]
    text: str
    grows: bool


class StreamingMarkdown:
    """The text of an answer that still grows, as safe Markdown: finished parts, and an open part after them.

    The open part is short, as it is painted again and again; the parts of a piece are painted together whenever one is
    finished. Only the tail of the open part, after the last split point, is read again when more text arrives. The
    arguments ``addresses`` and ``alts`` are those of ``answer_markdown``; both may gain entries between calls.
    """

    def __init__(self) -> None:
        self._tail: list[str] = []  # deltas
        self._open = FinishedPart([], "", False)  # the open part, without the tail
        self._piece = FinishedPart([], "", False)  # the finished parts of the piece
        self._piece_count = 0  # finished pieces
        self._length = 0  # characters that were appended
        self._writer: AnswerMarkdown | None = None  # has written everything before the tail

    def append(self, delta: str) -> None:
        """Add text at the end."""
        self._tail.append(delta)
        self._length += len(delta)

    def __bool__(self) -> bool:
        """Whether there is text."""
        return self._length > 0

    def complete(self, text: str) -> None:
        """Add what is missing of the whole text, of which some may have been held back."""
        if len(text) > self._length:
            self.append(text[self._length :])

    def follow(self, before: StreamingMarkdown) -> None:
        """Stand after another text, which was closed: its definitions, its images and its pieces count here too."""
        self._writer, self._piece_count = before._writer, before._piece_count

    def close(self, addresses: Mapping[str, str], alts: Mapping[str, str]) -> FinishedPart:
        """End the text, and return what is left of it as a piece of its own."""
        self._writer = AnswerMarkdown(addresses, alts, MAX_LIVE_BYTES, self._writer)
        tail = "".join(self._tail)
        rest = FinishedPart([*self._open.blocks, self._writer.write(tail)], self._open.text + tail, False)
        self._piece_count += 1 + bool(self._piece.text)
        self._tail, self._open, self._piece = [], FinishedPart([], "", False), FinishedPart([], "", False)
        return rest

    def finished_parts(self, addresses: Mapping[str, str], alts: Mapping[str, str]) -> Iterator[FinishedPart]:
        """Yield the parts that are finished since the last call, those of one piece together."""
        tail, start = "".join(self._tail), 0
        waiting: FinishedPart | None = None
        if ends := split_points(tail):
            self._writer = AnswerMarkdown(addresses, alts, MAX_LIVE_BYTES, self._writer)
            for end in ends:
                blocks = [*self._open.blocks, self._writer.write(tail[start:end])]
                self._open = FinishedPart(blocks, self._open.text + tail[start:end], False)
                start = end
                if (part := self._finish_part()) is None:
                    continue
                if waiting is not None and not part.grows:
                    yield waiting
                waiting = part if waiting is None or not part.grows else part._replace(grows=waiting.grows)
        self._tail = [tail[start:]]
        if waiting is not None:
            yield waiting

    def _finish_part(self) -> FinishedPart | None:
        """Return the parts of the piece, with the open one, if that is long enough; else None."""
        (blocks, text, _), before = self._open, len(self._piece.text)
        is_piece = before + len(text) >= min_piece_size(self._piece_count)
        if not is_piece and len(text) < _min_part_size(self._piece_count, before):
            return None
        found = FinishedPart([*self._piece.blocks, *blocks], self._piece.text + text, before > 0)
        self._open = FinishedPart([], "", False)
        self._piece = self._open if is_piece else found
        self._piece_count += is_piece
        return found

    def open_blocks(self, addresses: Mapping[str, str], alts: Mapping[str, str]) -> list[str]:
        """Return the blocks of the part that is not finished, the tail last."""
        writer = AnswerMarkdown(addresses, alts, MAX_LIVE_BYTES, self._writer)
        return [*self._open.blocks, writer.finish("".join(self._tail), growing=True)]
