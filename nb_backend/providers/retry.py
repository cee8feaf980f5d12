"""Retries and failover to other servers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from yarl import URL

from ..errors import BackendError, RateLimitError
from ..events import RawResponse, ServerChanged
from ..transport.pool import current_pool


class Server(Protocol):
    """What can be asked."""

    url: str | None


S = TypeVar("S", bound=Server)


class RetryPolicy(Generic[S]):
    """The attempts to have one question answered: by each server in turn, and at most so many rounds more.

    In a pool, all of its calls wait when one is refused for being too many; that takes none of the rounds as long as
    others are answered meanwhile. ``delay`` is how many seconds to wait, if it is not ``None``.
    """

    def __init__(self, servers: Sequence[S], most: int) -> None:
        self.delay: float | None = None
        self._servers = servers
        self._pool = current_pool.get()
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
            await self._pool.acquire()

    def end(self, *, answered: bool) -> None:
        """Note that an attempt has come to its end."""
        if self._pool:
            self._pool.release(answered=answered)

    def next_step(self, failure: BackendError) -> RawResponse:
        """Choose what to do next, and say so; raise the failure if there is nothing."""
        if is_request_error(failure):
            raise failure
        self._failures.append(failure)
        if len(self._failures) < len(self._servers):
            return ServerChanged(failover_event(failure, self.server.url or ""), self.server)
        failures, self._failures = self._failures, []
        passing = [one for one in failures if one.retryable]
        if not passing or self._round >= self._most:
            raise all_servers_failed(failures)
        delay = min(delay_before_retry(self._round, one) for one in passing)
        if self._pool and all(map(is_overload, failures)):
            self._pool.back_off(delay)
            self._round += self._pool.answered == self._answered
            self._answered = self._pool.answered
        else:
            self.delay = delay
            self._round += 1
        event = retry_event(failure, delay)
        return event if len(self._servers) == 1 else ServerChanged(event, self.server)


_FIRST_DELAY, _LAST_DELAY = 0.5, 8.0  # seconds


def retry_event(error: BackendError, delay: float) -> RawResponse:
    """Say why, and for how long, nothing is asked."""
    return RawResponse(type="progress", progress={"label": f"{_why(error)}; asking again in {max(delay, 0.1):.1f} s"})


def failover_event(error: BackendError, url: str) -> RawResponse:
    """Say why another server is asked."""
    return RawResponse(type="progress", progress={"label": f"{_why(error)}; asking {URL(url).origin()}"})


def _why(error: BackendError) -> str:
    return str(error).rpartition(": ")[0] or str(error)  # without what to do about it


def is_request_error(error: BackendError) -> bool:
    """Whether another server would refuse the question, too: it is none that can be asked, or it is too large."""
    return error.status in (400, 413, 422)


def is_overload(error: BackendError) -> bool:
    """Whether the server has too much to do, and whoever asks it has to wait."""
    return error.status in (429, 503, 529) or isinstance(error, RateLimitError)


def all_servers_failed(failures: list[BackendError]) -> BackendError:
    """Say of several servers that all of them have failed: the last failure, with what became of the others."""
    *others, last = failures
    if not others:
        return last
    message = f"None of {len(failures)} servers answered. {' '.join(f'{one}.' for one in others)} {last}"
    return type(last)(
        message,
        partial=last.partial,
        retry_after=last.retry_after,
        retryable=last.retryable,
        code=last.code,
        status=last.status,
    )


def delay_before_retry(attempt: int, error: BackendError) -> float:
    """Choose how many seconds to wait: what the server asks for, else exponential with jitter, 0.5 to 8 s."""
    if error.retry_after is not None:
        return error.retry_after
    return min(_LAST_DELAY, _FIRST_DELAY * 2.0**attempt) * random.uniform(0.75, 1)  # noqa: S311  jitter is no secret
