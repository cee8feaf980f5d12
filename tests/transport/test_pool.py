"""What concurrent calls share in a pool: connections, and the waits that a server asks for."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from serving import TOKEN, serving
from wire_server import FINISH, LAST_CHUNK, WireServer, chunk, content, sse

from nb_backend import BackendApi, OpenAIApi, RateLimitError
from nb_backend.local.scripted import ScriptedEngine
from nb_backend.transport import connection
from nb_backend.transport.pool import Pool, current_pool

MESSAGES = [{"role": "user", "content": "Hi"}]
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def opened(monkeypatch):
    """The connections that were opened."""
    made = []
    create = connection.Connector._create_connection

    async def note(self, *args, **options):
        made.append(await create(self, *args, **options))
        return made[-1]

    monkeypatch.setattr(connection.Connector, "_create_connection", note)
    return made


async def ask(api, text="Hi") -> str:
    messages = [{"role": "user", "content": text}]
    return "".join([str(event) async for event in api.create_async_generator("m", messages, api_key=TOKEN)])


def api_for(url: str):
    return type("Api", (OpenAIApi if url.endswith("/v1") else BackendApi,), {"url": url, "idle_timeout": 5})


# -- connections


async def test_a_connection_is_reused_for_the_next_call(opened):
    with serving(ScriptedEngine(), "/v1") as server:
        async with Pool():
            for number in range(5):
                assert await ask(api_for(server.url), f"q {number}") == f"q {number}"
        assert len(opened) == 1
        for _ in range(2):
            await ask(api_for(server.url))
        assert len(opened) == 3


async def test_concurrent_calls_have_a_connection_each(opened):
    with serving(ScriptedEngine("a ", 0.05, "b"), "/v1") as server:
        async with Pool():
            for _ in range(3):
                assert await asyncio.gather(*(ask(api_for(server.url)) for _ in range(4))) == ["a b"] * 4
        assert len(opened) == 4


@pytest.mark.parametrize("way", ["closed", "left", "failed"])
async def test_a_connection_that_was_not_read_to_its_end_is_closed(opened, way):
    engine = ScriptedEngine()
    with serving(engine, "/v1") as server:
        async with Pool():
            await ask(api_for(server.url))
            engine.enqueue("Half", ... if way != "failed" else RuntimeError("boom"))
            answer = api_for(server.url).create_async_generator("m", MESSAGES, api_key=TOKEN)
            if way == "failed":
                with pytest.raises(Exception, match=r"boom|broke|failed"):
                    async for _ in answer:
                        pass
            else:
                async for event in answer:
                    if str(event):
                        break
                if way == "closed":
                    await answer.aclose()
                else:
                    task = asyncio.ensure_future(anext(answer))
                    await asyncio.sleep(0)
                    task.cancel()
                    await asyncio.wait([task])
            assert await ask(api_for(server.url)) == "Hi"
        assert len(opened) == 2
    assert all(protocol.transport is None or protocol.transport.is_closing() for protocol in opened)


@pytest.mark.parametrize("unasked", [sse(content("of nobody")), b"no HTTP"])
async def test_a_connection_that_received_unrequested_bytes_is_closed(opened, unasked):
    is_time = asyncio.Event()

    async def answer(reader, writer):
        await reader.readuntil(b"}]")
        writer.write(HEAD + chunk(sse(content("Hi"), FINISH)) + LAST_CHUNK)
        await is_time.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(unasked) + unasked)
        await reader.read()  # until the client closes
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server, Pool():
        api = api_for(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        assert await ask(api) == "Hi"
        is_time.set()
        for _ in range(1000):
            if opened[0].should_close:
                break
            await asyncio.sleep(0.01)
        assert await ask(api) == "Hi"
        assert len(opened) == 2
        assert not opened[0].is_connected()


async def test_all_connections_are_closed_when_the_pool_ends(opened):
    with serving(ScriptedEngine(), "/v1") as server:
        before = asyncio.all_tasks()
        async with Pool():
            await asyncio.gather(*(ask(api_for(server.url)) for _ in range(10)))
        assert asyncio.all_tasks() == before
        assert current_pool.get() is None
    assert all(protocol.transport is None or protocol.transport.is_closing() for protocol in opened)


async def test_a_connection_is_not_shared_between_keys(opened):
    with serving(ScriptedEngine(), "/v1") as server:
        async with Pool():
            await ask(api_for(server.url))
            with pytest.raises(Exception, match="401"):
                async for _ in api_for(server.url).create_async_generator("m", MESSAGES, api_key="another-key-123"):
                    pass
        assert len(opened) == 2


class Closing:
    """A server that closes a kept connection when the second prompt arrives on it, and answers on the next one."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.questions = 0
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        for answers in (1, 2):
            client, _ = self.listener.accept()
            with client:
                for number in range(2):
                    data = b""
                    while b'"messages"' not in data:
                        data += client.recv(65536)
                    self.questions += 1
                    if number == answers:
                        break
                    client.sendall(HEAD + chunk(sse(content(f"answer {self.questions}"), FINISH)) + LAST_CHUNK)


async def test_a_connection_that_the_server_closed_meanwhile_is_replaced(delays):
    server = Closing()
    async with Pool():
        assert await ask(api_for(server.url)) == "answer 1"
        assert await ask(api_for(server.url)) == "answer 3"
    assert delays == []
    server.listener.close()


# -- waits


@asynccontextmanager
async def limited(most: int, **headers: str) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that takes a number of calls at once and refuses the rest, and how many it had at each call."""
    active = []
    seen = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(len(active))
        if len(active) >= most:
            raise web.HTTPTooManyRequests(headers=headers)
        active.append(request)
        try:
            await request.read()
            await asyncio.sleep(0.01)
            return web.Response(body=sse(content("ok"), FINISH))
        finally:
            active.remove(request)

    app = web.Application()
    app.router.add_post("/backend-api/v2/conversation", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", seen
    await runner.cleanup()


async def test_more_calls_than_the_server_takes_at_once_are_all_answered():
    async with limited(3, **{"retry-after-ms": "20"}) as (url, seen), Pool():
        answers = await asyncio.gather(*(ask(api_for(url)) for _ in range(100)))
    assert answers == ["ok"] * 100
    assert len(seen) < 400  # without the pool each call would be retried many times


async def test_one_refusal_delays_all_calls():
    pool = Pool()
    for _ in range(8):
        await pool.acquire()
    pool.back_off(0.2)
    started = time.monotonic()
    for _ in range(8):
        pool.release(answered=False)
    await asyncio.gather(*(pool.acquire() for _ in range(4)))
    assert time.monotonic() - started >= 0.2
    waiting = asyncio.ensure_future(pool.acquire())  # the limit is halved
    for _ in range(10):
        await asyncio.sleep(0)
    assert not waiting.done()
    pool.release(answered=True)
    await waiting


async def test_the_limit_is_halved_once_for_each_wait_and_is_at_least_one():
    pool = Pool()
    for _ in range(8):
        await pool.acquire()
    for _ in range(5):
        pool.back_off(10)
    assert pool._limit == 4
    for _ in range(10):
        pool._paused_until = 0
        pool.back_off(10)
    assert pool._limit == 1


async def test_answers_raise_the_limit():
    pool = Pool()
    for _ in range(4):
        await pool.acquire()
    pool.back_off(0)
    for _ in range(4):
        pool.release(answered=False)
    assert pool._limit == 2
    for _ in range(40):
        await pool.acquire()
        pool.release(answered=True)
    assert 4 < pool._limit < 5


async def test_a_server_that_only_refuses_is_given_up(wire_server, delays):
    wire_server.answer(b"HTTP/1.1 429 Busy\r\nretry-after-ms: 1\r\nContent-Length: 0\r\n\r\n")
    async with Pool():
        with pytest.raises(RateLimitError):
            await ask(api_for(wire_server.url))
    assert len(wire_server.requests) == Pool.max_retries + 2  # the first refusal is not counted


async def test_a_cancelled_wait_leaves_nothing_behind(wire_server: WireServer):
    wire_server.answer(b"HTTP/1.1 429 Busy\r\nRetry-After: 50\r\nContent-Length: 0\r\n\r\n")
    async with Pool() as pool:
        tasks = [asyncio.ensure_future(ask(api_for(wire_server.url))) for _ in range(3)]
        while pool._paused_until == 0 or pool._active:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert pool._active == 0
        assert all(task.cancelled() for task in tasks)
