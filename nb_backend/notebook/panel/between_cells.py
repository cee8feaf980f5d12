"""Run the user's code where it is safe: on the kernel's main thread, while no cell runs.

Messages of a page arrive on other threads (on a subshell of ipykernel 7.4, or they are posted to the background loop),
and a cell that awaits lets the main thread do other work in the middle of the cell.
"""

from __future__ import annotations

import _thread
import asyncio
import signal
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from ...background import raised_interrupts
from ..prompt.interpolate import describe_error
from .comm import kernel_of

T = TypeVar("T")
ONLY_IN_CELLS = "this kernel runs code only in cells: ask with %%backend"
_by_shell: WeakKeyDictionary[Any, BetweenCells] = WeakKeyDictionary()


class Interrupted(ValueError):
    """The user has interrupted the function."""


class BetweenCells:
    """Runs functions on the main thread of a kernel while no cell runs, in the order in which they were given."""

    def __init__(self, shell: Any) -> None:
        self._loop = getattr(kernel_of(shell), "io_loop", None)
        self._running: list[object] = []  # cells; one may run another
        self._at_work: Future[Any] | None = None
        self._lock = threading.Lock()  # for _at_work: an interrupt must not reach what runs next
        self._waiting: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        if shell is not None:
            shell.events.register("pre_run_cell", self._begin)
            shell.events.register("post_run_cell", self._end)

    @classmethod
    def of(cls, shell: Any) -> BetweenCells:
        """Return the runner of this shell. It notices the cells that run from now on."""
        if shell is None:
            return cls(None)
        if shell not in _by_shell:
            _by_shell[shell] = cls(shell)
        return _by_shell[shell]

    @property
    def is_available(self) -> bool:
        """Whether this kernel can run code between cells."""
        return self._loop is not None

    @property
    def is_busy(self) -> bool:
        """Whether a cell is running."""
        return bool(self._running)

    async def run(self, work: Callable[[], T]) -> T:
        """Run a function once no cell runs, and return its result. An interrupt of it is ``Interrupted``.

        A cancellation ends the wait at once, and interrupts the function if it runs.
        """
        if self._loop is None:
            raise ValueError(ONLY_IN_CELLS)
        future: Future[T] = Future()
        self._waiting.append((work, future))
        self._loop.add_callback(self._run_waiting)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            self._interrupt(future)
            raise

    def _interrupt(self, future: Future[Any]) -> None:
        with self._lock:
            if self._at_work is future:
                _interrupt_main_thread()

    def _run_waiting(self) -> None:
        while self._waiting and not self._running:
            work, future = self._waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                with raised_interrupts():
                    try:
                        self._at_work = future
                        result = work()
                    finally:
                        with self._lock:
                            self._at_work = None
            except KeyboardInterrupt:
                future.set_exception(Interrupted("stopped; nothing was sent"))
            except BaseException as error:  # it belongs to whoever waits, and not to the kernel's loop
                # a cancellation, or a panic of Rust code, would end the task that waits without a reply to the page
                future.set_exception(error if isinstance(error, Exception) else ValueError(describe_error(error)))
            else:
                future.set_result(result)

    def _begin(self, info: object) -> None:
        self._running.append(info)

    def _end(self, result: Any) -> None:
        info = getattr(result, "info", None)  # an interrupted cell has no result
        self._running = [] if info is None else [one for one in self._running if one is not info]
        if self._waiting and not self._running and self._loop is not None:
            self._loop.add_callback(self._run_waiting)


def _interrupt_main_thread() -> None:
    """Interrupt the main thread as ■ does, also while it sleeps or waits for input and output."""
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, signal.SIGINT)
    else:
        _thread.interrupt_main()
