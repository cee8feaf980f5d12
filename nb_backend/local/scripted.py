"""The scripted engine, for tests."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import ClassVar

from .engine import Body, Event, Step, _text, attachments, finish_event, last_question, provider_event, usage_event


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


def _echo(body: Body) -> str:
    came = [f"- {one}\n" for one in attachments(body)]
    return last_question(body) + (f"\n\n{''.join(came)}" if came else "")


def _words(text: str) -> Iterator[str]:
    """Cut a text so that the pieces joined are the text."""
    return (match[0] for match in re.finditer(r"\S+\s*|\s+", text))


def _count(body: Body) -> int:
    return sum(len(_text(message).split()) for message in body["messages"])
