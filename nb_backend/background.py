"""One event loop on a thread of its own, for every stream that does not run in the caller's loop.

A kernel runs its cells on the main thread, inside an event loop that belongs to IPython. A stream that blocked that
loop, or waited for it, would break the kernel. So the magic, the panel and every synchronous call share this loop.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from types import FrameType
from typing import Any, Generic, TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.1
"""How often a waiter wakes up: some waits cannot be interrupted (on Windows, and in ipykernel's idle loop)."""

user_thread: ContextVar[Callable[[Callable[[], Any]], Awaitable[Any]] | None] = ContextVar("user_thread", default=None)
"""Runs a function on the thread of the user's code, where no job waits: see ``on_user_thread``."""


class NobodyWaits(RuntimeError):
    """No thread of the user waits for what asks for it."""


_current_job: ContextVar[Job[Any] | None] = ContextVar("nb_backend_job", default=None)
_in_call: ContextVar[bool] = ContextVar("nb_backend_in_call", default=False)
_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_loops_of_parent: list[asyncio.AbstractEventLoop | None] = []


class Job(Generic[T]):
    """A coroutine that runs on the background loop, in the context (``contextvars``) of the thread that started it.

    ``start=False`` leaves the start to ``wait``, so that an interrupt between the two cannot leave it running, and that
    ``on_user_thread`` finds a thread that waits.
    ``on_poll`` is called by whoever waits, on the waiting thread, every ``POLL_SECONDS``.
    """

    def __init__(
        self, work: Coroutine[Any, Any, T], *, start: bool = True, on_poll: Callable[[], None] | None = None
    ) -> None:
        self._work = work
        self._task: asyncio.Task[T] | None = None
        self._on_poll = on_poll or (lambda: None)
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()  # for the thread that waits
        self._is_awaited = False
        self._accepts_calls = True
        self._wake: Callable[[], object] = lambda: None
        self.future: Future[T] = Future()
        if start:
            loop().call_soon_threadsafe(self._start)

    def cancel(self) -> None:
        """Cancel the coroutine; ``future`` is done once it has ended, which includes its clean-up."""
        loop().call_soon_threadsafe(self._cancel)

    def wait(self) -> T:
        """Block this thread until the job has ended, and return its result.

        An interrupt cancels the job and is raised once the job has ended: as ``KeyboardInterrupt``, or as
        ``CancelledError`` inside a coroutine whose loop turns interrupts into cancellations.
        """
        self._is_awaited = True
        with _note_interrupts_of_loop() as interrupts:
            try:
                loop().call_soon_threadsafe(self._start)
                self._block(interrupts)
            except KeyboardInterrupt:
                self._interrupt()
                self._block(interrupts)
                raise
        return self.future.result()

    async def wait_async(self) -> T:
        """Await the job from another event loop, and return its result.

        A cancellation of the waiter (or an interrupt) cancels the job and is raised once the job has ended.
        """
        self._is_awaited = True
        here, ended = asyncio.get_running_loop(), asyncio.wrap_future(self.future)
        called = here.create_future()

        def wake() -> None:
            if not called.done():
                called.set_result(None)

        self._wake = lambda: here.call_soon_threadsafe(wake)
        loop().call_soon_threadsafe(self._start)
        try:
            while not ended.done():
                self._poll()  # first, as a call may have come before ``_wake`` was set
                await asyncio.wait([ended, called], timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                called = here.create_future() if called.done() else called
        except (KeyboardInterrupt, asyncio.CancelledError):
            self._interrupt()
            await asyncio.wait([ended])
            ended.exception()  # otherwise asyncio warns that nobody has retrieved it
            raise
        return ended.result()

    def _block(self, interrupts: list[int]) -> None:
        called = threading.Event()
        self._wake = called.set
        self.future.add_done_callback(lambda _: called.set())
        while not self.future.done():
            self._poll()  # first, as a call may have come before ``_wake`` was set
            called.wait(POLL_SECONDS)
            called.clear()
            if interrupts:
                interrupts.clear()
                self.cancel()

    async def on_waiting_thread(self, function: Callable[[], Any]) -> Any:
        """Run a function on the thread that waits for the job; ``NobodyWaits`` if there is none."""
        if not self._is_awaited or self.future.done():
            raise NobodyWaits("no thread of the user waits for this")
        future: Future[Any] = Future()
        self._calls.append((function, future))
        with suppress(RuntimeError):  # the loop of the waiter is closed
            self._wake()
        return await asyncio.wrap_future(future)

    def _interrupt(self) -> None:
        """Cancel the job, and the calls that wait for this thread."""
        self._accepts_calls = False
        self._drop_calls()
        self.cancel()

    def _next_call(self) -> tuple[Callable[[], Any], Future[Any]] | None:
        with suppress(IndexError):  # the waiter and the loop take calls from different threads
            return self._calls.popleft()
        return None

    def _drop_calls(self) -> None:
        while (call := self._next_call()) is not None:
            call[1].cancel()

    def _poll(self) -> None:
        self._on_poll()
        while (call := self._next_call()) is not None:
            function, future = call
            if not (self._accepts_calls and future.set_running_or_notify_cancel()):
                future.cancel()
                continue
            try:
                with raised_interrupts():
                    result = function()
            except KeyboardInterrupt:
                self.cancel()
                future.set_exception(asyncio.CancelledError())
                raise
            except StopIteration as error:  # a future cannot hold it
                future.set_exception(RuntimeError(f"StopIteration: {error}"))
            except BaseException as error:  # it belongs to the job
                future.set_exception(error)
            else:
                future.set_result(result)

    def _start(self) -> asyncio.Task[T]:
        if self._task is None:
            _current_job.set(self)
            self._task = asyncio.get_running_loop().create_task(self._work)
            self._task.add_done_callback(self._settle)
        return self._task

    def _cancel(self) -> None:
        self._start().cancel()

    def _settle(self, task: asyncio.Task[T]) -> None:
        self._drop_calls()
        if task.cancelled():
            self.future.set_exception(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(task.result())


def run(work: Coroutine[Any, Any, T], *, nested: bool = False) -> T:
    """Run a coroutine from synchronous code and return its result, also while a loop is running in this thread.

    The coroutine runs on the background loop while this thread waits. With ``nested=True`` it runs in this thread's
    own running loop, whose other tasks go on meanwhile (by nest-asyncio2): for a synchronous call inside a coroutine.
    ``RuntimeError`` on the background loop itself.
    """
    if nested:
        return _run_nested(work)
    try:
        check_may_block()
    except RuntimeError:
        work.close()
        raise
    return Job(work, start=False).wait()


async def on_user_thread(function: Callable[[], T]) -> T:
    """Run a function on the thread that waits for this coroutine, and return its result.

    That is the thread of the cell, or of the synchronous call. In a coroutine that the user's own loop runs, it is this
    thread. ``NobodyWaits`` if no thread waits. An interrupt of the function cancels what waits for it, and
    the functions that wait for the thread. A cancellation of this coroutine does not end a function that runs. The
    function must not wait for the background loop: ``check_may_block`` refuses it.
    """
    function = partial(_without_requests, function)
    result: T
    if (run_there := user_thread.get()) is not None:
        result = await run_there(function)
    elif not is_on_loop():
        try:
            with raised_interrupts():
                result = function()
        except KeyboardInterrupt:  # it would end the user's loop
            raise asyncio.CancelledError from None
    elif (job := _current_job.get()) is not None:
        result = await job.on_waiting_thread(function)
    else:
        raise NobodyWaits("no thread of the user waits for this")
    return result


@contextmanager
def raised_interrupts() -> Iterator[None]:
    """Raise an interrupt at once: in a cell that awaits, ipykernel would only cancel the next ``await``.

    It is raised at the end again if the code inside has caught it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    noted: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        signal.default_int_handler(number, frame)

    try:
        signal.signal(signal.SIGINT, interrupt)
        yield
    finally:
        if before is not None:  # None is a handler that was not installed from Python
            signal.signal(signal.SIGINT, before)
    if noted:
        raise KeyboardInterrupt


def check_may_block() -> None:
    """Raise ``RuntimeError`` where a synchronous call must not wait for a job.

    That is the background loop's own thread, as the job would never run, and a function that ``on_user_thread`` runs.
    """
    if is_on_loop():
        raise RuntimeError("a synchronous call here would wait for itself: await it instead")
    check_may_ask()


def check_may_ask() -> None:
    """Raise ``RuntimeError`` in a function that ``on_user_thread`` runs for an answer: it must not ask for another."""
    if _in_call.get():
        raise RuntimeError("code that a model runs cannot ask a model: ask in a cell of your own")


def is_on_loop() -> bool:
    """Whether the caller runs on the background loop."""
    return _loop is not None and _running_loop() is _loop


def loop() -> asyncio.AbstractEventLoop:
    """Return the background loop; its thread starts with the first call and ends with the process."""
    global _loop
    with _lock:
        if _loop is None:
            made = asyncio.new_event_loop()
            threading.Thread(target=_run_forever, args=[made], name="nb_backend", daemon=True).start()
            _loop = made  # only now: an interrupt before this line must not leave a loop that no thread runs
        return _loop


def on_fork(callback: Callable[[], None]) -> None:
    """Call a function in every forked child, before the child does anything else.

    Locks have to be made anew there: a thread that the child does not have may hold them.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=callback)


@contextmanager
def _note_interrupts_of_loop() -> Iterator[list[int]]:
    """Collect the interrupts that this thread's running loop handles, as it acts on them only after the wait."""
    noted: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    blocks_a_loop = threading.current_thread() is threading.main_thread() and _running_loop() is not None
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


def _without_requests(function: Callable[[], T]) -> T:
    token = _in_call.set(True)
    try:
        return function()
    finally:
        _in_call.reset(token)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _run_forever(loop: asyncio.AbstractEventLoop) -> None:
    while True:
        with suppress(SystemExit, KeyboardInterrupt):  # a job raised it: its waiter gets it, the loop goes on
            loop.run_forever()


def _run_nested(work: Coroutine[Any, Any, T]) -> T:
    import nest_asyncio2

    running = _running_loop()
    if running is None:
        return Job(work, start=False).wait()
    try:
        nest_asyncio2.apply(running)
    except ValueError:  # not an asyncio loop, uvloop for example
        work.close()
        raise
    result: T = running.run_until_complete(work)
    return result


def _forget_loop() -> None:
    """Drop the parent's loop in a forked child, which does not have the thread that runs it."""
    global _loop, _lock
    _loops_of_parent.append(_loop)  # kept alive: collecting it would warn, and close what the parent still uses
    _loop, _lock = None, threading.Lock()


on_fork(_forget_loop)
