"""Retries and failover to other servers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from yarl import URL

from ..errors import BackendError, RateLimitError, ServerError
from ..events import RawResponse, ServerChanged
from ..transport.pool import current_pool
from ..transport.refusal import CREDIT


class Server(Protocol):
    """Anything with the url of a server; a provider class is one."""

    url: str | None


S = TypeVar("S", bound=Server)


class RetryPolicy(Generic[S]):
    """Decides which server a request is sent to next, and when.

    A round is one attempt with each server in turn; ``max_retries`` rounds follow the first. ``delay`` is the seconds
    to wait before the next attempt, or ``None``. In a ``Pool``, an overloaded server makes all calls wait; such a round
    is not counted as long as other calls are answered meanwhile.
    """

    def __init__(self, servers: Sequence[S], max_retries: int) -> None:
        self.delay: float | None = None
        self._servers = servers
        self._pool = current_pool.get()
        self._max_retries = max(max_retries, self._pool.max_retries) if self._pool else max_retries
        self._round = 0
        self._failures: list[BackendError] = []  # of this round
        self._answered = -1  # answers of the pool at the last refusal

    @property
    def server(self) -> S:
        """The server of the next attempt."""
        return self._servers[len(self._failures)]

    async def begin(self) -> None:
        """Wait until the pool lets the attempt start; the caller must call ``end`` after it.

        Raises ``ServerError`` if the pool knows that the only server refuses every call for want of credit.
        """
        self.delay = None
        if self._pool:
            await self._pool.acquire()
            if len(self._servers) == 1 and self._pool.is_without_credit(self.server.url):
                self._pool.release(answered=False)
                raise ServerError(
                    f"Nothing was sent, as the calls before were refused because the account has no credit: {CREDIT}",
                    no_credit=True,
                )

    def end(self, *, answered: bool) -> None:
        """Note that an attempt has ended."""
        if self._pool:
            self._pool.release(answered=answered)

    def next_step(self, failure: BackendError) -> RawResponse:
        """Return the progress event for the next attempt (another server, or a wait); raise if no attempt is left."""
        if self._pool and failure.no_credit:
            self._pool.note_no_credit(self.server.url)
        if is_request_error(failure):
            raise failure
        self._failures.append(failure)
        if len(self._failures) < len(self._servers):
            return ServerChanged(failover_event(failure, self.server.url or ""), self.server)
        failures, self._failures = self._failures, []
        temporary = [one for one in failures if one.retryable]
        if not temporary or self._round >= self._max_retries:
            raise all_servers_failed(failures)
        delay = min(delay_before_retry(self._round, one) for one in temporary)
        if self._pool and all(map(is_overload, failures)):
            self._pool.back_off(delay, failure)
            self._round += self._pool.answered == self._answered
            self._answered = self._pool.answered
        else:
            self.delay = delay
            self._round += 1
            if self._pool:
                self._pool.note_wait(delay, failure)
        event = retry_event(failure, delay)
        return event if len(self._servers) == 1 else ServerChanged(event, self.server)


_FIRST_DELAY, _LAST_DELAY = 0.5, 8.0  # seconds


def retry_event(error: BackendError, delay: float) -> RawResponse:
    """Return a progress event: what failed (``reason``), and the seconds until the request is sent again (``wait``)."""
    reason = _why(error)
    label = f"{reason}; asking again in {max(delay, 0.1):.1f} s"
    return RawResponse(type="progress", progress={"label": label}, reason=reason, wait=delay)


def failover_event(error: BackendError, url: str) -> RawResponse:
    """Return a progress event: what failed, and which server is asked instead."""
    return RawResponse(type="progress", progress={"label": f"{_why(error)}; asking {URL(url).origin()}"})


def _why(error: BackendError) -> str:
    return str(error).rpartition(": ")[0] or str(error)  # without the hint at its end


def is_request_error(error: BackendError) -> bool:
    """Whether the request itself is refused, as invalid or too large, so that another server would refuse it too.

    An error inside an answer that stands for no HTTP status is one too: it may say that the prompt is too long.
    """
    is_refusal = isinstance(error, ServerError) and not error.no_credit
    return is_refusal and error.status in (0, 400, 413, 422)


def is_overload(error: BackendError) -> bool:
    """Whether the server has too many requests, so that all calls have to wait."""
    return error.status in (429, 503, 529) or isinstance(error, RateLimitError)


def all_servers_failed(failures: list[BackendError]) -> BackendError:
    """Return the last failure; if there are several, with the messages of all."""
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
        no_credit=last.no_credit,
        close_models=last.close_models,
    )


def delay_before_retry(attempt: int, error: BackendError) -> float:
    """Return the seconds to wait: what the server asks for, else exponential with jitter, about 0.5 to 8 s."""
    if error.retry_after is not None:
        return error.retry_after
    return min(_LAST_DELAY, _FIRST_DELAY * 2.0**attempt) * random.uniform(0.75, 1)  # noqa: S311  jitter needs no secure random numbers
