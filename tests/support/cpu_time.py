"""The time that code takes of this process's CPU, and a bound on it, whatever else the machine does."""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest


def cpu_seconds(work: Callable[[], object]) -> float:
    """Do some work and give its time on this thread, without looking for garbage: other tests may have left much."""
    collects = gc.isenabled()
    gc.disable()
    started = time.thread_time()
    try:
        work()
        return time.thread_time() - started
    finally:
        if collects:
            gc.enable()


@contextmanager
def cpu_time(most: float) -> Iterator[None]:
    """Fail a test when this takes so many seconds of the process's CPU, without waiting for its end."""

    def fail(*_: object) -> None:
        pytest.fail(f"it takes more than {most} seconds")

    before = signal.signal(signal.SIGVTALRM, fail)
    signal.setitimer(signal.ITIMER_VIRTUAL, most)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
