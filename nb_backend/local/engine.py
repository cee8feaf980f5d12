"""What answers behind the embedded backend's HTTP: the protocol, and an engine that follows a script."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Iterator
from types import EllipsisType
from typing import Any, Protocol, TypeAlias

from ..media.probe import pixel_size
from ..media.sniff import media_type

Body: TypeAlias = dict[str, Any]
"""What was posted: ``{"model", "messages", "media", "api_key", **params}``."""


Event: TypeAlias = dict[str, Any]
"""One event of the wire: ``{"type": "content", "content": "Hi"}``."""


Step: TypeAlias = str | Event | float | EllipsisType | bytes | Exception
"""One thing a scripted answer does; see ``ScriptedEngine``."""


class EngineError(Exception):
    """The engine cannot answer. The message is one line and says what to do next."""


class Engine(Protocol):
    """Whatever can answer a conversation."""

    name: str
    vision: bool | None  # whether it sees images; None is not known
    limit: int | None  # conversations at once, those that wait for their turn included; None is any number

    def stream(self, body: Body) -> AsyncGenerator[Event | bytes, None]:
        """Give the answer's events; closing the iterator stops the work at once. Bytes go on the socket as they are."""


def provider_event(name: str) -> Event:
    """Say who answers."""
    return {
        "type": "provider",
        "provider": {"name": name, "url": None, "label": label(name), "model": name},
    }


def finish_event(reason: str) -> Event:
    """Say why the answer ends: ``stop``, ``length``, ``tool_calls``."""
    return {"type": "finish", "finish": {"reason": reason}}


def usage_event(name: str, prompt_tokens: int, completion_tokens: int) -> Event:
    """Say how many tokens were read and written."""
    counts = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    return {"type": "usage", "usage": counts, "model": name, "provider": name}


def error_event(error: Exception) -> Event:
    """Say that the answer failed: the exception's name, and its text as one line."""
    name = type(error).__name__
    return {"type": "error", "error": name, "message": " ".join(str(error).split()) or name}


def label(name: str) -> str:
    """Name an engine for people."""
    return f"{name}, on this machine"


def last_question(body: Body) -> str:
    """Give the text of the last user message."""
    questions = [message for message in body["messages"] if message["role"] == "user"]
    return _text(questions[-1]) if questions else ""


def attachments(body: Body) -> Iterator[str]:
    """Describe what came along with the last user message: name, type and size, as its bytes say."""
    yield from (_description(uri, name) for uri, name in body.get("media") or [])
    questions = [message for message in body["messages"] if message["role"] == "user"]
    content = questions[-1].get("content") if questions else None
    for part in content if isinstance(content, list) else []:
        if part.get("type") == "image_url":
            yield _description(part["image_url"]["url"], "an image")
        elif part.get("type") == "file":
            yield _description(part["file"]["file_data"], part["file"]["filename"])


def _description(uri: str, name: str) -> str:
    if not uri.startswith("data:"):
        return f"{name}: {uri}"
    data = base64.b64decode(uri.partition(",")[2])
    kind = media_type(data) or "of no type that is known"
    pixels = pixel_size(data, kind)
    return f"{name}: {kind}, {f'{pixels[0]}×{pixels[1]}, ' if pixels else ''}{len(data):,} bytes"


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)
