"""Images that come from a page in pieces, for a websocket takes no large message."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ...media.files import check_size
from ...text import shorten
from .outbox import CHUNK_SIZE

MOST_IMAGES = 32  # attached to one panel, or on their way
MOST_BYTES = 256 * 2**20  # of them
_PATIENCE = 300.0  # seconds that an upload waits for its next piece


@dataclass
class _Upload:
    size: int
    pieces: int
    last: float
    parts: list[bytes] = field(default_factory=list)


class Uploads:
    """The uploads that have begun, by page and name. What is wrong is a ``ValueError`` in words, and ends one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun: dict[tuple[str, str], _Upload] = {}

    def __len__(self) -> int:
        return len(self._begun)

    @property
    def size(self) -> int:
        """The bytes that those have, or will have."""
        return sum(upload.size for upload in self._begun.values())

    def forget(self, client: str) -> None:
        """Drop what a page has begun: it does not know of it any more."""
        self._begun = {key: upload for key, upload in self._begun.items() if key[0] != client}

    def clear(self) -> None:
        """Drop all."""
        self._begun.clear()

    def is_started(self, client: str, upload: str) -> bool:
        """Whether this one is on its way."""
        return (client, upload) in self._begun

    def begin(self, client: str, upload: str, name: str, size: int, pieces: int, images: int, taken: int) -> None:
        """Begin one of so many bytes, where so many images of so many bytes are attached."""
        now = self._clock()
        self._begun = {key: one for key, one in self._begun.items() if now - one.last < _PATIENCE}
        if not size:
            raise ValueError(f"{shorten(name)} is empty")
        check_size(size, name)
        if pieces < -(-size // CHUNK_SIZE) or pieces > size:
            raise ValueError(f"{shorten(name)} comes in {pieces} pieces, which cannot be")
        if images + len(self) >= MOST_IMAGES:
            raise ValueError(f"{MOST_IMAGES} images are the most that go along: {shorten(name)} is left out")
        if taken + self.size + size > MOST_BYTES:
            raise ValueError(f"all images together have more than {MOST_BYTES >> 20} MB: {shorten(name)} is left out")
        self._begun[client, upload] = _Upload(size, pieces, now)

    def add_chunk(self, client: str, upload: str, piece: int, data: bytes) -> bytes | None:
        """Take a piece; give the whole with the last one."""
        one = self._begun.get((client, upload))
        if one is None:
            raise ValueError("this upload is no longer known: attach the image again")
        if piece < len(one.parts):
            raise ValueError(f"piece {piece} has come twice")
        have = sum(map(len, one.parts))
        last = piece == one.pieces - 1
        wrong = not data or len(data) > CHUNK_SIZE or have + len(data) > one.size
        if piece != len(one.parts) or wrong or (last and have + len(data) != one.size):
            del self._begun[client, upload]
            what = "is missing" if piece != len(one.parts) else "has the wrong size"
            raise ValueError(f"piece {len(one.parts)} of {one.pieces} {what}: attach the image again")
        one.parts.append(data)
        one.last = self._clock()
        if not last:
            return None
        del self._begun[client, upload]
        return b"".join(one.parts)
