"""Whom to ask, and what to do when that failed: another server, the same a moment later, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from ..errors import BackendError
from ..events import Moved, RawResponse
from .failures import delay_before_retry, is_for_all, is_of_the_question, moving_event, none_answered, waiting_event
from .pool import shared


class Server(Protocol):
    """What can be asked."""

    url: str | None


S = TypeVar("S", bound=Server)


class Attempts(Generic[S]):
    """The attempts to have one question answered: by each server in turn, and at most so many rounds more.

    In a pool, all of its calls wait when one is refused for being too many; that takes none of the rounds as long as
    others are answered meanwhile. ``delay`` is how many seconds to wait, if it is not ``None``.
    """

    def __init__(self, servers: Sequence[S], most: int) -> None:
        self.delay: float | None = None
        self._servers = servers
        self._pool = shared.get()
        self._most = max(most, self._pool.max_retries) if self._pool else most
        self._round = 0
        self._failures: list[BackendError] = []  # of this round
        self._answered = -1  # of the pool, when this was refused last

    @property
    def server(self) -> S:
        """Who is to be asked."""
        return self._servers[len(self._failures)]

    async def begin(self) -> None:
        """Wait for the turn; ``end`` has to follow."""
        self.delay = None
        if self._pool:
            await self._pool.turn()

    def end(self, *, answered: bool) -> None:
        """Note that an attempt has come to its end."""
        if self._pool:
            self._pool.done(answered=answered)

    def after(self, failure: BackendError) -> RawResponse:
        """Choose what to do next, and say so; raise the failure if there is nothing."""
        if is_of_the_question(failure):
            raise failure
        self._failures.append(failure)
        if len(self._failures) < len(self._servers):
            return Moved(moving_event(failure, self.server.url or ""), self.server)
        failures, self._failures = self._failures, []
        passing = [one for one in failures if one.retryable]
        if not passing or self._round >= self._most:
            raise none_answered(failures)
        delay = min(delay_before_retry(self._round, one) for one in passing)
        if self._pool and all(map(is_for_all, failures)):
            self._pool.slow(delay)
            self._round += self._pool.answered == self._answered
            self._answered = self._pool.answered
        else:
            self.delay = delay
            self._round += 1
        event = waiting_event(failure, delay)
        return event if len(self._servers) == 1 else Moved(event, self.server)
