"""Bytes to lines."""

from __future__ import annotations

MAX_LINE = 64 * 2**20  # bytes; a request event of g4f repeats the whole request, images included


class LineDecoder:
    """Splits bytes into lines at LF, CRLF or CR and at nothing else, also when cut between CR and LF.

    A line of more than ``MAX_LINE`` bytes is dropped; ``oversized`` counts those.
    """

    def __init__(self) -> None:
        self.oversized = 0
        self._rest = bytearray()  # of the line that has not ended yet
        self._size = 0
        self._after_cr = False

    @property
    def is_within(self) -> bool:
        """Whether a line has begun, or an end of one may go on."""
        return self._size > 0 or self._after_cr

    def feed(self, chunk: bytes) -> list[bytes]:
        """Give the lines that end in this chunk, without their ends."""
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if lines and self._size:
            self._keep(lines[0])
            lines[:1] = self._ended()
        if len(chunk) > MAX_LINE:
            whole = [line for line in lines if len(line) <= MAX_LINE]
            self.oversized += len(lines) - len(whole)
            lines = whole
        self._keep(rest)
        return lines

    def flush(self) -> bytes:
        """Give what stands after the last line end."""
        return b"".join(self._ended())

    def _ended(self) -> list[bytes]:
        """Give the line that has ended; none if it is too long."""
        line = [bytes(self._rest)] if self._size <= MAX_LINE else []
        self.oversized += not line
        self._rest, self._size = bytearray(), 0
        return line

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > MAX_LINE:
            self._rest.clear()
        else:
            self._rest += part
