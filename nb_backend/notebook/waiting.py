"""How a cell waits for a stream, which runs on the background loop.

At the top level of a kernel's cell, the cell awaits the stream, so the kernel handles widgets and messages meanwhile.
Anywhere else the thread that runs the cell blocks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

from ..background import Job, run

T = TypeVar("T")
Wait: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]
"""``await_in_cell`` or ``block_cell``."""


async def await_in_cell(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the background loop, await it in a kernel's cell, and return its result.

    ipykernel turns an interrupt into a cancellation. It cancels the coroutine, which keeps the text received so far,
    and is then raised as ``KeyboardInterrupt``.
    """
    try:
        return await Job(work, start=False).wait_async()
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def block_cell(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the background loop, block this thread until it ends, and return its result."""
    return run(work)


def run_without_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that awaits nothing but ``block_cell``; this works inside a running loop too."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    raise RuntimeError("the coroutine has awaited something other than block_cell")
