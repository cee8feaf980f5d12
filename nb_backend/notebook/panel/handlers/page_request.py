"""A request of a page, as it came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_LONGEST = 1_000_000  # characters of a text


@dataclass
class Request:
    """A request: which page asks, and what."""

    client: str
    id: str
    fields: dict[str, Any]
    buffers: list[bytes]

    def text(self, name: str, most: int = _LONGEST) -> str:
        """Give a field that has to be a text."""
        value = self.fields.get(name, "")
        if not isinstance(value, str) or len(value) > most:
            raise ValueError(f"{name} has to be a text of at most {most:,} characters")
        return value

    def count(self, name: str) -> int:
        """Give a field that has to be a whole number from 0 up."""
        value = self.fields.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ValueError(f"{name} has to be a whole number")
        return value
