"""A bound on the time that code takes, whatever else the machine does."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


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
