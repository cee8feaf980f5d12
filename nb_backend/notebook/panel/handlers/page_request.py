"""A request of a page and its fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_MAX_TEXT = 1_000_000  # characters


@dataclass
class Request:
    """A request: ``client`` is the page that sent it, ``id`` goes into the reply, ``fields`` is the whole message."""

    client: str
    id: str
    fields: dict[str, Any]
    buffers: list[bytes]

    def text(self, name: str, max_length: int = _MAX_TEXT) -> str:
        """Return a text field, "" if it is missing. ``ValueError`` if it is not a text or too long."""
        value = self.fields.get(name, "")
        if not isinstance(value, str) or len(value) > max_length:
            raise ValueError(f"{name} must be a text of at most {max_length:,} characters")
        return value

    def count(self, name: str) -> int:
        """Return a field that counts something. ``ValueError`` if it is not a whole number of at least 0."""
        value = self.fields.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ValueError(f"{name} must be a whole number of at least 0")
        return value
