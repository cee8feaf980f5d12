"""A call that works with and without ``await``: its requests are a job of the background loop that a caller waits for.

``map`` returns the result itself to synchronous code, and a ``PendingResult`` where the caller can await it. A running
event loop does not tell the two apart, as a kernel runs every cell inside one; the caller's code flags do.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from types import FrameType
from typing import Any

from .. import background
from ..capture import shown_stop
from .progress import NoProgress, ProgressView
from .runner import BatchRunner, Result

_COROUTINE = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE
_PART_OF_CALLER = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>", "<lambda>"})


def caller_can_await(frame: FrameType | None) -> bool:
    """Whether a call in this frame may be awaited: the frame is a coroutine's, or a cell's with an ``await``.

    A comprehension or a lambda counts as a part of the function that calls it.
    """
    while frame is not None and not frame.f_code.co_flags & _COROUTINE and frame.f_code.co_name in _PART_OF_CALLER:
        frame = frame.f_back
    return frame is not None and bool(frame.f_code.co_flags & _COROUTINE)


class BatchCall:
    """One call of ``map`` or ``compare``, from its first request to the value that the caller gets.

    ``make_value`` builds that value from the results. ``choose_view`` selects where progress is shown, on the waiting
    thread. ``timed`` says whether the last line of the progress names the seconds.
    """

    def __init__(
        self,
        batch: BatchRunner,
        make_value: Callable[[list[Result]], Any],
        choose_view: Callable[[], ProgressView],
        *,
        timed: bool,
    ) -> None:
        self._batch = batch
        self._make_value = make_value
        self._choose_view = choose_view
        self._view: ProgressView | None = None
        self._timed = timed
        self._job: background.Job[list[Result]] | None = None
        self._has_value = False
        self._value: Any = None

    def start(self) -> PendingResult:
        """Start the requests in the background."""
        self._job = self._make_job()
        return PendingResult(self)

    def wait(self) -> Any:
        """Return the value, blocking until it is there; start the requests if ``start`` has not.

        An interrupt ends all requests; its message says how many answers are kept.
        """
        if self._has_value:
            return self._value
        background.check_may_block()
        self._job = self._job or self._make_job(start=False)
        try:
            return self._finish(self._job.wait())
        except (KeyboardInterrupt, asyncio.CancelledError) as error:
            raise self._stopped(error) from None

    async def wait_async(self) -> Any:
        """Return the value of a call that was started; a cancellation ends all requests, as an interrupt does."""
        if self._has_value or self._job is None:
            return self._value
        try:
            return self._finish(await self._job.wait_async())
        except (KeyboardInterrupt, asyncio.CancelledError) as error:
            raise self._stopped(error) from None

    def _make_job(self, *, start: bool = True) -> background.Job[list[Result]]:
        return background.Job(self._batch.run(), start=start, on_poll=self._show_progress)

    def _show_progress(self) -> None:
        with suppress(Exception):  # a front end that cannot show progress is not a reason to lose the answers
            self._view = self._view or self._choose_view()
            self._view.show(self._batch.counts)

    def _show_last_line(self, line: str) -> None:
        with suppress(Exception):
            self._view = self._view or self._choose_view()
            self._view.finish(line)

    def _finish(self, results: list[Result]) -> Any:
        if not self._has_value:  # several may wait for the same call
            self._show_last_line(self._batch.counts.line(timed=self._timed))
            self._value = self._make_value(results)
            self._has_value = True
        return self._value

    def _stopped(self, error: BaseException) -> BaseException:
        """Keep the answers so far, and return the interrupt or cancellation with a message that says how many."""
        self._batch.keep()
        kept, total = self._batch.kept, self._batch.counts.total
        line = f"stopped: {kept:,} of {total:,} are kept; the same call asks for the rest"
        self._show_last_line(line)
        if self._view is not None and not isinstance(self._view, NoProgress):
            return shown_stop(error, line)
        stopped = type(error)(line)
        stopped._render_traceback_ = lambda: [f"{type(error).__name__}: {line}"]  # type: ignore[attr-defined]
        return stopped


class PendingResult:
    """The result of a call whose requests are running: ``await`` it, or call ``result()``, which blocks.

    It may be used like the list, Series or DataFrame that it stands for; that blocks too.
    """

    def __init__(self, call: BatchCall) -> None:
        self._call = call

    def __await__(self) -> Generator[Any, None, Any]:
        return self._call.wait_async().__await__()

    def result(self) -> Any:
        """Return the result, blocking until it is there."""
        return self._call.wait()

    def __len__(self) -> int:
        return len(self.result())

    def __iter__(self) -> Iterator[Any]:
        return iter(self.result())

    def __contains__(self, item: object) -> bool:
        return item in self.result()

    def __getitem__(self, key: Any) -> Any:
        return self.result()[key]

    def __eq__(self, other: object) -> Any:
        return self.result() == (other.result() if isinstance(other, PendingResult) else other)

    __hash__ = object.__hash__  # ``gather`` and sets of tasks need one

    def __repr__(self) -> str:
        return repr(self.result())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.result(), name)  # the methods of a list, Series or DataFrame

    def __dir__(self) -> list[str]:
        return dir(self.result())

    def __reduce__(self) -> tuple[Any, ...]:
        return copy.copy, (self.result(),)  # a copy or a pickle holds the result, not the call
