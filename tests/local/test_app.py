"""The HTTP application of the embedded backend, on a real socket, with a scripted engine."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path

import aiohttp
import pytest
from local_support import QUESTION, TOKEN, events_of, serving
from wait import PATIENCE, until

import nb_backend
from nb_backend.local import app
from nb_backend.local.scripted import ScriptedEngine

API = "/backend-api/v2"
KEY = {"Authorization": f"Bearer {TOKEN}"}

pytestmark = pytest.mark.usefixtures("_nothing_goes_wrong_unseen")


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


async def ask(client: aiohttp.ClientSession, body: object = QUESTION) -> str:
    data = io.BytesIO(json.dumps(body).encode())
    async with client.post(f"{API}/conversation", data=data) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        return await response.text()


# --- answers


async def test_an_answer_is_byte_for_byte_what_g4f_would_send(engine, client):
    engine.enqueue("Hel", "lo ", "wörld ", "🙂")
    captured = (Path(__file__).parents[1] / "wire" / "g4f-8.8-answer.http").read_bytes()
    answer = await ask(client)
    for block in answer.split("\n\n")[1:5]:
        assert block.startswith("event: content")
        assert block.encode() + b"\n\n" in captured
    assert 'event: finish\ndata: {"type": "finish", "finish": {"reason": "stop"}}\n\n' in answer
    assert events_of(answer) == [
        {
            "type": "provider",
            "provider": {"name": "scripted", "url": None, "label": "scripted, on this machine", "model": "scripted"},
        },
        *({"type": "content", "content": text} for text in ("Hel", "lo ", "wörld ", "🙂")),
        {"type": "finish", "finish": {"reason": "stop"}},
        {
            "type": "usage",
            "usage": {"prompt_tokens": 2, "completion_tokens": 4, "total_tokens": 6},
            "model": "scripted",
            "provider": "scripted",
        },
    ]


async def test_an_empty_queue_echoes_the_prompt_and_every_body_is_kept(engine, client):
    body = {**QUESTION, "media": [["data:image/png;base64," + "A" * 5_000_000, "big.png"]], "api_key": "k", "seed": 7}
    text, described = " Two\n\n words  and more ", "of an unknown type, 3,750,000 bytes"
    body["messages"] = [{"role": "user", "content": "x"}, {"role": "user", "content": [{"type": "text", "text": text}]}]
    events = events_of(await ask(client, body))
    answer = "".join(event["content"] for event in events if event["type"] == "content")
    assert answer == f"{text}\n\n- big.png: {described}\n"
    assert engine.history == [body]
    assert engine.stopped == 0


async def test_every_kind_of_step(engine, client):
    thought = {"type": "reasoning", "token": "Hm"}
    engine.enqueue(thought, 0, 0.001, b"data: half", b" a line\n\n", {"type": "finish", "finish": {"reason": "length"}})
    answer = await ask(client)
    assert "data: half a line\n\n" in answer
    assert answer.count("event: finish") == 1
    assert json.dumps(thought) in answer


@pytest.mark.parametrize(
    ("step", "last"),
    [
        (RuntimeError("it\nbroke"), {"type": "error", "error": "RuntimeError", "message": "it broke"}),
        (ConnectionResetError(), {"type": "error", "error": "ConnectionResetError", "message": "ConnectionResetError"}),
        ({"type": "error", "error": "X", "message": "y"}, {"type": "error", "error": "X", "message": "y"}),
    ],
)
async def test_a_failure_is_the_last_event(engine, client, step, last):
    engine.enqueue("so far", step)
    events = events_of(await ask(client))
    assert [event["type"] for event in events] == ["provider", "content", "error"]
    assert events[-1] == last


async def test_every_event_is_sent_at_once(engine, client):
    engine.enqueue("first", ...)
    async with asyncio.timeout(PATIENCE), client.post(f"{API}/conversation", json=QUESTION) as response:
        while b"first" not in await response.content.readline():
            pass


async def test_many_conversations_at_once(engine, client):
    for _ in range(20):
        engine.enqueue(...)
    waiting = [asyncio.create_task(ask(client)) for _ in range(20)]
    await until(lambda: len(engine.history) == 20)
    engine.enqueue("still here")
    assert "still here" in await ask(client)
    for task in waiting:
        task.cancel()
    await until(lambda: engine.stopped == 20)


async def test_a_quiet_connection_is_kept_alive_by_comments(engine, client, monkeypatch):
    monkeypatch.setattr(app, "_KEEPALIVE_AFTER", 0.1)
    engine.enqueue("first", ...)
    async with asyncio.timeout(PATIENCE), client.post(f"{API}/conversation", json=QUESTION) as response:
        while not (await response.content.readline()).startswith(b":"):
            pass


# --- clients that leave


@pytest.mark.parametrize("handler_cancellation", [False, True])
@pytest.mark.parametrize(
    "steps", [(...,), (3600.0, "late"), ("word ",) * 100_000 + (...,)], ids=["wait", "sleep", "write"]
)
async def test_a_client_that_leaves_stops_the_answer(engine, steps, handler_cancellation):
    async with serving(engine, handler_cancellation=handler_cancellation) as url:
        for count in range(1, 4):
            engine.enqueue(*steps)
            async with aiohttp.ClientSession(url, headers=KEY) as client:
                response = await client.post(f"{API}/conversation", json=QUESTION)
                await until(lambda count=count: len(engine.history) == count)
                response.close()
            await until(lambda count=count: engine.stopped == count)


async def test_a_client_that_stops_reading_and_leaves_stops_the_answer(engine):
    engine.enqueue(*["x" * 100_000] * 1000)
    async with serving(engine) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
        body = json.dumps({**QUESTION, "api_key": TOKEN}).encode()
        writer.write(b"POST /backend-api/v2/conversation HTTP/1.1\r\nHost: localhost\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.transport.abort()
        await until(lambda: engine.stopped == 1)


async def test_an_answer_read_to_its_end_is_not_stopped(engine, client):
    for _ in range(5):
        await ask(client)
    assert engine.stopped == 0
    assert len(engine.history) == 5


# --- who may ask


@pytest.mark.parametrize("route", ["conversation", "models", "models/scripted", "providers", "version", "nothing"])
@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer "}, {"x-api-key": "wröng"}, {"Cookie": TOKEN}],
    ids=["none", "bearer", "empty", "api-key", "cookie"],
)
async def test_requests_without_the_token_are_refused(engine, route, headers):
    async with serving(engine) as url, aiohttp.ClientSession(url, headers=headers) as client:
        method = "POST" if route == "conversation" else "GET"
        for body in (b"{", b"[]", json.dumps({**QUESTION, "api_key": "wrong"}).encode(), b'{"api_key": {}}'):
            async with client.request(method, f"{API}/{route}", data=body) as response:
                assert response.status == 401
                assert "token" in (await response.json())["error"]["message"]
    assert engine.history == []


@pytest.mark.parametrize("headers", [KEY, {"x-api-key": TOKEN}, {**KEY, "x-api-key": "of another server"}])
async def test_the_token_in_a_header_opens_every_route(engine, headers):
    async with serving(engine) as url, aiohttp.ClientSession(url, headers=headers) as client:
        assert "hi" in await ask(client, {**QUESTION, "api_key": "a cloud's key"})
        async with client.get(f"{API}/version") as response:
            assert response.status == 200


async def test_the_token_in_the_body_opens_the_conversation_only(engine):
    async with serving(engine) as url, aiohttp.ClientSession(url) as client:
        assert "hi" in await ask(client, {**QUESTION, "api_key": TOKEN})
        async with client.get(f"{API}/version", json={"api_key": TOKEN}) as response:
            assert response.status == 401


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "a@localhost", "", "0.0.0.0", "[::1]"])
async def test_another_host_is_refused(client, host):
    async with client.get(f"{API}/version", headers={"Host": host}) as response:
        assert response.status == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:65535"])
async def test_this_host_is_accepted(client, host):
    async with client.get(f"{API}/version", headers={"Host": host}) as response:
        assert response.status == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:8888", ""])
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST"])
async def test_requests_of_web_pages_are_refused(engine, client, origin, method):
    async with client.request(method, f"{API}/conversation", headers={"Origin": origin}, json=QUESTION) as response:
        assert response.status == 403
        assert "Access-Control-Allow-Origin" not in response.headers
    assert engine.history == []


# --- bad requests


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        "{}",
        '{"messages": []}',
        '{"messages": "hi"}',
        '{"messages": ["hi"]}',
        '{"messages": [{"content": "hi"}]}',
        '{"messages": [{"role": "user", "content": 5}]}',
        '{"messages": [{"role": "user", "content": ["hi"]}]}',
        '{"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]}',
        b'{"messages": [{"role": "user", "content": "\xff"}]}',
    ],
    ids=str,
)
async def test_a_bad_body_is_refused_in_one_line(engine, client, body):
    async with client.post(f"{API}/conversation", data=body) as response:
        assert response.status == 400
        message = (await response.json())["error"]["message"]
        assert message
        assert "\n" not in message
    assert engine.history == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", f"{API}/nothing", 404),
        ("GET", f"{API}/models/other", 404),
        ("GET", f"{API}/conversation", 405),
        ("POST", f"{API}/version", 405),
        ("HEAD", f"{API}/version", 405),
    ],
)
async def test_unknown_paths_and_methods_are_refused(client, method, path, status):
    async with client.request(method, path) as response:
        assert response.status == status
        if method != "HEAD":
            assert (await response.json())["error"]["message"]
        if status == 405:
            assert response.headers["Allow"]


async def test_a_body_beyond_the_limit_is_refused(engine, client, monkeypatch):
    monkeypatch.setattr(app, "BODY_LIMIT", 1 << 20)
    async with (
        serving(engine) as url,
        aiohttp.ClientSession(url, headers=KEY) as small,
        small.post(f"{API}/conversation", data=io.BytesIO(b" " * (1 << 20) + b"  ")) as response,
    ):
        assert response.status == 413
        assert "1 MB" in (await response.json())["error"]["message"]
    assert engine.history == []


# --- the other routes


async def test_models_providers_version(client):
    async with client.get(f"{API}/models") as response:
        assert await response.json() == {"scripted": ["scripted"]}
    abilities = {"vision": None, "image": False, "audio": False}
    described = {"label": "scripted, on this machine", **abilities}
    async with client.get(f"{API}/models/scripted") as response:
        assert await response.json() == [{"id": "scripted", "default": True, "tags": [], **described}]
    async with client.get(f"{API}/providers") as response:
        assert await response.json() == [{"name": "scripted", "auth": False, **described}]
    async with client.get(f"{API}/version") as response:
        assert await response.json() == {"version": nb_backend.__version__, "latest_version": nb_backend.__version__}


async def test_a_name_with_odd_characters(engine):
    engine.name = "my model/v1 é?"
    async with (
        serving(engine) as url,
        aiohttp.ClientSession(url, headers=KEY) as client,
        client.get(f"{API}/models/my%20model%2Fv1%20%C3%A9%3F") as response,
    ):
        assert (await response.json())[0]["id"] == engine.name
