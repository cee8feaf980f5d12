"""What an engine is: it answers a request with events. The server in ``app`` knows no more of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from types import EllipsisType
from typing import Any, Protocol, TypeAlias

from ..events import content_text
from ..media.probe import pixel_size
from ..media.sniff import media_type, parse_data_uri

Body: TypeAlias = dict[str, Any]
"""The body of a request: ``{"model", "messages", "media", "api_key", **params}``."""


Event: TypeAlias = dict[str, Any]
"""One event of an answer, as it is sent: ``{"type": "content", "content": "Hi"}``."""


Step: TypeAlias = str | Event | float | EllipsisType | bytes | Exception
"""One step of a scripted answer; see ``ScriptedEngine``."""


class EngineError(Exception):
    """The engine cannot answer. The message is one line and says what to do next."""


class Engine(Protocol):
    """Anything that can answer requests."""

    name: str
    vision: bool | None
    """Whether it accepts images; ``None`` if that is unknown."""
    limit: int | None
    """The number of requests it accepts at once, those that wait for their turn included; ``None`` for any number."""

    def stream(self, body: Body) -> AsyncGenerator[Event | bytes, None]:
        """Yield the events of the answer. Closing the generator stops the work at once.

        Bytes are written to the connection as they are. Raises ``EngineError`` if the engine cannot answer.
        """


def provider_event(name: str) -> Event:
    """Return the event that says which model answers."""
    return {
        "type": "provider",
        "provider": {"name": name, "url": None, "label": label(name), "model": name},
    }


def finish_event(reason: str) -> Event:
    """Return the event that says why the answer ends: ``stop``, ``length`` or ``tool_calls``."""
    return {"type": "finish", "finish": {"reason": reason}}


def usage_event(name: str, prompt_tokens: int, completion_tokens: int) -> Event:
    """Return the event with the number of tokens read and written."""
    counts = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    return {"type": "usage", "usage": counts, "model": name, "provider": name}


def error_event(error: Exception) -> Event:
    """Return the event that says that the answer failed: the exception's name, and its message in one line."""
    name = type(error).__name__
    return {"type": "error", "error": name, "message": " ".join(str(error).split()) or name}


def label(name: str) -> str:
    """Return the name of an engine as people read it."""
    return f"{name}, on this machine"


def last_prompt(body: Body) -> str:
    """Return the text of the last user message."""
    message = _last_user_message(body)
    return content_text(message.get("content")) if message else ""


def attachments(body: Body) -> Iterator[str]:
    """Yield a description of each attachment of the last prompt: its name, and its type and size by its bytes."""
    yield from (_description(uri, name) for uri, name in body.get("media") or [])
    message = _last_user_message(body)
    content = message.get("content") if message else None
    for part in content if isinstance(content, list) else []:
        if part.get("type") == "image_url":
            yield _description(part["image_url"]["url"], "an image")
        elif part.get("type") == "file":
            yield _description(part["file"]["file_data"], part["file"]["filename"])


def _last_user_message(body: Body) -> dict[str, Any] | None:
    return next((message for message in reversed(body["messages"]) if message["role"] == "user"), None)


def _description(uri: str, name: str) -> str:
    if not uri.startswith("data:"):
        return f"{name}: {uri}"
    _, data = parse_data_uri(uri)
    found_type = media_type(data) or "of an unknown type"
    pixels = pixel_size(data, found_type)
    return f"{name}: {found_type}, {f'{pixels[0]}×{pixels[1]}, ' if pixels else ''}{len(data):,} bytes"
