"""What is stored of an answer."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from ..events import RawResponse, reasoning_text
from ..typing import Messages
from .answer import Answer
from .history import LOCAL_KEYS
from .jsonable import plain, without_secrets

_KEPT = frozenset({"provider", "tool_calls", "finish", "usage", "suggestions", "title"})  # events, as they are
_SAYS = frozenset({"content", "reasoning", "tool_calls"})
_line = re.compile(r"[^\n]*\n|[^\n]+")


@dataclass
class CachedAnswer:
    """What is kept of an answer."""

    recorded: str
    events: list[dict[str, Any]]
    seconds: float = 0.0
    first_token_seconds: float | None = None
    trimmed: int = 0
    images: dict[str, str] = field(default_factory=dict)

    async def replay(self) -> AsyncGenerator[RawResponse, None]:
        """Give the events, others' turns on the loop between them."""
        yield RawResponse(type="replayed", recorded=self.recorded)
        for event in self.events:
            await asyncio.sleep(0)
            yield RawResponse(**event)

    def prepare(self, answer: Answer) -> None:
        """Tell an answer what it is to know before the first event."""
        answer.recorded, answer.replayed = self.recorded, True
        answer.trimmed, answer._cached_images = self.trimmed, self.images

    def restore(self, answer: Answer) -> None:
        """Give an answer that is replayed to its end the times of the first time."""
        answer.seconds, answer.first_token_seconds = self.seconds, self.first_token_seconds


class EventRecorder:
    """The events of an answer that is under way, as they are kept: its text line by line."""

    def __init__(self) -> None:
        self._kept: list[dict[str, Any]] = []
        self._open: list[str] = []  # text that goes on
        self._kind = ""

    def add(self, event: RawResponse) -> None:
        """Take in an event."""
        if event.type == "reasoning":
            self._add("reasoning", reasoning_text(event))
        elif event.type == "content" and event.get("urls") is None:
            self._add("content", str(event))
        elif event.type == "content":
            self._close()
            self._kept.append({**event.get_dict(), "content": str(event)})
        elif event.type in _KEPT:
            self._close()
            self._kept.append(event.get_dict())

    @property
    def has_content(self) -> bool:
        """Whether there is more in it than who answered."""
        return bool(self._open) or any(event["type"] in _SAYS for event in self._kept)

    def events(self, key: str | None = None) -> list[dict[str, Any]]:
        """Give what is kept, as plain JSON without the key."""
        self._close()
        kept: list[dict[str, Any]] = plain(self._kept, key)
        return [
            event if event["type"] == "reasoning" else without_secrets(event) for event in kept
        ]  # its text is a token

    def _add(self, kind: str, text: str) -> None:
        if kind != self._kind:
            self._close()
        self._kind = kind
        self._open.append(text)

    def _close(self) -> None:
        name = "token" if self._kind == "reasoning" else "content"
        self._kept += [{"type": self._kind, name: line} for line in _line.findall("".join(self._open))]
        self._open = []


def cache_key_fields(
    server: str, model: str, messages: Messages, params: dict[str, Any], key: str | None
) -> dict[str, Any]:
    """Give what makes a question the one it is, as plain JSON without the key; ``ValueError`` for what JSON cannot say.

    ``server`` is its kind: "embedded", "backend" or "openai". What goes along counts by its content, not by its name.
    """
    asked: dict[str, Any] = {"server": server, "model": model, "messages": _hashed(messages), "params": params}
    found: dict[str, Any] = without_secrets(plain(asked, key))
    return found


def cache_key(question: dict[str, Any]) -> str:
    """Give the SHA-256 of a question, in hex."""
    text = json.dumps(question, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _hashed(value: Any) -> Any:
    """Give messages with a hash for each file in them."""
    if isinstance(value, str):
        kind, base64_, data = value.partition(";base64,") if value.startswith("data:") else (value, "", "")
        return {"type": kind[5:], "sha256": _sha256(data)} if base64_ else value
    if isinstance(value, dict):
        if value.keys() == {"data", "format"} and isinstance(value["data"], str):  # of input_audio
            return {"type": value["format"], "sha256": _sha256(value["data"])}
        return {name: _hashed(item) for name, item in value.items() if name not in LOCAL_KEYS}
    return [_hashed(item) for item in value] if isinstance(value, list | tuple) else value


def _sha256(data: str) -> str:
    try:
        content = base64.b64decode(data)
    except (binascii.Error, ValueError):
        content = data.encode("utf-8", "replace")
    return hashlib.sha256(content).hexdigest()
