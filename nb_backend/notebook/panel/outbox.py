"""Messages to the pages: numbered, limited in size, and valid JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from ...chat.jsonable import plain

CHUNK_SIZE = 2**20  # bytes of a message; only a single larger item exceeds it
ENVELOPE = 370  # bytes that the headers and the frame of a message add to its content

Send = Callable[[dict[str, Any], list[bytes] | None], None]


class Outbox:
    """Sends messages to all pages of a panel. ``seq`` counts the broadcasts, so that a page notices a lost one."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.seq = 0

    def broadcast(self, message: Mapping[str, Any]) -> int:
        """Send a message to every page and return its size in bytes."""
        self.seq += 1
        content: dict[str, Any] = plain({**message, "seq": self.seq})
        self._send(content, None)
        return len(orjson.dumps(content)) + ENVELOPE

    def items(self, order: list[str], items: list[dict[str, Any]]) -> None:
        """Send whole items, in as many messages as needed."""
        for batch in batches(items):
            self.broadcast({"type": "items", "order": order, "items": batch})

    def reply(self, client: str, id: str, **fields: Any) -> None:
        """Answer a request of one page."""
        self._send(plain({"type": "reply", "client": client, "id": id, **fields}), None)

    def pieces(self, client: str, id: str, data: bytes) -> int:
        """Send the bytes that a request asked for, and return the number of messages used."""
        chunks = [data[start : start + CHUNK_SIZE] for start in range(0, len(data), CHUNK_SIZE)]
        for number, chunk in enumerate(chunks):
            message = {"type": "piece", "client": client, "id": id, "piece": number, "pieces": len(chunks)}
            self._send(plain(message), [chunk])
        return len(chunks)


def batches(items: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Split items into lists of at most ``CHUNK_SIZE`` bytes, or of one larger item. There is at least one list."""
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
