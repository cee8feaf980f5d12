"""Work on the background loop for a panel, in a context that belongs to no cell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from ... import background, debug, settings
from .error_text import error_line

_tasks: set[asyncio.Task[Any]] = set()  # the loop itself has only weak references to them


def post(work: Callable[..., object], *args: Any) -> None:
    """Call a function on the loop soon. Any thread may call this."""
    background.loop().call_soon_threadsafe(work, *args, context=Context())


def call_later(seconds: float, work: Callable[[], object]) -> asyncio.TimerHandle:
    """Call a function after some seconds. Only code on the loop may call this."""
    return asyncio.get_running_loop().call_later(seconds, work, context=Context())


def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run a coroutine in the background and log its exception. Only code on the loop may call this."""
    task = asyncio.get_running_loop().create_task(work, context=Context())
    _tasks.add(task)
    task.add_done_callback(_finish)
    return task


def _finish(task: asyncio.Task[Any]) -> None:
    _tasks.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        debug.warn(f"the panel failed: {type(error).__name__}: {error_line(error, settings.known_keys())}")
