"""Connections and waits that concurrent calls share."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from ..errors import BackendError
    from .session import StreamSession


_JITTER = 0.2  # part of a wait that is added at random, so that not all calls go on at the same moment
_MIN_LIMIT = 1.0  # calls at once
_MAX_NO_CREDIT = 3  # refusals in a row for want of credit, after which nothing is sent to that server
_GROWTH = 0.2  # added to the limit when as many calls as the limit have been answered


class Pool:
    """Lets all calls inside ``async with Pool():``, and in tasks started there, share connections and waits.

    A connection is reused when an answer was read to its end. If a server asks one call to slow down (``back_off``),
    all calls wait, and from then on half as many run at once; each answer raises that limit a little (additive
    increase, multiplicative decrease, as in RFC 5681). Such a refusal does not count against the ``max_retries`` of a
    call as long as other calls are answered meanwhile. If a server tells one call after the other that the account has
    no credit, the remaining calls fail without being sent there.
    """

    max_retries = 5

    def __init__(self) -> None:
        self.answered = 0
        self._idle: dict[int, list[StreamSession]] = {}  # by a hash of their options, which include the key
        self._paused_until = 0.0  # on the monotonic clock
        self._paused_by: BackendError | None = None  # the last failure that made all calls wait
        self._waits: list[tuple[float, BackendError]] = []  # until when single calls wait, and after which failure
        self._limit = float("inf")  # calls at once
        self._no_credit: Counter[str | None] = Counter()  # such refusals since the last answer, by url
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
        """Wait until another call may start; the caller must call ``release`` when it has ended."""
        while True:
            if (wait := self._paused_until - time.monotonic()) > 0:
                await asyncio.sleep(wait * random.uniform(1, 1 + _JITTER))  # noqa: S311  jitter needs no secure random numbers
            elif self._active < self._limit:
                break
            else:
                self._room.clear()
                await self._room.wait()
        self._active += 1

    def release(self, *, answered: bool) -> None:
        """Note that a call has ended."""
        self._active -= 1
        if answered:
            self.answered += 1
            self._no_credit.clear()
            self._limit += _GROWTH / self._limit
        self._room.set()

    def note_no_credit(self, url: str | None) -> None:
        """Note that a server refused a call because the account has no credit."""
        self._no_credit[url] += 1

    def is_without_credit(self, url: str | None) -> bool:
        """Whether a server would refuse another call because the account has no credit."""
        return self._no_credit[url] >= _MAX_NO_CREDIT

    def back_off(self, seconds: float, failure: BackendError | None = None) -> None:
        """Delay all calls for these seconds, and halve the limit of calls at once, only once for each wait."""
        now = time.monotonic()
        self._paused_by = failure
        if now >= self._paused_until:
            self._limit = max(_MIN_LIMIT, min(self._limit, self._active) / 2)
        self._paused_until = max(self._paused_until, now + seconds)

    def note_wait(self, seconds: float, failure: BackendError) -> None:
        """Note that one call waits for these seconds after a failure."""
        now = time.monotonic()
        self._waits = [*(one for one in self._waits if one[0] > now), (now + seconds, failure)]

    @property
    def wait(self) -> tuple[float, BackendError | None] | None:
        """The seconds until a call goes on, and the failure they wait after; ``None`` as long as any call is running.

        Any thread may ask. If all calls were told to slow down, those that are running do not count.
        """
        now = time.monotonic()
        if self._paused_until > now:
            return self._paused_until - now, self._paused_by
        waits = [(until - now, failure) for until, failure in self._waits if until > now]
        return min(waits, key=lambda one: one[0]) if waits and not self._active else None

    def session(self, headers: dict[str, str], **options: Any) -> StreamSession:
        """Return an unused session with these options, or a new one."""
        from .session import StreamSession

        key = hash((*headers.items(), *options.items()))
        idle = self._idle.setdefault(key, [])
        return idle.pop() if idle else StreamSession(headers, **options, on_release=idle.append)


current_pool: ContextVar[Pool | None] = ContextVar("nb_backend_pool", default=None)
"""The pool of the calls in this context; ``None`` if they share nothing."""
