"""500 streams at once in one process: `python tests/bench/many_streams.py`.

50 tokens a second each, for five seconds, from a server in another process; compared with bare aiohttp tasks that read,
split and decode the same. Each runs in a process of its own; measured are its CPU time and its peak memory.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from functools import partial

import aiohttp
import orjson
from bodies import body_of
from measuring import HERE, WORD, child, in_process, ratio, read_request, rounds, until_stdin_ends, verdict

from nb_backend import BackendApi

STREAMS, RATE, SECONDS = 500, 50, 5
RUN = "import asyncio, sys, many_streams; asyncio.run(many_streams.run(*sys.argv[1:]))"
_writers: list[asyncio.StreamWriter] = []


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Wait until all clients are connected, then write an event to each at every tick."""
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
    _writers.append(writer)
    if len(_writers) < STREAMS:
        return
    writers = _writers.copy()
    _writers.clear()
    body = body_of("server-sent events", 1)
    event, finish = body[: body.index(b"event: finish")], body[body.index(b"event: finish") :]
    for _ in range(RATE * SECONDS):
        for one in writers:
            one.write(event)
        await asyncio.sleep(1 / RATE)
    for one in writers:
        one.write(finish)
        one.close()


async def bare(url: str) -> int:
    async def read() -> int:
        rest, text = b"", ""
        async with session.post(url, json={}) as response:
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.startswith(b"data: {"):
                        text += orjson.loads(line[6:]).get("content", "")
        return len(text)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        return sum(await asyncio.gather(*(read() for _ in range(STREAMS))))


async def ours(url: str) -> int:
    api = type("Api", (BackendApi,), {"url": url})

    async def read() -> int:
        texts = [str(event) async for event in api.create_async_generator("m", [{"role": "user", "content": "Hi"}])]
        return len("".join(texts))

    return sum(await asyncio.gather(*(read() for _ in range(STREAMS))))


def held() -> float:
    """Return the resident memory of this process in MB."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096 / 1e6


async def run(way: str, url: str) -> None:
    """Print the CPU seconds, the peak memory in MB and the length of all texts."""
    before, most = held(), [0.0]

    async def watch() -> None:
        while True:
            most[0] = max(most[0], held())
            await asyncio.sleep(0.25)

    watching = asyncio.create_task(watch())
    begun = time.process_time()
    text = await {"bare": bare, "ours": ours}[way](url)
    spent = time.process_time() - begun
    watching.cancel()
    print(json.dumps([spent, most[0] - before, text]))


def main() -> None:
    """Measure and print the table."""
    memory: dict[str, list[float]] = {"bare": [], "ours": []}
    complete = []

    def measure(way: str, url: str) -> float:
        spent, grown, text = in_process(RUN, way, url)
        memory[way].append(grown)
        complete.append(text == len(WORD) * STREAMS * RATE * SECONDS)
        return float(spent)

    with child(__file__, "serve") as url:
        found = rounds({way: partial(measure, way, url) for way in memory}, 3)
    print(f"## {STREAMS} streams at once, {RATE} tokens a second each, for {SECONDS} s\n")
    print("| | median CPU, s | ratio | memory, MB |\n| --- | ---: | ---: | ---: |")
    for way, name in (("bare", "bare aiohttp + orjson"), ("ours", "BackendApi")):
        times = f"{statistics.median(found[way]):.2f} | {ratio(found, way, 'bare'):.2f}"
        print(f"| {name} | {times} | {statistics.median(memory[way]):.0f} |")
    print()
    verdict(f"all {len(complete)} runs complete, no text lost", all(complete))
    verdict("at most 1.6 times the CPU", ratio(found, "ours", "bare") <= 1.6)
    verdict("at most 100 MB", max(memory["ours"]) <= 100)


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    until_stdin_ends(serve) if len(sys.argv) > 1 else main()
