"""What calls that are made together share: their connections, and the waits that a server asks for."""

from __future__ import annotations

import asyncio
import random
import time
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from .session import StreamSession


_JITTER = 0.2  # of a wait: those that waited do not come all at once
_FEWEST = 1.0  # questions at once
_GROWTH = 0.2  # of it, when as many as there are at once have been answered


class Pool:
    """``async with Pool():`` makes the calls within, and in the tasks begun there, share what they can.

    A connection goes from one answer that was read to its end to the next question. When one call is told to slow down
    (``back_off``), all of them wait, and half as many are asked at once from then on; each answer makes room for a
    little more (additive increase, multiplicative decrease: as TCP does, RFC 5681). A refusal of that kind takes none
    of the ``max_retries`` of a call as long as other calls are answered meanwhile.
    """

    max_retries = 5

    def __init__(self) -> None:
        self.answered = 0
        self._idle: dict[int, list[StreamSession]] = {}  # by their options, of which the key is one
        self._until = 0.0  # when the wait is over
        self._limit = float("inf")  # of questions at once
        self._active = 0
        self._room = asyncio.Event()
        self._token: Token[Pool | None] | None = None

    async def __aenter__(self) -> Self:
        self._token = current_pool.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            current_pool.reset(self._token)
        for session in [session for sessions in self._idle.values() for session in sessions]:
            await session.end()
        self._idle.clear()

    async def acquire(self) -> None:
        """Wait until a question may be asked; ``release`` has to follow."""
        while True:
            if (wait := self._until - time.monotonic()) > 0:
                await asyncio.sleep(wait * random.uniform(1, 1 + _JITTER))  # noqa: S311  jitter is no secret
            elif self._active < self._limit:
                break
            else:
                self._room.clear()
                await self._room.wait()
        self._active += 1

    def release(self, *, answered: bool) -> None:
        """Note that a question has come to its end."""
        self._active -= 1
        if answered:
            self.answered += 1
            self._limit += _GROWTH / self._limit
        self._room.set()

    def back_off(self, seconds: float) -> None:
        """Hold all questions back for so long, and have fewer at once: by half, once for each such wait."""
        now = time.monotonic()
        if now >= self._until:
            self._limit = max(_FEWEST, min(self._limit, self._active) / 2)
        self._until = max(self._until, now + seconds)

    def session(self, headers: dict[str, str], **options: Any) -> StreamSession:
        """Give a session with these options that nobody uses, or a new one."""
        from .session import StreamSession

        kind = hash((*headers.items(), *options.items()))
        idle = self._idle.setdefault(kind, [])
        return idle.pop() if idle else StreamSession(headers, **options, on_release=idle.append)


current_pool: ContextVar[Pool | None] = ContextVar("nb_backend_pool", default=None)
"""The pool that a call is part of."""
