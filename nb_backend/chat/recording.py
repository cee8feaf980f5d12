"""An answer as the cache stores it, and the key it is stored under."""

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
from ..providers.think_tags import ThinkTagSplitter
from ..typing import Messages
from .answer import Answer
from .jsonable import plain, without_secrets
from .messages import LOCAL_KEYS
from .tool_rounds import event_step

RECORDED = frozenset(
    {"provider", "tool_calls", "sources", "audio", "finish", "usage", "suggestions", "title", "state", "step"}
)  # event types stored as is
_CONTENT = frozenset({"content", "reasoning", "tool_calls", "audio"})
_line = re.compile(r"[^\n]*\n|[^\n]+")


@dataclass
class CachedAnswer:
    """Answer from the cache: its events, times and images."""

    recorded: str
    events: list[dict[str, Any]]
    seconds: float = 0.0
    first_token_seconds: float | None = None
    trimmed: int = 0
    images: dict[str, str] = field(default_factory=dict)

    async def replay(self) -> AsyncGenerator[RawResponse, None]:
        """Yield the events; other tasks of the event loop run between them."""
        yield RawResponse(type="replayed", recorded=self.recorded)
        for event in self._separated():
            await asyncio.sleep(0)
            yield event

    def _separated(self) -> list[RawResponse]:
        """Return the events; if none is reasoning, it may be in the text of an answer that an older version stored."""
        events = [RawResponse(**event) for event in self.events]
        if any(event.type == "reasoning" for event in events):
            return events
        tags = ThinkTagSplitter()
        return [*tags.split(events), *tags.flush()]

    def prepare(self, answer: Answer) -> None:
        """Set what an answer has to know before the first event."""
        answer.recorded, answer.replayed, answer._has_end_mark = self.recorded, True, True
        answer.trimmed, answer._cached_images = self.trimmed, self.images

    def restore(self, answer: Answer) -> None:
        """Set the times of the original answer, when it was replayed to its end."""
        answer.seconds, answer.first_token_seconds = self.seconds, self.first_token_seconds


class EventRecorder:
    """Collects the events of an answer for the cache: its text becomes one event for each line."""

    def __init__(self) -> None:
        self._events: list[dict[str, Any]] = []
        self._deltas: list[str] = []  # of the text that may go on
        self._kind = ""  # of these deltas: "content" or "reasoning"
        self._usage: dict[str, Any] | None = None  # counts of the answer so far: only the last ones are stored

    def add(self, event: RawResponse) -> None:
        """Add an event, if it is of a type that is stored."""
        if event.type == "reasoning":
            self._add("reasoning", reasoning_text(event))
        elif event.type == "content" and event.get("urls") is None:
            self._add("content", str(event))
        elif event.type == "content":
            self._close()
            self._events.append({**event.get_dict(), "content": str(event)})
        elif event.type == "usage" and event.get("so_far"):
            self._usage = event.get_dict()
        elif event.type == "step" and ((step := event_step(event)) is None or step.status != "done"):
            return
        elif event.type in RECORDED:
            self._close()
            if event.type == "step" and self._usage:
                self._events.append(self._usage)
                self._usage = None
            self._events.append(event.get_dict())

    @property
    def has_content(self) -> bool:
        """Whether there is text, reasoning or a tool call, and not only metadata."""
        return bool(self._deltas) or any(event["type"] in _CONTENT for event in self._events)

    def events(self, key: str | None = None) -> list[dict[str, Any]]:
        """Return the events as JSON data, with the key masked and secret fields left out."""
        self._close()
        last = [self._usage] if self._usage else []
        events: list[dict[str, Any]] = plain(self._events + last, [key] if key else [])
        # names that read like secrets: the field "token" of reasoning, an argument "key" of a call in a state
        return [event if event["type"] in ("reasoning", "state") else without_secrets(event) for event in events]

    def _add(self, kind: str, text: str) -> None:
        if kind != self._kind:
            self._close()
        self._kind = kind
        self._deltas.append(text)

    def _close(self) -> None:
        name = "token" if self._kind == "reasoning" else "content"
        self._events += [{"type": self._kind, name: line} for line in _line.findall("".join(self._deltas))]
        self._deltas = []


def cache_key_fields(
    server: str, model: str, messages: Messages, params: dict[str, Any], key: str | None
) -> dict[str, Any]:
    """Return what identifies a request, as JSON data with the key masked.

    ``server`` is the dialect of the server, or "embedded", followed by the model's name if that is not the default one.
    Attachments count by their content, not by their names, and schemas of tools by all that is in them: an argument may
    be called ``key``, under which other values are secret. Raises ``ValueError`` for data that JSON cannot hold.
    """
    asked: dict[str, Any] = {"server": server, "model": model, "messages": _hashed(messages), "params": params}
    asked = plain(asked, [key] if key else [])
    found: dict[str, Any] = without_secrets(asked)
    tools = asked["params"].get("tools")
    functions = [one.get("function") for one in tools if isinstance(one, dict)] if isinstance(tools, list) else []
    return {**found, "functions": cache_key({"functions": functions})} if any(functions) else found


def cache_key(question: dict[str, Any]) -> str:
    """Return the SHA-256 of the fields that identify a request, in hex."""
    text = json.dumps(question, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _hashed(value: Any) -> Any:
    """Return messages with the media type and the hash of each file in place of its content.

    Base64 that is damaged is hashed as text, so this is not ``parse_data_uri``.
    """
    if isinstance(value, str):
        kind, base64_, data = value.partition(";base64,") if value.startswith("data:") else (value, "", "")
        return {"type": kind[5:], "sha256": _sha256(data)} if base64_ else value
    if isinstance(value, dict):
        if value.keys() == {"data", "format"} and isinstance(value["data"], str):  # an ``input_audio`` part
            return {"type": value["format"], "sha256": _sha256(value["data"])}
        return {name: _hashed(item) for name, item in value.items() if name not in LOCAL_KEYS}
    return [_hashed(item) for item in value] if isinstance(value, list | tuple) else value


def _sha256(data: str) -> str:
    try:
        content = base64.b64decode(data)
    except (binascii.Error, ValueError):
        content = data.encode("utf-8", "replace")
    return hashlib.sha256(content).hexdigest()
