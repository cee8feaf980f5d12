"""How something is done on the background loop for a panel: in a context that belongs to no cell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from ... import background, debug, settings
from .error_text import error_line

_tasks: set[asyncio.Task[Any]] = set()  # the loop itself holds them weakly


def post(work: Callable[..., object], *args: Any) -> None:
    """Have something done on the loop, from any thread."""
    background.loop().call_soon_threadsafe(work, *args, context=Context())


def call_later(seconds: float, work: Callable[[], object]) -> asyncio.TimerHandle:
    """Have something done later; from the loop."""
    return asyncio.get_running_loop().call_later(seconds, work, context=Context())


def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run a coroutine, from the loop; what it raises is logged, as nobody waits for it."""
    task = asyncio.get_running_loop().create_task(work, context=Context())
    _tasks.add(task)
    task.add_done_callback(_settle)
    return task


def _settle(task: asyncio.Task[Any]) -> None:
    _tasks.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        debug.warn(f"the panel failed: {type(error).__name__}: {error_line(error, settings.known_keys())}")
