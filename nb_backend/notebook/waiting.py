"""How a cell waits for a stream, which runs on the background loop.

At the top level of a kernel's cell, the cell awaits the stream, so the kernel handles widgets and messages meanwhile.
Anywhere else the thread that runs the cell blocks (``background.run``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from ..background import Job

T = TypeVar("T")


async def await_in_cell(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the background loop, await it in a kernel's cell, and return its result.

    ipykernel turns an interrupt into a cancellation. It cancels the coroutine, which keeps the text received so far,
    and is then raised as ``KeyboardInterrupt``.
    """
    try:
        return await Job(work).wait_async()
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
