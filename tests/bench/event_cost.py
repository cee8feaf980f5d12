"""CPU for one event of an answer: `python tests/bench/event_cost.py`.

20,000 events over loopback from a server in another process, in both framings of g4f and in each dialect of a cloud.
Compared with aiohttp that only reads, with aiohttp and orjson, and with the clients of openai, anthropic, google-genai,
LiteLLM and g4f, each in an environment of its own.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import aiohttp
import orjson
from bodies import body_of
from measuring import (
    WORD,
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

from nb_backend.providers.registry import provider_named

COUNT = 20_000
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
RESPONSES = """
import openai
client = openai.AsyncOpenAI(base_url=url + "/v1", api_key="x")
async def ask():
    async for event in await client.responses.create(model="gpt-5.4", input="Hi", stream=True, store=False):
        yield event.delta if event.type == "response.output_text.delta" else ""
"""
ANTHROPIC = """
import anthropic
client = anthropic.AsyncAnthropic(base_url=url, api_key="x")
async def ask():
    stream = await client.messages.create(
        model="claude-sonnet-5", max_tokens=8192, messages=[{"role": "user", "content": "Hi"}], stream=True)
    async for event in stream:
        yield event.delta.text if event.type == "content_block_delta" else ""
"""
GENAI = """
from google import genai
client = genai.Client(api_key="x", http_options={"base_url": url})
async def ask():
    async for chunk in await client.aio.models.generate_content_stream(model="gemini-3-flash", contents="Hi"):
        yield chunk.text or ""
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


@dataclass
class Peer:
    """Another client: its package, the code that asks with it, and how many times faster ours has to be."""

    package: str
    code: str
    times: float | None = None


@dataclass
class Framing:
    """How the events arrive: the dialect that reads them, the path of its url, and the clients that read them, too."""

    dialect: str
    path: str = ""
    peers: dict[str, Peer] = field(default_factory=dict)

    def provider(self, url: str) -> Any:
        found = provider_named(self.dialect)
        return type(found.__name__, (found,), {"url": url + self.path})


FRAMINGS = {
    "server-sent events": Framing("g4f"),
    "JSON lines": Framing("g4f", peers={"g4f's BackendApi": Peer("g4f", G4F, 2)}),
    "OpenAI chunks": Framing(
        "openai-chat", "/v1", {"openai": Peer("openai", OPENAI, 50), "LiteLLM": Peer("litellm", LITELLM)}
    ),
    "Responses events": Framing("openai-responses", "/v1", {"openai": Peer("openai", RESPONSES, 2)}),
    "Anthropic events": Framing("anthropic", "/v1", {"anthropic": Peer("anthropic", ANTHROPIC, 2)}),
    "Gemini chunks": Framing("gemini", "/v1beta", {"google-genai": Peer("google-genai", GENAI, 2)}),
}


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
    assert count >= COUNT


async def ours(framing: Framing, url: str) -> None:
    provider = framing.provider(url)
    texts = [str(event) async for event in provider.create_async_generator("m", [{"role": "user", "content": "Hi"}])]
    assert len("".join(texts)) == len(WORD) * COUNT


async def ours_unread(framing: Framing, url: str) -> None:
    provider = framing.provider(url)
    async for _ in provider.create_async_generator("m", [{"role": "user", "content": "Hi"}]):
        pass


def microseconds(work: Callable[[str], Coroutine[Any, Any, None]], url: str) -> float:
    begun = time.process_time()
    asyncio.run(work(url))
    return 1e6 * (time.process_time() - begun) / COUNT


def main() -> None:
    """Measure and print the tables."""
    print("## CPU for an event, provider to `RawResponse`\n")
    for name, framing in FRAMINGS.items():
        with child(__file__, name) as url:
            measure(name, framing, url)


def measure(name: str, framing: Framing, url: str) -> None:
    """Measure one framing and print its table."""
    asyncio.run(ours(framing, url))
    mine = f"nb_backend's {provider_named(framing.dialect).__name__}"
    contenders: dict[str, Callable[[], float]] = {
        "aiohttp + orjson": partial(microseconds, read_and_decode, url),
        "aiohttp, the bytes alone": partial(microseconds, read, url),
        mine: partial(microseconds, partial(ours_unread, framing), url),
    }
    print(f"### {name}\n")
    for client, peer_ in framing.peers.items():
        try:
            python = peer(peer_.package)
            ask = partial(in_process, PEER.format(setup=peer_.code), url, str(COUNT), python=python or "")
            ask()
            contenders[client] = ask
        except Exception as error:  # if one client cannot be installed, the others are still measured
            print(f"{client} was not measured: {' '.join(str(error).split())[:200]}\n")
    found = rounds(contenders, 5)
    table(found, "aiohttp + orjson", "µs")
    verdict("at most 1.6 times aiohttp + orjson", ratio(found, mine, "aiohttp + orjson") <= 1.6)
    for client, peer_ in framing.peers.items():
        if client in found and peer_.times:
            is_met = ratio(found, client, mine) >= peer_.times
            verdict(f"at least {peer_.times} times faster than {client}", is_met)
    print(flush=True)


if __name__ == "__main__":
    until_stdin_ends(partial(serve, sys.argv[1])) if len(sys.argv) > 1 else main()
