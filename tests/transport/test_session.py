"""The HTTP client on real sockets: it loses nothing, never hangs, and sends nothing to another server."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from wait import until
from wire_server import CHUNKED, LAST_CHUNK, OK, UNTIL_CLOSE, WireServer, chunk, chunks_of, post, received, status

from nb_backend.errors import AuthError, BackendError, ConnectionFailed, ProtocolError, ServerError, TimedOut
from nb_backend.transport import response as response_module
from nb_backend.transport import session as session_module
from nb_backend.transport.json_body import encode_json
from nb_backend.transport.response import StreamResponse
from nb_backend.transport.session import StreamSession


async def ended(server: WireServer) -> None:
    assert await asyncio.to_thread(server.ended.acquire, timeout=10)


def is_paused(response: StreamResponse) -> bool:
    """Whether aiohttp has paused reading, so that the server has to wait."""
    connection = response._response.connection
    return connection is not None and not connection.transport.is_reading()


LINES = [b"line %d" % number for number in range(1000)]
BODY = b"\n".join(LINES)
LONG = OK + b"X: " + b"x" * 100_000 + b"\r\n\r\n"


# -- completeness


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("pieces", [[UNTIL_CLOSE + BODY], [UNTIL_CLOSE, BODY], [CHUNKED + chunk(BODY)]])
async def test_every_byte_arrives_however_the_connection_ends(wire_server, pieces, end):
    wire_server.answer(*pieces, end=end)
    got, error = await post(wire_server)
    assert got == BODY
    broken = end == "reset" or pieces[0].startswith(CHUNKED)
    assert isinstance(error, ConnectionFailed) if broken else error is None


@pytest.mark.parametrize("bad", [b"zz\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n", b"no chunk at all"])
@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"])
async def test_text_in_one_chunk_with_the_head_and_bad_http_arrives(wire_server, bad, interim):
    wire_server.answer(interim + CHUNKED + chunk(BODY) + chunk(b"end") + bad, end="stall")
    got, error = await post(wire_server, idle_timeout=5)
    assert got == BODY + b"end"
    assert isinstance(error, BackendError)


@pytest.mark.parametrize(
    ("head", "cut"),
    [
        (UNTIL_CLOSE, 0),
        (CHUNKED + b"5000\r\n", 0),
        (OK + b"Content-Length: 9999\r\n\r\n", 0),
        (OK + b"\n", 0),
        (OK + b"Connection: close\r\n\r\n", 12),
    ],
    ids=["until close", "chunked", "length", "bare line end", "head in two pieces"],
)
async def test_a_reset_right_after_the_first_chunk_loses_nothing_and_is_raised(wire_server, head, cut):
    for _ in range(20):  # the client's loop sees the chunk and the reset in one step, or in two
        wire_server.answer(head[:cut], head[cut:] + b"all that came", end="reset")
        got, error = await post(wire_server)
        assert got == b"all that came"
        assert isinstance(error, ConnectionFailed)


@pytest.mark.parametrize("backlog", [2**24, 1000])
async def test_a_busy_consumer_loses_nothing_when_the_connection_breaks(wire_server, backlog, monkeypatch):
    monkeypatch.setattr(session_module, "MAX_BACKLOG", backlog)
    first_seen, full = threading.Event(), threading.Event()
    wire_server.answer(CHUNKED + chunk(BODY), first_seen, chunk(BODY), full, *[chunk(BODY)] * 7, end="reset")
    async with StreamSession() as session, session.post(wire_server.url, json={}) as response:

        async def be_busy(line: bytes) -> None:
            if line == LINES[0] and not full.is_set():
                first_seen.set()
                if backlog < len(BODY):
                    await until(lambda: is_paused(response))
                full.set()
                await ended(wire_server)
            await asyncio.sleep(0)

        lines, error = await received(response.iter_lines(), be_busy)
    assert b"\n".join(lines) == b"".join([BODY] * 9)
    assert isinstance(error, ConnectionFailed)


async def test_a_busy_consumer_makes_the_server_wait(wire_server, monkeypatch):
    monkeypatch.setattr(session_module, "MAX_BACKLOG", 2**20)
    piece = bytes(2**20)
    wire_server.answer(UNTIL_CLOSE, *[piece] * 60)
    async with StreamSession() as session, session.post(wire_server.url, json={}) as response:
        chunks = chunks_of(response)
        got = len(await anext(chunks))
        await until(lambda: is_paused(response))
        assert response._content.total_bytes - got < 2 * 2**20
        got += sum([len(chunk) async for chunk in chunks])
    assert got == 60 * 2**20


async def test_lines_of_any_length(wire_server):
    lines = [b"x" * 2**21, "\u2028\u0085\x0b".encode(), b"", b"last"]
    wire_server.answer(UNTIL_CLOSE + b"\r\n".join(lines))
    async with StreamSession() as session, session.post(wire_server.url, json={}) as response:
        assert [line async for line in response.iter_lines()] == lines


# -- time


async def test_a_server_that_stalls_times_out(wire_server):
    wire_server.answer(UNTIL_CLOSE + b"part", end="stall")
    got, error = await post(wire_server, idle_timeout=0.2)
    assert (got, type(error)) == (b"part", TimedOut)
    assert "0.2 s" in str(error)
    assert wire_server.left.acquire(timeout=10)


@pytest.mark.parametrize("bad", [b"zz\r\nhello\r\n", b"-5\r\nhello\r\n", b"5hello", b"ffffffffffffffffff\r\n"])
async def test_a_bad_chunk_size_ends_and_keeps_what_came(wire_server, bad):
    seen = threading.Event()
    wire_server.answer(CHUNKED + chunk(b"part"), seen, bad, end="stall")
    async with StreamSession(idle_timeout=0.3) as session, session.post(wire_server.url, json={}) as response:

        async def see(piece: bytes) -> None:
            seen.set()

        pieces, error = await received(chunks_of(response), see)
    assert pieces[0] == b"part"
    assert isinstance(error, BackendError)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nX-Endless: a"])
async def test_a_head_that_does_not_come_times_out_and_is_not_retried(wire_server, head):
    wire_server.answer(head, end="stall")
    _, error = await post(wire_server, connect_timeout=0.1, idle_timeout=0.1)
    assert isinstance(error, TimedOut)
    assert not error.retryable


async def test_a_line_that_drips_for_ever_times_out_and_slow_lines_do_not(wire_server, monkeypatch):
    monkeypatch.setattr(response_module, "MAX_DRIP", 1)
    for drop in (b"x", b"\n"):
        wire_server.answer(UNTIL_CLOSE + b"part", *[drop, 0.05] * 100, end="stall")
    wire_server.answer(UNTIL_CLOSE, *[b"x", 0.05, b"\n", 0.05] * 10)
    for _ in range(2):
        got, error = await post(wire_server, idle_timeout=0.5)
        assert isinstance(error, TimedOut)
        assert got.startswith(b"part")
    assert await post(wire_server, idle_timeout=0.5) == (b"x\n" * 10, None)


async def test_a_blocked_loop_is_no_time_out(wire_server):
    wire_server.answer(UNTIL_CLOSE + b"a", blocked := threading.Event(), b"b")
    got = []
    async with StreamSession(idle_timeout=0.1) as session, session.post(wire_server.url, json={}) as response:
        async for piece in chunks_of(response):
            got.append(piece)
            if not blocked.is_set():
                blocked.set()
                time.sleep(0.3)  # noqa: ASYNC251  a consumer that computes
    assert b"".join(got) == b"ab"


async def test_a_loop_that_is_blocked_while_the_head_comes_is_no_time_out(wire_server):
    wire_server.answer(asked := threading.Event(), status("200 OK", b"Hi"))
    asking = asyncio.create_task(post(wire_server, connect_timeout=0.2, idle_timeout=0.2))
    await until(lambda: bool(wire_server.requests))
    asked.set()
    time.sleep(0.6)  # noqa: ASYNC251  a cell that computes
    assert await asking == (b"Hi", None)


async def test_a_busy_consumer_is_no_time_out(wire_server, monkeypatch):
    monkeypatch.setattr(session_module, "MAX_BACKLOG", 4)
    wire_server.answer(UNTIL_CLOSE + b"abc", asked := threading.Event(), b"d")
    async with StreamSession(idle_timeout=0.1) as session, session.post(wire_server.url, json={}) as response:
        await asyncio.sleep(0.4)
        assert is_paused(response)
        chunks = chunks_of(response)
        assert await anext(chunks) == b"abc"
        await asyncio.sleep(0)
        response._check_idle(is_recheck=True)
        asked.set()
        assert [piece async for piece in chunks] == [b"d"]


async def test_a_server_that_stalls_while_the_consumer_is_busy_times_out(wire_server):
    wire_server.answer(UNTIL_CLOSE + b"part", end="stall")
    async with StreamSession(idle_timeout=0.1) as session, session.post(wire_server.url, json={}) as response:
        assert await response.read() == b"part"
        await asyncio.sleep(0.3)
        async with asyncio.timeout(10):
            with pytest.raises(TimedOut):
                await response.read()


async def test_a_connection_that_is_lost_while_the_consumer_is_busy_is_raised(wire_server):
    wire_server.answer(CHUNKED + chunk(b"part") + b"zz\r\n", end="reset")
    async with StreamSession() as session, session.post(wire_server.url, json={}) as response:
        assert await response.read() == b"part"
        await ended(wire_server)
        async with asyncio.timeout(10):
            with pytest.raises(BackendError):
                await response.read()


async def test_an_error_page_that_drips_for_ever_ends(wire_server):
    wire_server.answer(b"HTTP/1.1 500 No\r\n\r\n", *[b"x", 0.05] * 40, end="stall")
    _, error = await post(wire_server, idle_timeout=0.2)
    assert isinstance(error, ServerError)
    assert 0 < str(error).count("x") < 40


@pytest.mark.parametrize("is_waiting", [True, False])
async def test_a_body_that_is_ended_early_ends_after_what_has_arrived(wire_server, is_waiting):
    wire_server.answer(UNTIL_CLOSE + b"part", end="stall")
    async with StreamSession() as session, session.post(wire_server.url, json={}) as response:
        if is_waiting:
            assert await response.read() == b"part"
            response.end_within(0.05)
        else:
            await until(lambda: response._content.total_bytes == 4)
            response.end_within(60)
            response.end_within(0)
            await until(lambda: response._is_ended)
            assert await response.read() == b"part"
        async with asyncio.timeout(10):
            assert [await response.read() for _ in range(2)] == [b"", b""]
    assert await asyncio.to_thread(wire_server.left.acquire, timeout=10)


# -- leaving


async def test_leaving_closes_the_connection(wire_server):
    wire_server.answer(UNTIL_CLOSE + b"part", end="stall")
    async with StreamSession() as session, session.post(wire_server.url, json={}) as response:
        async for _ in chunks_of(response):
            break
        assert not wire_server.left.acquire(blocking=False)
    assert await asyncio.to_thread(wire_server.left.acquire, timeout=10)


async def test_cancellation_closes_the_connection(wire_server):
    wire_server.answer(b"", end="stall")
    task = asyncio.create_task(post(wire_server))
    await until(lambda: bool(wire_server.requests))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(wire_server.left.acquire, timeout=10)


# -- what is sent and what is said


async def test_the_headers_of_a_request(wire_server):
    wire_server.answer(status("200 OK", b"Hi"))
    await post(wire_server, {"a": "ö"}, headers={"X-Mine": "1"})
    (request,) = wire_server.requests
    assert request.head.startswith("POST /x HTTP/1.1")
    names = ("Accept-Encoding", "Content-Type", "X-Mine", "Cookie")
    assert [request.header(name) for name in names] == ["identity", "application/json", "1", None]
    assert request.body == '{"a":"ö"}'.encode()


async def test_a_large_body_is_sent_whole(wire_server):
    wire_server.answer(status("200 OK", b"Hi"))
    assert await post(wire_server, {"media": "x" * 5_000_000}) == (b"Hi", None)
    assert len(wire_server.requests[0].json["media"]) == 5_000_000


async def test_a_refusal_is_read_while_a_large_body_is_being_sent(wire_server):
    heard = threading.Event()
    wire_server.answer(status("413 Too Large", {"error": "64 MB at most"}), heard, read_body=False)
    _, error = await post(wire_server, {"media": "x" * 20_000_000})
    heard.set()
    assert "413 (64 MB at most)" in str(error)


async def test_a_refusal_is_read_though_the_connection_is_reset_while_a_large_body_is_being_sent(wire_server):
    wire_server.answer(status("413 Too Large", {"error": "64 MB at most"}), end="reset", read_body=False)
    for _ in range(5):
        _, error = await post(wire_server, {"media": "x" * 8_000_000})
        assert "413 (64 MB at most)" in str(error)


async def test_many_interim_responses(wire_server):
    wire_server.answer(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3000 + status("200 OK", b"Hi"))
    assert await post(wire_server) == (b"Hi", None)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 999999 X\r\n\r\n",
        b"\x00" * 100,
        LONG,
    ],
    ids=["ssh", "header", "status", "zeros", "long"],
)
async def test_invalid_http_is_a_protocol_error(wire_server, answer):
    wire_server.answer(answer)
    _, error = await post(wire_server)
    assert isinstance(error, ProtocolError)
    assert str(error).startswith(f"{wire_server.url} did not answer in valid HTTP")


async def test_https_to_a_server_of_http(wire_server):
    wire_server.answer(status("400 Bad"))
    async with StreamSession() as session:
        with pytest.raises(ConnectionFailed, match="starts with http://"):
            async with session.post(wire_server.url.replace("http", "https"), json={}):
                pass


@pytest.mark.parametrize(
    "record", [b"\x15\x03\x03\x00\x02\x02\x46", b"\x15\x03\x01\x00\x02\x02\x0a", b"\x16\x03\x01\x00"]
)
@pytest.mark.parametrize("end", ["close", "reset"])
async def test_http_to_a_server_of_tls_names_https(wire_server, record, end):
    wire_server.answer(record, end=end)
    _, error = await post(wire_server)
    assert isinstance(error, ConnectionFailed)
    assert str(error) == f"{wire_server.url} speaks TLS: write its url with https://"
    assert not error.retryable


async def test_a_json_document_is_fetched_and_checked(wire_server):
    wire_server.answer(CHUNKED + chunk(b'["a"]') + LAST_CHUNK)
    wire_server.answer(status("401 No", {"error": {"message": "no sk-123 here"}}))
    wire_server.answer(status("200 OK", b"<html>sk-123"))
    async with StreamSession(secrets=["sk-123"]) as session:
        assert await session.get_json(wire_server.url) == ["a"]
        with pytest.raises(AuthError, match=r"no \*\*\* here"):
            await session.get_json(wire_server.url)
        with pytest.raises(ProtocolError, match=r"<html>\*\*\*"):
            await session.get_json(wire_server.url)


def test_values_that_json_cannot_express() -> None:
    circle: list[Any] = []
    circle.append(circle)
    for value in ({1, 2}, {"a": object()}, circle, 2**70):
        with pytest.raises(TypeError):
            encode_json(value)
    assert (
        encode_json({"a": "\ud83d", "b": ("\ud83d\ude42", float("nan"))}) == '{"a":"\ufffd","b":["🙂",null]}'.encode()
    )
