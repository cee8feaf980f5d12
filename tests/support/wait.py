"""Wait for what another thread, process or server brings about."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PATIENCE = 60  # seconds; a machine with much else to do takes its time


def eventually(condition: Callable[[], object]) -> None:
    """Wait on this thread until the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.01)


async def until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds, while the loop goes on."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  another process, or a server, makes it so
            await asyncio.sleep(0.01)
