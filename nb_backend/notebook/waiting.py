"""How synchronous and asynchronous meet in a cell.

Every stream runs on the background loop. At the top level of a kernel's cell the cell awaits it, so that widgets and
messages are handled meanwhile; anywhere else the thread that runs the cell waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from ..background import Job

T = TypeVar("T")
_HEARTBEAT = 0.1  # seconds; ipykernel's handler of an interrupt does not wake an idle loop


async def await_in_cell(work: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine that runs on the background loop, from a cell of a kernel.

    An interrupt, which ipykernel turns into a cancellation, cancels the work, lets it keep its text, and is then
    raised as the ``KeyboardInterrupt`` it was.
    """
    job = Job(work)
    ended = asyncio.wrap_future(job.future)
    beat = _Heartbeat()
    try:
        await asyncio.wait([ended])
    except asyncio.CancelledError:
        job.cancel()
        await asyncio.wait([ended])
        ended.exception()
        raise KeyboardInterrupt from None
    finally:
        beat.stop()
    return ended.result()


class _Heartbeat:
    """Wakes the running loop ten times a second."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._beat()

    def stop(self) -> None:
        self._next.cancel()

    def _beat(self) -> None:
        self._next = self._loop.call_later(_HEARTBEAT, self._beat)
