"""One event loop on a thread of its own, for every stream that no caller's loop carries.

In a kernel the main thread runs the cells, and an event loop that belongs to IPython; a stream that waits for either
breaks the other. So the magic, the panel and every synchronous call share this loop.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_POLL = 0.1  # seconds; where a wait cannot be interrupted (Windows), it is looked at that often
_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_of_parent: list[asyncio.AbstractEventLoop | None] = []


class Job(Generic[T]):
    """A coroutine on the background loop, in the context (``contextvars``) of who started it.

    ``start=False`` leaves the start to ``wait``: then no interrupt falls between the two, which would leave it running.
    """

    def __init__(self, work: Coroutine[Any, Any, T], *, start: bool = True) -> None:
        self._work = work
        self._task: asyncio.Task[T] | None = None
        self.future: Future[T] = Future()
        if start:
            loop().call_soon_threadsafe(self._start)

    def cancel(self) -> None:
        """Ask it to end: it is cancelled, keeps what it has to keep, and only then is the future done."""
        loop().call_soon_threadsafe(self._cancel)

    def wait(self) -> T:
        """Block this thread until the end. An interrupt cancels the job and is raised once that has ended.

        Inside a coroutine, where the running loop makes a cancellation of an interrupt, it is a ``CancelledError``.
        """
        with _interrupts_of_the_loop() as interrupts:
            try:
                loop().call_soon_threadsafe(self._start)
                self._wait(interrupts)
            except KeyboardInterrupt:
                self.cancel()
                self._wait(interrupts)
                raise
        return self.future.result()

    def _wait(self, interrupts: list[int]) -> None:
        ended = threading.Event()
        self.future.add_done_callback(lambda _: ended.set())
        while not ended.wait(_POLL):
            if interrupts:
                interrupts.clear()
                self.cancel()

    def _start(self) -> asyncio.Task[T]:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work)
            self._task.add_done_callback(self._settle)
        return self._task

    def _cancel(self) -> None:
        self._start().cancel()

    def _settle(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.future.set_exception(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(task.result())


def run(work: Coroutine[Any, Any, T], *, nested: bool = False) -> T:
    """Wait for a coroutine from synchronous code, also where a loop is running in this thread.

    It runs on the background loop while this thread waits. ``nested=True`` runs it in this thread's own running loop,
    whose other tasks go on meanwhile (through nest-asyncio2): for a synchronous call inside a coroutine, only when
    what is waited for depends on that loop.
    """
    if nested:
        return _run_nested(work)
    if _loop is not None and asyncio._get_running_loop() is _loop:
        work.close()
        raise RuntimeError("a synchronous call here would wait for itself: await the coroutine instead")
    return Job(work, start=False).wait()


def loop() -> asyncio.AbstractEventLoop:
    """Give the background loop; its thread starts with the first call and ends with the process."""
    global _loop
    with _lock:
        if _loop is None:
            made = asyncio.new_event_loop()
            threading.Thread(target=_serve, args=[made], name="nb_backend", daemon=True).start()
            _loop = made  # last: an interrupt must not leave a loop that nobody runs
        return _loop


@contextmanager
def _interrupts_of_the_loop() -> Iterator[list[int]]:
    """Note the interrupts that a running loop handles itself: what it does of them comes only after the wait."""
    noted: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    blocks_a_loop = threading.current_thread() is threading.main_thread() and asyncio._get_running_loop() is not None
    if not blocks_a_loop or not callable(before) or before is signal.default_int_handler:
        yield noted
        return

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    while True:
        with suppress(SystemExit, KeyboardInterrupt):  # raised by a job: its own affair, not the loop's
            loop.run_forever()


def _run_nested(work: Coroutine[Any, Any, T]) -> T:
    import nest_asyncio2

    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        return Job(work, start=False).wait()
    try:
        nest_asyncio2.apply(running)
    except ValueError:  # another kind of loop, like uvloop
        work.close()
        raise
    result: T = running.run_until_complete(work)
    return result


def on_fork(callback: Callable[[], None]) -> None:
    """Call a function in every forked child, before the child does anything else.

    Locks have to be made anew there: a thread that the child does not have may hold them.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=callback)


def _forget() -> None:
    """A fork has the parent's loop, but not the thread that runs it."""
    global _loop, _lock
    _of_parent.append(_loop)  # or collecting it would warn, and close what the parent still uses
    _loop, _lock = None, threading.Lock()


on_fork(_forget)
