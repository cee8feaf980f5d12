"""The embedded backend: `python tests/bench/embedded.py`.

First, the time from a fresh process to the first token, with the weights on disk. Then, tokens per second with one
client and with four at once, in turns with llama.cpp's own HTTP server (the one in xllamacpp) on the same file, with
the same threads and parameters, read by bare aiohttp.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import sys
import time
from functools import partial
from typing import Any

import aiohttp
import orjson
from measuring import HERE, child, in_process, ratio, rounds, table, verdict

from nb_backend import BackendApi
from nb_backend.local import llama, weights

TOKENS, KEY = 200, "a-key-for-this-run"
COLD = """
import asyncio, json, time
from nb_backend import Chat
async def main():
    begun = time.perf_counter()
    async for event in Chat().stream("Say hello."):
        if event.type == "content":
            return time.perf_counter() - begun
print(json.dumps(asyncio.run(main())))
"""
ASK = {"messages": [{"role": "user", "content": "Write a long story."}], "max_tokens": TOKENS, "temperature": 0}


def serve() -> None:
    """Run llama.cpp's own server until stdin ends."""
    import xllamacpp

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    params = llama._parameters(xllamacpp.CommonParams(), weights.path(), llama.PARALLEL)
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], port, [KEY]
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


async def llama_cpp(url: str) -> int:
    """Ask llama.cpp's server, and return the number of tokens."""
    count = 0
    body = {**ASK, "stream": True, "stream_options": {"include_usage": True}}
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as session,
        session.post(f"{url}/v1/chat/completions", json=body) as response,
    ):
        async for line in response.content:
            if line.startswith(b"data: {"):
                count = (orjson.loads(line[6:]).get("usage") or {}).get("completion_tokens", count)
    return count


async def embedded() -> int:
    """Ask the embedded backend, and return the number of tokens."""
    options: dict[str, Any] = {key: value for key, value in ASK.items() if key != "messages"}
    async for event in BackendApi.create_async_generator("", ASK["messages"], **options):  # type: ignore[arg-type]
        if event.type == "usage":
            return int(event.usage["completion_tokens"])
    return 0


def speed(ask: Any, clients: int) -> float:
    """Return the tokens per second of ``clients`` requests at once."""

    async def ask_all() -> list[int]:
        return await asyncio.gather(*(one() for one in [ask] * clients))

    begun = time.perf_counter()
    tokens = asyncio.run(ask_all())
    return sum(tokens) / (time.perf_counter() - begun)


def main() -> None:
    """Measure and print the tables."""
    print("## The embedded backend\n")
    cold = [in_process(COLD) for _ in range(5)]
    print(f"Cold start to the first token, s: {', '.join(f'{one:.2f}' for one in cold)}\n")
    verdict("at most 2.5 s at the median", statistics.median(cold) <= 2.5)
    with child(__file__, "serve") as url:
        for clients in (1, 4):
            work: dict[str, Any] = {
                "llama.cpp's own server": partial(speed, partial(llama_cpp, url), clients),
                "nb_backend": partial(speed, embedded, clients),
            }
            found = rounds(work, 4)
            print(f"\n### {clients} client{'s at once' if clients > 1 else ''}: tokens a second\n")
            table(found, "llama.cpp's own server", "tokens/s")
            verdict(
                "at least 97 % of its tokens a second", ratio(found, "nb_backend", "llama.cpp's own server") >= 0.97
            )


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    serve() if len(sys.argv) > 1 else main()
