"""Images that a page uploads in chunks, because a websocket refuses large messages."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ...media.files import check_size
from ...text import shorten
from .outbox import CHUNK_SIZE

MAX_IMAGES = 32  # attached to one panel, uploads included
MAX_TOTAL_BYTES = 256 * 2**20  # of these images together
_TIMEOUT = 300.0  # seconds without a chunk after which an upload is dropped


@dataclass
class _Upload:
    size: int
    expected: int  # chunks
    last_activity: float
    chunks: list[bytes] = field(default_factory=list)


class Uploads:
    """Uploads in progress, by page and upload id. ``ValueError`` reports an invalid one in one line and ends it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started: dict[tuple[str, str], _Upload] = {}

    def __len__(self) -> int:
        return len(self._started)

    @property
    def size(self) -> int:
        """The total size in bytes that the uploads in progress will have."""
        return sum(upload.size for upload in self._started.values())

    def forget(self, client: str) -> None:
        """Drop the uploads of a page that was reloaded."""
        self._started = {key: upload for key, upload in self._started.items() if key[0] != client}

    def clear(self) -> None:
        """Drop all uploads."""
        self._started.clear()

    def is_started(self, client: str, upload: str) -> bool:
        """Whether this upload is in progress."""
        return (client, upload) in self._started

    def begin(
        self, client: str, upload: str, name: str, size: int, chunks: int, attached: int, attached_bytes: int
    ) -> None:
        """Start an upload of ``size`` bytes; ``attached`` images of ``attached_bytes`` bytes are already there."""
        now = self._clock()
        self._started = {key: one for key, one in self._started.items() if now - one.last_activity < _TIMEOUT}
        if not size:
            raise ValueError(f"{shorten(name)} is empty")
        check_size(size, name)
        if chunks < -(-size // CHUNK_SIZE) or chunks > size:
            raise ValueError(f"{shorten(name)} cannot be uploaded: {chunks} chunks do not match its size")
        if attached + len(self) >= MAX_IMAGES:
            raise ValueError(f"{shorten(name)} is not attached: at most {MAX_IMAGES} images can be sent together")
        if attached_bytes + self.size + size > MAX_TOTAL_BYTES:
            raise ValueError(f"{shorten(name)} is not attached: all images together exceed {MAX_TOTAL_BYTES >> 20} MB")
        self._started[client, upload] = _Upload(size, chunks, now)

    def add_chunk(self, client: str, upload: str, number: int, data: bytes) -> bytes | None:
        """Add a chunk, counted from 0; return the whole image after the last one, else None."""
        one = self._started.get((client, upload))
        if one is None:
            raise ValueError("this upload is no longer known: attach the image again")
        expected_number = len(one.chunks)
        if number < expected_number:
            raise ValueError(f"chunk {number} arrived twice")
        size = sum(map(len, one.chunks)) + len(data)
        is_last = number == one.expected - 1
        has_wrong_size = not data or len(data) > CHUNK_SIZE or size > one.size or (is_last and size != one.size)
        if number != expected_number or has_wrong_size:
            del self._started[client, upload]
            problem = "is missing" if number != expected_number else "has the wrong size"
            raise ValueError(f"chunk {expected_number} of {one.expected} {problem}: attach the image again")
        one.chunks.append(data)
        one.last_activity = self._clock()
        if not is_last:
            return None
        del self._started[client, upload]
        return b"".join(one.chunks)
