"""What answers behind the embedded backend's HTTP: the protocol, and an engine that follows a script."""

from __future__ import annotations

import asyncio
import base64
import re
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from types import EllipsisType
from typing import Any, ClassVar, Protocol, TypeAlias

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


class ScriptedEngine:
    """Gives exact answers, for tests: ``engine.enqueue("Hel", 0.1, "lo", ...)``.

    A step is one of: a string, one ``content`` event; a dict, that event as it is; a number, seconds to wait; ``...``,
    a wait that only ends when the client leaves; bytes, put on the socket as they are; an exception, raised.
    ``provider`` comes before the steps, ``finish`` and ``usage`` (one token a word) after them, each unless a step says
    it. An ``error`` or ``auth`` step takes the place of ``finish``.

    With nothing enqueued the default steps are the answer; without any, it is the last user message, word by word, and
    what came along with it: ``fig.png: image/png, 640×480, 12,345 bytes``.
    """

    history: list[Body]
    """The bodies asked for, oldest first."""
    stopped: int
    """How many answers were left by their client before their end."""

    endings: ClassVar[frozenset[str]] = frozenset({"finish", "error", "auth"})

    def __init__(
        self, *default_steps: Step, name: str = "scripted", vision: bool | None = None, limit: int | None = None
    ) -> None:
        self.name = name
        self.vision = vision
        self.limit = limit
        self.history = []
        self.stopped = 0
        self._default_steps = default_steps
        self._queue: deque[Sequence[Step]] = deque()

    def enqueue(self, *steps: Step) -> None:
        """Make these the steps of the next answer that has none yet."""
        self._queue.append(steps)

    async def stream(self, body: Body) -> AsyncGenerator[Event | bytes, None]:
        """Play the next answer."""
        self.history.append(body)
        steps = self._queue.popleft() if self._queue else self._default_steps or list(_words(_echo(body)))
        types = {step["type"] for step in steps if isinstance(step, dict)}
        try:
            if "provider" not in types:
                yield provider_event(self.name)
            async with aclosing(_play(steps)) as events:
                async for event in events:
                    yield event
            if not types & self.endings:
                yield finish_event("stop")
            if "usage" not in types and not types & {"error", "auth"}:
                yield usage_event(self.name, _count(body), sum(isinstance(step, str) for step in steps))
        except (GeneratorExit, asyncio.CancelledError):
            self.stopped += 1
            raise


async def _play(steps: Sequence[Step]) -> AsyncGenerator[Event | bytes, None]:
    for step in steps:
        if isinstance(step, str):
            yield {"type": "content", "content": step}
        elif isinstance(step, (dict, bytes)):
            yield step
        elif isinstance(step, (int, float)):
            await asyncio.sleep(step)
        elif isinstance(step, Exception):
            raise step
        else:
            await asyncio.Event().wait()


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


def _echo(body: Body) -> str:
    came = [f"- {one}\n" for one in attachments(body)]
    return last_question(body) + (f"\n\n{''.join(came)}" if came else "")


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _words(text: str) -> Iterator[str]:
    """Cut a text so that the pieces joined are the text."""
    return (match[0] for match in re.finditer(r"\S+\s*|\s+", text))


def _count(body: Body) -> int:
    return sum(len(_text(message).split()) for message in body["messages"])
