"""The engine that follows a script, for tests."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import ClassVar

from ..events import content_text
from .engine import Body, Event, Step, attachments, finish_event, last_prompt, provider_event, usage_event


class ScriptedEngine:
    """Answers with given steps: ``engine.enqueue("Hel", 0.1, "lo", ...)``.

    A step is one of:

    - a string: one ``content`` event
    - a dict: this event
    - a number: seconds to wait
    - ``...``: a wait that ends only when the client leaves
    - bytes: written to the connection as they are
    - an exception: raised

    ``provider`` comes before the steps, ``finish`` and ``usage`` (a token for each text) after them, unless a step is
    such an event. The finish reason is ``tool_calls`` if a step is such an event. An ``error`` or ``auth`` step
    replaces ``finish`` and ``usage``.

    If nothing is enqueued, the answer is ``default_steps``. Without these it repeats the last prompt, word by word, and
    describes the attachments: ``fig.png: image/png, 640×480, 12,345 bytes``.
    """

    history: list[Body]
    """The bodies of the requests, oldest first."""
    stopped: int
    """The number of answers whose client left before their end."""

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
        """Use these steps for the next answer that has none yet."""
        self._queue.append(steps)

    async def stream(self, body: Body) -> AsyncGenerator[Event | bytes, None]:
        """Yield the events of the next answer."""
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
                yield finish_event("tool_calls" if "tool_calls" in types else "stop")
            if "usage" not in types and not types & {"error", "auth"}:
                yield usage_event(self.name, _count_words(body), sum(isinstance(step, str) for step in steps))
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
    described = "".join(f"- {one}\n" for one in attachments(body))
    return last_prompt(body) + (f"\n\n{described}" if described else "")


def _words(text: str) -> Iterator[str]:
    """Split a text into words with the spaces after them; joined, they are the text."""
    return (match[0] for match in re.finditer(r"\S+\s*|\s+", text))


def _count_words(body: Body) -> int:
    return sum(len(content_text(message.get("content")).split()) for message in body["messages"])
