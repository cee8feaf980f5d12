"""The time that nb_backend adds before the first token: `python tests/bench/added_latency.py`.

Warm, over loopback, from the call to the first text, in turns with a bare aiohttp POST to the same server.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

import aiohttp
from bodies import body_of
from measuring import child, read_request, until_stdin_ends, verdict

from nb_backend import BackendApi, Chat

ROUNDS = 200


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a request at once."""
    await read_request(reader)
    body = body_of("server-sent events", 2)
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
    writer.close()


async def bare(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.post(url, json={"messages": []}) as response:
        assert await response.content.readany()


async def provider(url: str) -> None:
    api = type("Api", (BackendApi,), {"url": url})
    async for event in api.create_async_generator("m", [{"role": "user", "content": "Hi"}]):
        assert event.type == "content"
        return


async def chat(url: str) -> None:
    async for event in Chat("m", url=url).stream("Hi"):
        assert event.type == "content"
        return


async def main(url: str) -> None:
    """Measure and print the table."""
    found: dict[str, list[float]] = {}
    ways: dict[str, Callable[[str], Awaitable[None]]] = {
        "bare aiohttp POST": bare, "BackendApi": provider, "Chat.stream": chat,
    }  # fmt: skip
    for number in range(ROUNDS + 5):
        for name, ask in ways.items():
            begun = time.perf_counter()
            await ask(url)
            if number >= 5:
                found.setdefault(name, []).append(1000 * (time.perf_counter() - begun))
    print("## Time to the first token, warm\n")
    print("| | median ms | more than bare, median ms |\n| --- | ---: | ---: |")
    more = {
        name: statistics.median(one - other for one, other in zip(times, found["bare aiohttp POST"], strict=True))
        for name, times in found.items()
    }
    for name, times in found.items():
        print(f"| {name} | {statistics.median(times):.2f} | {more[name]:.2f} |")
    print()
    verdict("at most 2 ms more at the median", max(more.values()) <= 2)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        until_stdin_ends(serve)
    else:
        with child(__file__, "serve") as address:
            asyncio.run(main(address))
