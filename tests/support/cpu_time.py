"""The CPU time that code takes, measured or limited, however busy the machine is."""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of a call on this thread, without garbage collection: other tests may have left much."""
    collects = gc.isenabled()
    gc.disable()
    started = time.thread_time()
    try:
        work()
        return time.thread_time() - started
    finally:
        if collects:
            gc.enable()


def is_linear(work: Callable[[int], object], size: int) -> bool:
    """Whether four times the size takes less than nine times as long, in one of three trials; quadratic is sixteen."""
    return any(cpu_seconds(lambda: work(4 * size)) < 9 * max(cpu_seconds(lambda: work(size)), 0.02) for _ in range(3))


@contextmanager
def cpu_time(most: float) -> Iterator[None]:
    """Fail the test as soon as the block has taken ``most`` seconds of CPU time."""

    def fail(*_: object) -> None:
        pytest.fail(f"it takes more than {most} seconds")

    before = signal.signal(signal.SIGVTALRM, fail)
    signal.setitimer(signal.ITIMER_VIRTUAL, most)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
