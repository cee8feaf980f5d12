"""After a finish reason or an error the answer ends within ``FINISH_SECONDS``, whatever the connection does."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from wire_server import CHUNKED, FINISH, UNTIL_CLOSE, chunk, content, sse

from nb_backend import BackendApi, Chat, OpenAIApi, ServerError
from nb_backend.providers import base
from nb_backend.providers.chunk_reader import ChunkReader
from nb_backend.providers.reader import ResponseReader
from nb_backend.transport.pool import Pool

MESSAGES = [{"role": "user", "content": "Hi?"}]
USAGE = {"type": "usage", "usage": {"completion_tokens": 7}}
OF_OPENAI = [
    {"model": "m", "choices": [{"index": 0, "delta": {"content": "fine"}}]},
    {"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
]
RESPONSE = {"output": [{"type": "message", "content": [{"type": "output_text", "text": "fine"}]}]}
MESSAGE = {"type": "message", "content": [{"type": "text", "text": "fine"}], "stop_reason": "end_turn"}
OF_ANTHROPIC = [
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "fine"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
]
OPENAI_USAGE = {"model": "m", "choices": [], "usage": {"completion_tokens": 7}}


def lines(*events: object) -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events)


BODIES = {"g4f": sse(content("fine"), FINISH), "OpenAI": lines(*OF_OPENAI)}
USAGES = {"g4f": sse(USAGE), "OpenAI": lines(OPENAI_USAGE)}


@pytest.fixture(params=["g4f", "OpenAI"])
def dialect(request, wire_server, monkeypatch):
    """A dialect, whose server is asked; an answer that does not end by itself would time out after a minute."""
    kind, path = (BackendApi, "") if request.param == "g4f" else (OpenAIApi, "/v1")
    monkeypatch.setattr(kind, "idle_timeout", 60)
    monkeypatch.setattr(base, "FINISH_SECONDS", 0.2)
    monkeypatch.setenv("NB_BACKEND_URL", wire_server.url + path)
    return request.param


@pytest.mark.parametrize("head", [CHUNKED, UNTIL_CLOSE], ids=["chunked", "until close"])
@pytest.mark.parametrize(
    "drip",
    [b"", b": keepalive\n\n", b"\n", b"\n\n\n", b"data: \n\n", b"usage", b'{"type": "content", "content": ""}\n', b"{"],
    ids=["silent", "comments", "line ends", "blank lines", "empty data", "usage", "empty text", "half a line"],
)
async def test_it_ends_though_the_server_stays(wire_server, dialect, head, drip):
    drip = USAGES[dialect] if drip == b"usage" else drip
    framed = [chunk(piece) if head == CHUNKED else piece for piece in (BODIES[dialect], drip)]
    drops = [framed[1], 0.01] * 1000 if drip else []
    wire_server.answer(head + framed[0], *drops, end="stall")
    async with asyncio.timeout(30):
        answer = await Chat("m").ask("Hi?")
    assert (answer.text, answer.finish_reason) == ("fine", "stop")
    if not drip:
        assert await asyncio.to_thread(wire_server.left.acquire, timeout=10)


@pytest.mark.parametrize("end", [b"", b"\n"])
async def test_it_ends_though_the_last_line_end_is_missing(wire_server, dialect, end):
    wire_server.answer(UNTIL_CLOSE + BODIES[dialect].rstrip() + end, end="stall")
    answer = await Chat("m").ask("Hi?")
    assert (answer.text, answer.finish_reason) == ("fine", "stop")
    assert await asyncio.to_thread(wire_server.left.acquire, timeout=10)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("", b'{"type": "content", "content": "fine"}\n{"type": "finish", "finish": {"reason": "stop"}}'),
        ("/v1", lines(OF_OPENAI[0]) + b"data: [DONE]"),
        ("/v1", json.dumps({"choices": [{"message": {"content": "fine"}, "finish_reason": "stop"}]}).encode()),
        ("/v1/responses", b"data: %s" % json.dumps({"type": "response.completed", "response": RESPONSE}).encode()),
        ("/v1/messages", lines(*OF_ANTHROPIC).rstrip()),
        ("/v1/messages", json.dumps(MESSAGE).encode()),
    ],
    ids=["JSON lines", "end mark", "not streamed", "responses", "a message", "a message, not streamed"],
)
async def test_it_ends_without_a_line_end(wire_server, monkeypatch, path, body):
    monkeypatch.setattr(base, "FINISH_SECONDS", 0.2)
    wire_server.answer(UNTIL_CLOSE + body, end="stall")
    async with asyncio.timeout(30):
        assert (await Chat("m", url=wire_server.url + path).ask("Hi?")).text == "fine"


async def test_usage_that_comes_in_time_counts(wire_server, dialect, monkeypatch):
    monkeypatch.setattr(base, "FINISH_SECONDS", 30)
    wire_server.answer(UNTIL_CLOSE + BODIES[dialect], seen := threading.Event(), USAGES[dialect])
    stream = Chat("m").stream("Hi?")
    async for event in stream:
        if event.type == "finish":
            seen.set()
    assert stream.answer.tokens == 7


async def test_text_that_comes_after_the_finish_is_not_cut_off(wire_server, dialect, monkeypatch):
    monkeypatch.setattr(base, "FINISH_SECONDS", 1)
    more = BODIES[dialect].replace(b"fine", b" and more")
    wire_server.answer(UNTIL_CLOSE + BODIES[dialect], *[0.3, more] * 4)
    assert (await Chat("m").ask("Hi?")).text == "fine" + " and more" * 4


@pytest.mark.parametrize("text", [b"", b"Half"])
async def test_an_error_ends_it_too(wire_server, dialect, text):
    error = {"type": "error", "error": {"message": "out of memory", "code": "oom"}}
    said = sse(content(text.decode()), error) if dialect == "g4f" else lines(OF_OPENAI[0], error).replace(b"fine", text)
    wire_server.answer(CHUNKED + chunk(said), end="stall")
    with pytest.raises(ServerError, match="out of memory") as caught:
        await Chat("m").ask("Hi?")
    assert caught.value.partial == text.decode()
    assert await asyncio.to_thread(wire_server.left.acquire, timeout=10)


async def test_the_connection_is_not_used_again(wire_server, dialect):
    for _ in range(2):
        wire_server.answer(CHUNKED + chunk(BODIES[dialect]), end="stall")
    async with Pool():
        for _ in range(2):
            assert (await Chat("m").ask("Hi?")).text == "fine"
    assert len(wire_server.requests) == 2
    assert wire_server.left.acquire(timeout=10)


@pytest.mark.parametrize(
    ("reader", "pieces", "endings"),
    [
        (ResponseReader, [sse(content("a"))], [0]),
        (ResponseReader, [sse(content("a"), FINISH), sse(USAGE), b":\n\n", sse(FINISH)], [1, 1, 1, 1]),
        (ResponseReader, [sse(FINISH), sse(content("")), sse(content("b")), sse(USAGE)], [1, 1, 2, 2]),
        (ResponseReader, [sse(FINISH), sse({"type": "reasoning", "token": "b"}), sse({"type": "log"})], [1, 2, 2]),
        (ResponseReader, [b'data: {"type": "content", "content": "say [DONE]', b" and }", b" go on"], [0, 0, 0]),
        (ResponseReader, [b'data: {"type": "content", "content": "{\\"finish\\": 1}', b" and }", b" go on"], [0, 0, 0]),
        (ResponseReader, [b"event: error\n", b'data: {"error": "x"}', b"\n", b"\n"], [0, 1, 1, 2]),
        (ChunkReader, [lines(OF_OPENAI[1]), lines(OPENAI_USAGE), lines(OF_OPENAI[0])], [1, 1, 2]),
    ],
)
def test_only_more_of_the_answer_extends_the_time(reader, pieces, endings):
    reading = reader("http://server")
    found = []
    for piece in pieces:
        reading.feed(piece)
        found.append(reading.endings)
    assert found == endings


def test_the_time_is_two_seconds():
    assert base.FINISH_SECONDS == 2
