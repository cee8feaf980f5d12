"""Line of a cell while an answer is silent: the seconds of silence, or the seconds until the request is sent again."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ...events import RawResponse
from ..progress import SILENCE, read_wait

_TICK = 1.0  # seconds


class Silence:
    """Seconds since visible text of one answer last arrived."""

    def __init__(self) -> None:
        self._heard = time.monotonic()
        self._again: tuple[str, float] | None = None  # why the request is sent again, and when

    def hear(self, event: RawResponse) -> None:
        """Note that something visible has arrived: the silence begins anew."""
        self._heard = time.monotonic()
        wait = read_wait(event) if event.type == "progress" else None
        self._again = None if wait is None else (wait[0], self._heard + wait[1])

    @property
    def retry_line(self) -> str:
        """Why the request is sent again, and in how many seconds; "" if it is not, or if that was just shown."""
        now = time.monotonic()
        if self._again is None or now - self._heard < _TICK / 2:
            return ""
        reason, at = self._again
        return f"{reason}; asking again{f' in {math.ceil(at - now)} s' if at > now else ''}"

    @property
    def waiting_line(self) -> str:
        """The seconds of silence as text; "" during the first five."""
        since = max(self._heard, self._again[1] if self._again is not None else 0.0)
        seconds = int(time.monotonic() - since)
        return f"still waiting, {seconds} s" if seconds >= SILENCE else ""


@contextmanager
def ticking(tick: Callable[[], None]) -> Iterator[None]:
    """Call ``tick`` each second, on the running loop."""
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle | None = None

    def call() -> None:
        nonlocal timer
        timer = loop.call_later(_TICK, call)
        tick()

    timer = loop.call_later(_TICK, call)
    try:
        yield
    finally:
        timer.cancel()
