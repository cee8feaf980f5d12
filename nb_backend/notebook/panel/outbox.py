"""What goes to the pages: numbered, within bounds, and of nothing that JSON or a websocket cannot carry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from ...chat.jsonable import plain

CHUNK_SIZE = 2**20  # bytes of a message, but for an item that is larger by itself
ENVELOPE = 370  # bytes of a message around what it says: two headers, and the frame

Send = Callable[[dict[str, Any], list[bytes] | None], None]


class Outbox:
    """Sends to all pages of a panel; each broadcast has a number, one more than the one before."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.seq = 0

    def broadcast(self, message: Mapping[str, Any]) -> int:
        """Send to every page, in order; give the bytes that it takes."""
        self.seq += 1
        made: dict[str, Any] = plain({**message, "seq": self.seq})
        self._send(made, None)
        return len(orjson.dumps(made)) + ENVELOPE

    def items(self, order: list[str], items: list[dict[str, Any]]) -> None:
        """Send items, in as many messages as they need."""
        for batch in batches(items):
            self.broadcast({"type": "items", "order": order, "items": batch})

    def reply(self, client: str, id: str, **fields: Any) -> None:
        """Answer a request."""
        self._send(plain({"type": "reply", "client": client, "id": id, **fields}), None)

    def pieces(self, client: str, id: str, data: bytes) -> int:
        """Send bytes for a request, and give in how many messages."""
        parts = [data[start : start + CHUNK_SIZE] for start in range(0, len(data), CHUNK_SIZE)]
        for number, part in enumerate(parts):
            message = {"type": "piece", "client": client, "id": id, "piece": number, "pieces": len(parts)}
            self._send(plain(message), [part])
        return len(parts)


def batches(items: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Give items in lists of at most ``CHUNK_SIZE`` bytes, or of one item; at least one list."""
    batch: list[dict[str, Any]] = []
    size = 0
    for item in items:
        length = len(orjson.dumps(plain(item)))
        if batch and size + length > CHUNK_SIZE:
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += length
    yield batch
