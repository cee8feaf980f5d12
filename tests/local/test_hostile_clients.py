"""Slow clients and hostile clients, which send raw bytes on a real socket."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web
from local_support import QUESTION, TOKEN, serving
from wait import PATIENCE, until

from nb_backend.local import app
from nb_backend.local.engine import Body, Event
from nb_backend.local.scripted import ScriptedEngine

PATH = "/backend-api/v2/conversation"
KEY = {"Authorization": f"Bearer {TOKEN}"}
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
VERSION = f"GET /backend-api/v2/version HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
BODY = json.dumps(QUESTION).encode()

pytestmark = pytest.mark.usefixtures("_nothing_goes_wrong_unseen")


def asking(body: bytes, head: bytes = HEAD) -> bytes:
    """Return a whole request."""
    return head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine("hi")


@pytest.fixture
async def url(engine: ScriptedEngine) -> AsyncIterator[str]:
    async with serving(engine, lingering_time=0.1) as url:
        yield url


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
        yield reader, writer
        writer.transport.abort()


async def everything(reader: asyncio.StreamReader) -> bytes:
    """Read until the server closes or resets the connection."""
    received = b""
    with suppress(ConnectionError):
        while piece := await reader.read(65536):
            received += piece
    return received


def refused(received: bytes) -> bool:
    return re.match(rb"HTTP/(?:0\.9|1\.[01]) 4\d\d ", received) is not None


async def answers(url: str) -> None:
    """Check that the server still answers."""
    async with connected(url) as (reader, writer):
        writer.write(asking(BODY))
        assert b'"content": "hi"' in await everything(reader)


# --- slow clients


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GE", b"GET / HTTP/1.1\r\nHost: local", VERSION[:-2]], ids=repr)
async def test_a_client_that_sends_no_request_is_disconnected(engine, monkeypatch, sent):
    monkeypatch.setattr(app, "HEAD_TIMEOUT", 0.1)
    async with serving(engine) as url, connected(url) as (reader, writer):
        writer.write(sent)
        assert await everything(reader) == b""


async def test_a_head_that_comes_byte_by_byte_is_disconnected(engine, monkeypatch):
    monkeypatch.setattr(app, "HEAD_TIMEOUT", 0.1)
    async with serving(engine) as url, connected(url) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        ended = asyncio.create_task(everything(reader))
        with suppress(ConnectionError):
            while not ended.done():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)  # the pace of the client
        assert await ended == b""


@pytest.mark.parametrize("head", [HEAD, HEAD.replace(b"Authorization", b"X")], ids=["known", "stranger"])
async def test_a_body_that_does_not_come_is_a_408(engine, url, monkeypatch, head):
    monkeypatch.setattr(app, "BODY_TIMEOUT", 0.1)
    async with connected(url) as (reader, writer):
        writer.write(asking(BODY, head)[:-1])
        received = await everything(reader)
    assert received.startswith(b"HTTP/1.1 408")
    assert b"not complete after 0.1 seconds" in received
    assert engine.history == []


async def test_a_client_that_does_not_read_is_disconnected_and_the_engine_is_free(engine, url, monkeypatch):
    monkeypatch.setattr(app, "WRITE_TIMEOUT", 0.1)
    engine.enqueue(*["x" * 100_000] * 1000)
    async with connected(url) as (reader, writer):
        writer.write(asking(BODY))
        await until(lambda: engine.stopped == 1)
        assert not (await everything(reader)).endswith(b"0\r\n\r\n")


class Filling:
    """An engine whose answer fills the buffers up to the client, and a little of the server's own."""

    name, vision, limit = "filling", None, None

    def __init__(self) -> None:
        self.filled = lambda: False

    async def stream(self, body: Body) -> AsyncIterator[Event]:
        while not self.filled():
            yield {"type": "content", "content": "x" * 1000}


async def test_a_client_that_does_not_read_the_end_is_disconnected(monkeypatch):
    monkeypatch.setattr(app, "WRITE_TIMEOUT", 0.1)
    filling = Filling()
    runner = app.create_runner(app.create_app(filling, token=TOKEN), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server = runner.server
    assert server is not None
    filling.filled = lambda: server.connections[0].transport.get_write_buffer_size() > 0
    async with connected(f":{runner.addresses[0][1]}") as (_, writer):
        writer.write(asking(BODY))
        await until(lambda: bool(server.connections))
        await until(lambda: not server.connections)
    await runner.cleanup()


async def test_idle_connections_keep_nobody_out(engine, url):
    port = int(url.rsplit(":", 1)[1])
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
    await answers(url)
    for _, writer in idle:
        writer.transport.abort()


async def test_unauthenticated_bodies_are_read_a_few_at_a_time_and_do_not_delay_others(engine, monkeypatch):
    monkeypatch.setattr(app, "UNAUTHENTICATED_LIMIT", 1)

    def asked(text: str) -> bytes:
        return json.dumps({"messages": [{"role": "user", "content": text}], "api_key": TOKEN}).encode()

    stranger = HEAD.replace(b"Authorization", b"X")
    async with (
        serving(engine) as url,
        connected(url) as (first_answer, first),
        connected(url) as (second_answer, second),
        connected(url) as (known_answer, known),
    ):
        first.write(asking(asked("first"), stranger)[:-1])
        await first.drain()
        await answers(url)  # by now the body of the first client is being read
        second.write(asking(asked("second"), stranger))
        await second.drain()
        known.write(asking(asked("known")))
        await everything(known_answer)
        first.write(b"}")
        await everything(first_answer)
        await everything(second_answer)
    assert [body["messages"][0]["content"] for body in engine.history] == ["Say hi", "known", "first", "second"]


# --- hostile clients


async def test_a_connection_has_one_request(engine, url):
    for requests in (VERSION * 5, VERSION + asking(BODY), VERSION * 10_000):
        async with connected(url) as (reader, writer):
            writer.write(requests)
            received = await everything(reader)
        assert received.count(b"HTTP/1.1 ") == 1
        assert b"Connection: close" in received
    assert engine.history == []


CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)


@pytest.mark.parametrize(
    "request_",
    [
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"Content-Length: 0\r\nContent-Length: 300\r\n\r\n",
        b"Content-Length: 0, 300\r\n\r\n",
        b"Content-Length: +3\r\n\r\n{}\n",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 0x3\r\n\r\n{}\n",
        b"Content-Length: 99999999999999999999999999\r\n\r\n",
        b"Content-Length : 0\r\n\r\n",
        b"Transfer-Encoding: identity\r\n\r\n",
        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKED,
        b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0;" + b"x" * 100_000 + b"\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
        b"X: a\r\n folded\r\n\r\n",
        b"X: a\rContent-Length: 0\r\n\r\n",
        b"X\0: a\r\n\r\n",
        b"\r\n",
    ],
    ids=repr,
)
async def test_nothing_is_smuggled_behind_another_request(engine, url, request_):
    async with connected(url) as (reader, writer):
        writer.write(HEAD + request_ + asking(json.dumps({**QUESTION, "smuggled": 1}).encode()))
        received = await everything(reader)
    assert refused(received), received
    assert len(re.findall(rb"HTTP/1\.[01] \d", received)) == 1
    assert engine.history == []


@pytest.mark.parametrize(
    "bytes_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        bytes(100_000),
        b"\xff" * 100_000,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n",
        b"GET http://localhost:99999999/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET //[ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /%ff%00%0d%0a HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: evil.example\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
    ],
    ids=lambda bytes_: repr(bytes_[:24]),
)
async def test_bytes_that_are_not_http_are_refused_and_not_logged(engine, url, bytes_):
    async with connected(url) as (reader, writer):
        writer.write(bytes_)
        writer.write_eof()
        received = await everything(reader)
    assert received == b"" or refused(received)
    assert b"Traceback" not in received
    await answers(url)


@pytest.mark.parametrize(
    "method", ["OPTIONS", "TRACE", "CONNECT", "HEAD", "PUT", "DELETE", "PATCH", "PROPFIND", "QUERY"]
)
async def test_other_methods_do_nothing_and_say_nothing(engine, url, method):
    for path in (PATH, "/backend-api/v2/version", "*", "/"):
        async with connected(url) as (reader, writer):
            head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-Secret: echo\r\nAuthorization: Bearer {TOKEN}\r\n"
            writer.write(asking(BODY, head.encode()))
            received = await everything(reader)
        assert refused(received)
        assert b"echo" not in received
        assert TOKEN.encode() not in received
    assert engine.history == []


async def test_no_upgrade(engine, url):
    upgrades = (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
    )
    for upgrade in upgrades:
        async with connected(url) as (reader, writer):
            writer.write(VERSION[:-2] + upgrade + b"\r\n\r\n" + asking(BODY))
            received = await everything(reader)
        assert received.startswith(b"HTTP/1.1 200")
        assert received.count(b"HTTP/1.1 ") == 1
    assert engine.history == []


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity, gzip"])
async def test_nothing_is_decompressed(engine, url, encoding):
    bomb = {"gzip": gzip.compress, "deflate": zlib.compress}.get(encoding, gzip.compress)(BODY + b" " * 50_000_000)
    async with connected(url) as (reader, writer):
        writer.write(asking(bomb, HEAD + f"Content-Encoding: {encoding}\r\n".encode()))
        received = await everything(reader)
    assert received.startswith(b"HTTP/1.1 415")
    assert b"does not accept compressed requests" in received
    assert engine.history == []


async def test_a_body_without_a_declared_length_is_limited_too(engine, monkeypatch):
    monkeypatch.setattr(app, "BODY_LIMIT", 1 << 20)
    async with serving(engine, lingering_time=0.1) as url, connected(url) as (reader, writer):
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        ended = asyncio.create_task(everything(reader))
        with suppress(ConnectionError):
            while not ended.done():
                writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")  # forever
                await writer.drain()
        assert (await ended).startswith(b"HTTP/1.1 413")
    assert engine.history == []
