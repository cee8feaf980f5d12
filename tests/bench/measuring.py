"""Shared by the measurements: alternating rounds, tables, servers, other clients, and clean processes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "support"))
ROUNDS = 7
WORD = "word "


def rounds(contenders: dict[str, Callable[[], float]], count: int = ROUNDS) -> dict[str, list[float]]:
    """Measure the contenders in turn, ``count`` times, after a warm-up round.

    They alternate because the speed of the machine changes over time.
    """
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(count + 1):
        for name, measure in contenders.items():
            value = measure()
            if number:
                found[name].append(value)
    return found


def ratio(found: dict[str, list[float]], name: str, base: str) -> float:
    """Return the median of the ratios within each round."""
    return statistics.median(one / other for one, other in zip(found[name], found[base], strict=True))


def table(found: dict[str, list[float]], base: str, unit: str) -> None:
    """Print each median, and its ratio to ``base``."""
    print(f"| | median {unit} | ratio |\n| --- | ---: | ---: |")
    for name, values in found.items():
        print(f"| {name} | {statistics.median(values):,.2f} | {ratio(found, name, base):.2f} |")
    print()


def verdict(what: str, met: bool) -> None:
    """Print whether a goal was met."""
    print(f"- {what}: {'met' if met else '**not met**'}")


@contextmanager
def child(*arguments: str) -> Iterator[str]:
    """Run a server script in another process, and yield its url, the first line that it prints."""
    with subprocess.Popen(
        [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(30)


def in_process(code: str, *arguments: str, python: str = sys.executable, env: dict[str, str] | None = None) -> Any:
    """Run code in a fresh process, and return the JSON of the last line that it prints."""
    done = subprocess.run(
        [python, "-c", code, *arguments],
        capture_output=True, text=True, timeout=600, env={**os.environ, **(env or {}), "PYTHONPATH": str(HERE)},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "it failed")
    return json.loads(done.stdout.strip().splitlines()[-1])


def peer(*packages: str) -> str | None:
    """Return the Python of an environment with these packages, made once; ``None`` if they cannot be installed."""
    import platformdirs

    name = re.sub(r"[^\w.-]+", "-", "-".join([*packages, f"{sys.version_info.minor}"]))
    home = platformdirs.user_cache_path("nb_backend") / "bench" / name
    python = home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not (home / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        installed = subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], capture_output=True)
        if installed.returncode:
            return None
        (home / "done").touch()
    return str(python)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Read a request with a length or in chunks, and return its head."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), None)
    if length is not None:
        await reader.readexactly(length)
    elif b"chunked" in head.lower():
        await reader.readuntil(b"0\r\n\r\n")
    return head


def until_stdin_ends(serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> None:
    """Serve on a free port until stdin ends; print the url first."""

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**26)
        print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        os._exit(0)

    asyncio.run(main())
