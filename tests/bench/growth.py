"""How the CPU time grows with the work: `python tests/bench/growth.py`.

The slope on logarithmic scales: 1 means twice the cost for twice the work. Measured against the events of an answer,
the length of an answer that is painted into a cell ten times a second, the turns before a prompt, and the streams at
once.
"""

from __future__ import annotations

import asyncio
import gc
import math
import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from live_cell import pieces_of
from measuring import verdict

from nb_backend import Chat
from nb_backend.chat.answer import Answer
from nb_backend.events import RawResponse
from nb_backend.notebook.cell.notebook_view import CellView
from nb_backend.providers.reader import ResponseReader

EVENT = b'event: content\ndata: {"type": "content", "content": "word "}\n\n'


def read(count: int) -> None:
    reading, piece = ResponseReader("http://localhost"), EVENT * 100
    for _ in range(count // 100):
        reading.feed(piece)
    reading.end(whole=True)
    reading.error(None)


def paint(kilobytes: int) -> None:
    view = CellView(SimpleNamespace(display_pub=SimpleNamespace(publish=lambda **_: None)))  # type: ignore[arg-type]
    view._paint_soon = lambda: None  # type: ignore[method-assign]
    answer = Answer()
    for number, piece in enumerate(pieces_of(kilobytes)):
        event = RawResponse(type="content", content=piece)
        answer.add(event)
        view.update(event, answer)
        if number % 10 == 9:
            view._paint()
    view.finish(answer, False)


def remember(turns: int) -> None:
    chat = Chat("m", url="http://localhost:9")
    chat.messages = [
        {"role": role, "content": f"turn {turn}"} for turn in range(turns) for role in ("user", "assistant")
    ]
    for _ in range(20):
        chat.request("And now?")


def streams(count: int) -> None:
    async def one() -> None:
        reading = ResponseReader("http://localhost")
        for _ in range(50):
            reading.feed(EVENT)
            await asyncio.sleep(0)

    async def all_of_them() -> None:
        await asyncio.gather(*(one() for _ in range(count)))

    asyncio.run(all_of_them())


WORKS: dict[str, tuple[Callable[[int], None], list[int]]] = {
    "events of an answer": (read, [2_000, 8_000, 32_000, 128_000]),
    "kB of an answer in a cell": (paint, [10, 20, 40, 80, 160]),
    "turns before a question": (remember, [50, 200, 800]),
    "streams at once": (streams, [25, 100, 400]),
}


def seconds(work: Callable[[int], None], size: int) -> float:
    gc.collect()
    begun = time.process_time()
    work(size)
    return time.process_time() - begun


def slope(points: list[tuple[float, float]]) -> float:
    """Return the slope of the line that fits the points best on logarithmic scales (least squares)."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    x0, y0 = (statistics.mean(values) for values in zip(*logs, strict=True))
    return sum((x - x0) * (y - y0) for x, y in logs) / sum((x - x0) ** 2 for x, _ in logs)


def main() -> None:
    """Measure and print the table."""
    print("## Cost as work grows\n\n| against | from, to | CPU, ms | slope |\n| --- | --- | --- | ---: |")
    slopes: dict[str, float] = {}
    for name, (work, sizes) in WORKS.items():
        work(sizes[0])
        taken: dict[int, list[float]] = {size: [] for size in sizes}
        for _ in range(5):
            for size in sizes:
                taken[size].append(seconds(work, size))
        points: list[Any] = [(size, min(times)) for size, times in taken.items()]
        slopes[name] = slope(points)
        spent = ", ".join(f"{1000 * least:.1f}" for _, least in points)
        print(f"| {name} | {sizes[0]:,} to {sizes[-1]:,} | {spent} | {slopes[name]:.2f} |")
    print()
    for name, found in slopes.items():
        verdict(f"{name}: slope at most 1.05", found <= 1.05)


if __name__ == "__main__":
    main()
