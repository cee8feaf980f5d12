"""The items that a page shows after the broadcasts of a panel, by the protocol in page/protocol.js."""

from __future__ import annotations

from typing import Any


def units(text: str, length: int) -> str:
    """Return the first UTF-16 units of a text, as JavaScript's slice does."""
    return text.encode("utf-16-le", "surrogatepass")[: 2 * length].decode("utf-16-le", "surrogatepass")


class Shown:
    """A page without a browser: applies broadcasts to its items. ``gaps`` counts the missed ones."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.order: list[str] = []
        self.state: dict[str, Any] = {}
        self.seq = 0
        self.gaps = 0
        self.broadcasts: list[dict[str, Any]] = []

    def take(self, message: dict[str, Any]) -> None:
        self.broadcasts.append(message)
        self.gaps += bool(self.seq) and message["seq"] != self.seq + 1
        self.seq = message["seq"]
        getattr(self, f"_{message['type']}")(message)

    def _state(self, message: dict[str, Any]) -> None:
        self.state = {**message}
        self.order = message["order"]

    def _items(self, message: dict[str, Any]) -> None:
        self.order = message["order"]
        self.items |= {item["id"]: item for item in message["items"]}
        self.items = {id: item for id, item in self.items.items() if id in set(self.order)}

    def _text(self, message: dict[str, Any]) -> None:
        shown = [*self.items[message["item"]][message["part"]]]
        at, keep, blocks = message["from"], message["keep"], [*message["blocks"]]
        assert at <= len(shown)
        if keep:
            blocks[0] = units(shown[at], keep) + blocks[0]
        self.items[message["item"]] = {**self.items[message["item"]], message["part"]: [*shown[:at], *blocks]}

    def _meta(self, message: dict[str, Any]) -> None:
        self.items[message["item"]] = {**self.items[message["item"]], **message["meta"]}

    def _settings(self, message: dict[str, Any]) -> None:
        self.state |= message

    def _transcript(self, message: dict[str, Any]) -> None:
        self.state |= {"transcript": message["version"], "record": message["record"]}

    @property
    def shown(self) -> list[dict[str, Any]]:
        return [self.items[id] for id in self.order]
