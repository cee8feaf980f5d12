"""Calls that work with and without ``await``: what runs is a job of the background loop, and who waits shows it."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import suppress
from types import FrameType
from typing import Any

from .. import background
from .progress import INTERVAL, ProgressView
from .runner import BatchRunner, Result

_COROUTINE = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE
_INSIDE = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>", "<lambda>"})  # of the function around them


def caller_can_await(frame: FrameType | None) -> bool:
    """Whether what a frame calls may be awaited there: it is a coroutine's, or a cell's with an ``await``."""
    while frame is not None and not frame.f_code.co_flags & _COROUTINE and frame.f_code.co_name in _INSIDE:
        frame = frame.f_back
    return frame is not None and bool(frame.f_code.co_flags & _COROUTINE)


class BatchCall:
    """The questions of a call while they are asked. ``shape`` makes of the results what the caller gets.

    ``timed`` says whether the line that stays tells the seconds.
    """

    def __init__(
        self,
        batch: BatchRunner,
        shape: Callable[[list[Result]], Any],
        progress: Callable[[], ProgressView],
        *,
        timed: bool,
    ) -> None:
        self._batch = batch
        self._shape = shape
        self._choose = progress
        self._progress: ProgressView | None = None
        self._timed = timed
        self._job: _Job | None = None
        self._value: list[Any] = []  # once it is there

    def start(self) -> PendingResult:
        """Ask in the background, and give what can be awaited."""
        self._job = _Job(self._batch.run(), self._show)
        return PendingResult(self)

    def wait(self) -> Any:
        """Ask, if nobody has, and give the result; an interrupt ends it, and then says how much is kept."""
        if self._value:
            return self._value[0]
        if asyncio._get_running_loop() is background.loop():
            raise RuntimeError("a synchronous call here would wait for itself: await it instead")
        job = self._job = self._job or _Job(self._batch.run(), self._show, start=False)
        try:
            return self._finish(job.wait())
        except (KeyboardInterrupt, asyncio.CancelledError) as error:
            raise self._stopped(error) from None

    async def awaited(self) -> Any:
        """Give the result of what was started; who cancels this, cancels that and waits until it has ended."""
        if self._value or self._job is None:
            return self._value[0]
        ended = asyncio.wrap_future(self._job.future)
        try:
            while not ended.done():  # which wakes the loop: ipykernel's handler of an interrupt does not
                await asyncio.wait([ended], timeout=INTERVAL)
                self._show()
            return self._finish(ended.result())
        except (KeyboardInterrupt, asyncio.CancelledError) as error:
            self._job.cancel()
            await asyncio.wait([ended])
            ended.exception()  # or it would be told that nobody has looked
            raise self._stopped(error) from None

    def _show(self) -> None:
        with suppress(Exception):  # a front end that cannot show it is no reason to lose the answers
            self._progress = self._progress or self._choose()
            self._progress.show(self._batch.counts)

    def _say(self, line: str) -> None:
        with suppress(Exception):
            self._progress = self._progress or self._choose()
            self._progress.finish(line)

    def _finish(self, results: list[Result]) -> Any:
        if not self._value:  # or others have waited, too
            self._say(self._batch.counts.line(timed=self._timed))
            self._value.append(self._shape(results))
        return self._value[0]

    def _stopped(self, error: BaseException) -> BaseException:
        """Give what an interrupt or a cancellation is raised as: one line of what is kept."""
        self._batch.keep()
        kept, total = self._batch.kept, self._batch.counts.total
        line = f"stopped: {kept:,} of {total:,} are kept; the same call asks for the rest"
        self._say(line)
        told = type(error)(line)
        told._render_traceback_ = lambda: [f"{type(error).__name__}: {line}"]  # type: ignore[attr-defined]
        return told


class PendingResult:
    """What a call gives inside a coroutine: await it. Used as the result that it will be, it waits for that."""

    def __init__(self, call: BatchCall) -> None:
        self._call = call

    def __await__(self) -> Generator[Any, None, Any]:
        return self._call.awaited().__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call.wait(), name)

    def __dir__(self) -> list[str]:
        return dir(self._call.wait())

    def __len__(self) -> int:
        return len(self._call.wait())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._call.wait())

    def __reversed__(self) -> Iterator[Any]:
        found: Iterator[Any] = reversed(self._call.wait())
        return found

    def __contains__(self, item: object) -> bool:
        return item in self._call.wait()

    def __getitem__(self, key: Any) -> Any:
        return self._call.wait()[key]

    def __eq__(self, other: object) -> Any:
        return self._call.wait() == (other._call.wait() if isinstance(other, PendingResult) else other)

    __hash__ = object.__hash__  # what gather and sets of tasks go by

    def __reduce__(self) -> tuple[Any, ...]:
        return _itself, (self._call.wait(),)  # a copy, or a pickle, is the result's

    def __repr__(self) -> str:
        return repr(self._call.wait())

    def __str__(self) -> str:
        return str(self._call.wait())


def _itself(value: Any) -> Any:
    return value


class _Job(background.Job[list[Result]]):
    """A job whose waiting thread looks up ten times a second."""

    def __init__(
        self, work: Coroutine[Any, Any, list[Result]], look: Callable[[], None], *, start: bool = True
    ) -> None:
        super().__init__(work, start=start)
        self._look = look

    def _wait(self, interrupts: list[int]) -> None:
        ended = threading.Event()
        self.future.add_done_callback(lambda _: ended.set())
        while not ended.wait(INTERVAL):
            self._look()
            if interrupts:
                interrupts.clear()
                self.cancel()
