"""Bytes to lines, in chunks cut anywhere."""

from __future__ import annotations

MAX_LINE = 64 * 2**20  # bytes; g4f's ``request`` event repeats the whole request with its images

_MAX_REST = 2**20  # bytes


class LineDecoder:
    """Splits bytes into lines at LF, CRLF and CR only, also if a chunk ends between CR and LF.

    A line of more than ``MAX_LINE`` bytes is dropped; ``oversized`` counts the dropped lines.
    """

    def __init__(self) -> None:
        self.oversized = 0
        self._rest = bytearray()  # the start of the line that has not ended
        self._size = 0  # bytes of that line, the dropped ones too
        self._after_cr = False

    @property
    def is_within(self) -> bool:
        """Whether a line has begun, or the LF of a CRLF may follow."""
        return self._size > 0 or self._after_cr

    @property
    def rest(self) -> bytes:
        """The start of the line that has not ended; only the end of it if that is long."""
        return bytes(self._rest[-_MAX_REST:])

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that end in this chunk, without their line ends."""
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if lines and self._size:
            self._append(lines[0])
            lines[:1] = self._end_line()
        if len(chunk) > MAX_LINE:
            short = [line for line in lines if len(line) <= MAX_LINE]
            self.oversized += len(lines) - len(short)
            lines = short
        self._append(rest)
        return lines

    def flush(self) -> bytes:
        """Return the bytes after the last line end."""
        return b"".join(self._end_line())

    def _end_line(self) -> list[bytes]:
        """Return the line that has ended; an empty list if it is too long."""
        line = [bytes(self._rest)] if self._size <= MAX_LINE else []
        self.oversized += not line
        self._rest, self._size = bytearray(), 0
        return line

    def _append(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > MAX_LINE:
            self._rest.clear()
        else:
            self._rest += part
