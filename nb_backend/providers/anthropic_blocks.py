"""Content blocks of Anthropic's Messages API, as they grow in a stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from ..text import truncate
from ..transport.json_body import encode_json

MAX_TEXTS: Final = 1000
"""How many deltas of a block are kept apart; joined, they take a tenth of the memory."""
TOOL_USES: Final = ("tool_use", "server_tool_use", "mcp_tool_use")
_PLAIN = ("text", "tool_use")  # blocks that can be built again from the text and the tool calls
_LABELS = {
    "web_search": "searching the web",
    "web_fetch": "reading a web page",
    "code_execution": "running code",
    "bash_code_execution": "running code",
    "text_editor_code_execution": "editing a file",
    "tool_search_tool_regex": "searching for tools",
    "tool_search_tool_bm25": "searching for tools",
    "advisor": "asking another model",
}
"""What a tool of the server does, for its ``progress`` event."""


@dataclass
class Block:
    """Content block of an answer: what its start held, and the pieces that came after it by their key."""

    start: dict[str, Any]
    pieces: dict[str, list[str]] = field(default_factory=dict)
    citations: list[Any] = field(default_factory=list)
    is_known: bool = True  # False if a delta has come that this reader does not know

    @property
    def type(self) -> str:
        """The type: ``text``, ``thinking``, ``tool_use``, ``server_tool_use`` …"""
        kind = self.start.get("type")
        return kind if isinstance(kind, str) else ""

    def add(self, key: str, piece: str) -> None:
        """Add a piece of the text under this key."""
        texts = self.pieces.setdefault(key, [])
        texts.append(piece)
        if len(texts) > MAX_TEXTS:
            texts[:] = ["".join(texts)]

    def text(self, key: str) -> str:
        """Return the whole text under this key: what the start held and what came after it."""
        start = self.start.get(key)
        return "".join([start if isinstance(start, str) else "", *self.pieces.get(key, ())])

    @property
    def arguments(self) -> str:
        """The input of a tool as JSON."""
        written = "".join(self.pieces.get("partial_json", ()))
        given = self.start.get("input")
        return written if written.strip() or not isinstance(given, dict) else encode_json(given).decode()

    def whole(self) -> dict[str, Any] | None:
        """Return the block as the next request has to contain it; ``None`` if it is not known completely."""
        if not self.is_known or (self.type == "thinking" and not self.is_opaque):
            return None
        made = {**self.start, **{key: self.text(key) for key in self.pieces if key != "partial_json"}}
        if self.type in TOOL_USES:
            try:
                made["input"] = orjson.loads(self.arguments or "{}")
            except orjson.JSONDecodeError:
                return None
        if self.type == "text":
            if not self.text("text").strip():
                return None  # the API refuses it
            if citations := [_citation(one) for one in self.all_citations]:
                made["citations"] = citations
            else:
                made.pop("citations", None)
        return made

    @property
    def all_citations(self) -> list[Any]:
        """The citations that the start held and those that came after it."""
        started = self.start.get("citations")
        return [*(started if isinstance(started, list) else []), *self.citations]

    @property
    def is_opaque(self) -> bool:
        """Whether only the server can make the block, so that it has to be sent back."""
        return bool(self.text("signature")) if self.type == "thinking" else self.type not in _PLAIN


def _citation(citation: Any) -> Any:
    """Return a citation as requests may contain it; answers have a ``file_id`` more, which is refused."""
    if not isinstance(citation, dict):
        return citation
    return {name: value for name, value in citation.items() if name != "file_id"}


def page_of(result: Any) -> Any:
    """Return a fetched page as a source."""
    if not isinstance(result, dict):
        return None
    document = result.get("content")
    title = document.get("title") if isinstance(document, dict) else None
    return {"url": result.get("url"), "title": title}


def label_of(use: dict[str, Any]) -> str:
    """Return what a call of a server's tool does, for people."""
    name = " ".join(str(use.get("name") or "a tool").split())
    return _LABELS.get(name) or f"calling {truncate(name, 60)}"
