"""CPU for one event of an answer: `python tests/bench/event_cost.py`.

20,000 events over loopback from a server in another process, in both framings of g4f and as OpenAI chunks. Compared
with aiohttp that only reads, with aiohttp and orjson, and with the clients of openai, LiteLLM and g4f, each in an
environment of its own.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import aiohttp
import orjson
from measuring import (
    WORD,
    body_of,
    child,
    in_process,
    peer,
    ratio,
    read_request,
    rounds,
    table,
    until_stdin_ends,
    verdict,
)

from nb_backend import BackendApi, OpenAIApi

COUNT = 20_000
FRAMINGS = {"server-sent events": BackendApi, "JSON lines": BackendApi, "OpenAI chunks": OpenAIApi}
PEER = """
import asyncio, json, sys, time
url, count = sys.argv[1], int(sys.argv[2])
{setup}
async def main():
    for _ in range(2):
        begun, text = time.process_time(), 0
        async for piece in ask():
            text += len(piece)
        spent = time.process_time() - begun
    assert text == 5 * count, text
    print(json.dumps(1e6 * spent / count))
asyncio.run(main())
"""
OPENAI = """
import openai
client = openai.AsyncOpenAI(base_url=url + "/v1", api_key="x")
async def ask():
    stream = await client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "Hi"}], stream=True)
    async for chunk in stream:
        yield chunk.choices[0].delta.content or ""
"""
LITELLM = """
import litellm
async def ask():
    stream = await litellm.acompletion(model="openai/gpt-4o", api_base=url + "/v1", api_key="x", stream=True,
        messages=[{"role": "user", "content": "Hi"}])
    async for chunk in stream:
        yield chunk.choices[0].delta.content or ""
"""
G4F = """
from g4f.Provider.template.BackendApi import BackendApi
class Api(BackendApi):
    pass
Api.url = url
async def ask():
    async for chunk in Api.create_async_generator("gpt-4o", [{"role": "user", "content": "Hi"}]):
        yield chunk.content if chunk.type == "content" else ""
"""


async def serve(framing: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request with all events."""
    body = body_of(framing, COUNT)
    kind = "application/x-ndjson" if framing == "JSON lines" else "text/event-stream"
    await read_request(reader)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    writer.close()


async def read(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.post(url, json={}) as response:
        async for _ in response.content.iter_any():
            pass


async def read_and_decode(url: str) -> None:
    rest, count = b"", 0
    async with aiohttp.ClientSession() as session, session.post(url, json={}) as response:
        async for chunk in response.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.startswith(b"data: {"):
                    orjson.loads(line[6:])
                    count += 1
                elif line.startswith(b"{"):
                    orjson.loads(line)
                    count += 1
    assert count == COUNT + 1


async def ours(api: type[BackendApi] | type[OpenAIApi], url: str) -> None:
    provider = type(api.__name__, (api,), {"url": url + ("/v1" if api is OpenAIApi else "")})
    texts = [str(event) async for event in provider.create_async_generator("m", [{"role": "user", "content": "Hi"}])]
    assert len("".join(texts)) == len(WORD) * COUNT


async def ours_unread(api: type[BackendApi] | type[OpenAIApi], url: str) -> None:
    provider = type(api.__name__, (api,), {"url": url + ("/v1" if api is OpenAIApi else "")})
    async for _ in provider.create_async_generator("m", [{"role": "user", "content": "Hi"}]):
        pass


def microseconds(work: Callable[[str], Coroutine[Any, Any, None]], url: str) -> float:
    begun = time.process_time()
    asyncio.run(work(url))
    return 1e6 * (time.process_time() - begun) / COUNT


def main() -> None:
    """Measure and print the tables."""
    print("## CPU for an event, provider to `RawResponse`\n")
    for framing, api in FRAMINGS.items():
        with child(__file__, framing) as url:
            asyncio.run(ours(api, url))
            contenders: dict[str, Callable[[], float]] = {
                "aiohttp + orjson": partial(microseconds, read_and_decode, url),
                "aiohttp, the bytes alone": partial(microseconds, read, url),
                f"nb_backend's {api.__name__}": partial(microseconds, partial(ours_unread, api), url),
            }
            peers = {"openai": (OPENAI, "openai"), "LiteLLM": (LITELLM, "litellm")} if api is OpenAIApi else {}
            if framing == "JSON lines":
                peers = {"g4f's BackendApi": (G4F, "g4f")}
            print(f"### {framing}\n")
            for name, (setup, package) in peers.items():
                try:
                    python = peer(package)
                    measure = partial(in_process, PEER.format(setup=setup), url, str(COUNT), python=python or "")
                    measure()
                    contenders[name] = measure
                except Exception as error:  # if one client cannot be installed, the others are still measured
                    print(f"{name} was not measured: {' '.join(str(error).split())[:200]}\n")
            found = rounds(contenders, 5)
            table(found, "aiohttp + orjson", "µs")
            mine = f"nb_backend's {api.__name__}"
            verdict("at most 1.6 times aiohttp + orjson", ratio(found, mine, "aiohttp + orjson") <= 1.6)
            for name, least in (("g4f's BackendApi", 2), ("openai", 50)):
                if name in found:
                    verdict(f"at least {least} times faster than {name}", ratio(found, name, mine) >= least)
            print(flush=True)


if __name__ == "__main__":
    until_stdin_ends(partial(serve, sys.argv[1])) if len(sys.argv) > 1 else main()
