"""The time until the first word is in the cell: `python tests/bench/first_token.py`.

In a real kernel on the embedded backend, from when the front end sends the cell: cold (a new kernel, no backend
running, the weights on disk) and warm. Compared in the same run with a bare aiohttp POST to the same server.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "kernel"))

from driver import Kernel
from jupyter_client.manager import start_new_kernel

RUNS = 5
CELL = "%%backend\nSay hello."
BARE = """
import time
import aiohttp
from nb_backend.local.process import ensure_running

async def bare():
    where = await ensure_running()
    body = {"model": "", "messages": [{"role": "user", "content": "Say hello."}], "media": None, "api_key": None}
    headers = {"Authorization": f"Bearer {where.token}"}
    begun = time.monotonic()
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.post(where.url + "/backend-api/v2/conversation", json=body) as response:
            async for chunk in response.content.iter_any():
                if b"event: content" in chunk:
                    return time.monotonic() - begun

await bare()
"""


def first_text(kernel: Kernel) -> float:
    """Return the seconds from sending the cell to the first display with text of the answer."""
    begun = time.monotonic()
    seen: list[float] = []

    def look(message: dict) -> None:
        if "display" in message["msg_type"] and message["content"]["data"].get("text/plain") and not seen:
            seen.append(time.monotonic() - begun)

    assert kernel.run(CELL, look).error is None
    return seen[0]


def main() -> None:
    """Measure and print the table."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("NB_BACKEND", "G4F"))}
    cold, warm, bare = [], [], []
    for _ in range(RUNS):
        manager, client = start_new_kernel(kernel_name="python3", env=env)
        kernel = Kernel(manager, client)
        kernel.run("%load_ext nb_backend")
        cold.append(first_text(kernel))
        for _ in range(RUNS):
            warm.append(first_text(kernel))
            bare.append(float(kernel.run(BARE).result or "nan"))
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    print(f"{'first text in the cell':30}{'min':>8}{'median':>8}{'max':>8}  seconds")
    for name, times in (("cold start", cold), ("warm", warm), ("warm, bare aiohttp POST", bare)):
        print(f"{name:30}{min(times):8.3f}{statistics.median(times):8.3f}{max(times):8.3f}")
    print(f"\nwarm / bare: {statistics.median(warm) / statistics.median(bare):.2f}")


if __name__ == "__main__":
    main()
