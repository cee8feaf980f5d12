"""The HTTP client on real sockets: nothing lost, nothing hung, nothing sent elsewhere."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from wire_server import CHUNKED, LAST_CHUNK, OK, UNTIL_CLOSE, WireServer, chunk, status

from nb_backend.errors import AuthError, BackendError, ConnectionFailed, ProtocolError, ServerError, TimedOut
from nb_backend.providers import session as session_module
from nb_backend.providers.session import StreamSession, encode_json


async def read(server: WireServer, body: Any = None, **options: Any) -> tuple[bytes, BackendError | None]:
    """POST, and give all bytes of the answer and how it failed."""
    got = b""
    try:
        async with (
            StreamSession(**options) as session,
            session.post(f"{server.url}/x", json=body) as response,
        ):
            async for piece in response.iter_chunks():
                got += piece
    except BackendError as error:
        return got, error
    return got, None


async def ended(server: WireServer) -> None:
    assert await asyncio.to_thread(server.ended.acquire, timeout=10)


LINES = [b"line %d" % number for number in range(1000)]
BODY = b"\n".join(LINES)


# -- completeness


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("pieces", [[UNTIL_CLOSE + BODY], [UNTIL_CLOSE, BODY], [CHUNKED + chunk(BODY)]])
async def test_every_byte_arrives_however_the_connection_ends(wire_server, pieces, end):
    wire_server.answer(*pieces, end=end)
    got, error = await read(wire_server)
    assert got == BODY
    broken = end == "reset" or pieces[0].startswith(CHUNKED)
    assert isinstance(error, ConnectionFailed) if broken else error is None


@pytest.mark.parametrize("backlog", [2**24, 1000])
async def test_a_busy_consumer_loses_nothing_when_the_connection_breaks(wire_server, backlog, monkeypatch):
    monkeypatch.setattr(session_module, "MAX_BACKLOG", backlog)
    first_seen, full = threading.Event(), threading.Event()
    wire_server.answer(CHUNKED + chunk(BODY), first_seen, chunk(BODY), full, *[chunk(BODY)] * 7, end="reset")
    got = []
    async with StreamSession() as session, session.post(wire_server.url, json={}) as response:
        with pytest.raises(ConnectionFailed):
            async for line in response.iter_lines():
                got.append(line)
                first_seen.set()
                while backlog < len(BODY) and response._room.is_set() and not full.is_set():
                    await asyncio.sleep(0)
                full.set()
                if len(got) == 1:
                    await ended(wire_server)
                if len(got) < 20:
                    await asyncio.sleep(0)
    assert b"\n".join(got) == b"".join([BODY] * 9)


async def test_a_busy_consumer_makes_the_server_wait(wire_server, monkeypatch):
    monkeypatch.setattr(session_module, "MAX_BACKLOG", 2**20)
    piece = bytes(2**20)
    wire_server.answer(UNTIL_CLOSE, *[piece] * 60)
    async with StreamSession() as session, session.post(wire_server.url, json={}) as response:
        chunks = response.iter_chunks()
        got = len(await anext(chunks))
        while response._room.is_set():
            await asyncio.sleep(0)
        assert response._backlog_size < 2 * 2**20
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
    got, error = await read(wire_server, idle_timeout=0.2)
    assert (got, type(error)) == (b"part", TimedOut)
    assert "0.2 s" in str(error)
    assert wire_server.left.acquire(timeout=10)


@pytest.mark.parametrize("bad", [b"zz\r\nhello\r\n", b"-5\r\nhello\r\n", b"5hello", b"ffffffffffffffffff\r\n"])
async def test_a_bad_chunk_size_ends_and_keeps_what_came(wire_server, bad):
    seen = threading.Event()
    wire_server.answer(CHUNKED + chunk(b"part"), seen, bad, end="stall")
    got = []
    with pytest.raises(BackendError):
        async with StreamSession(idle_timeout=0.3) as session, session.post(wire_server.url, json={}) as response:
            async for piece in response.iter_chunks():
                got.append(piece)
                seen.set()
    assert got[0] == b"part"


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nX-Endless: a"])
async def test_a_head_that_does_not_come_times_out_and_is_not_asked_for_again(wire_server, head):
    wire_server.answer(head, end="stall")
    _, error = await read(wire_server, connect_timeout=0.1, idle_timeout=0.1)
    assert isinstance(error, TimedOut)
    assert not error.retryable


async def test_a_blocked_loop_is_no_time_out(wire_server):
    wire_server.answer(UNTIL_CLOSE + b"a", blocked := threading.Event(), b"b")
    got = []
    async with StreamSession(idle_timeout=0.1) as session, session.post(wire_server.url, json={}) as response:
        async for piece in response.iter_chunks():
            got.append(piece)
            if not blocked.is_set():
                blocked.set()
                time.sleep(0.3)  # noqa: ASYNC251  a consumer that computes
    assert b"".join(got) == b"ab"


async def test_a_busy_consumer_is_no_time_out(wire_server, monkeypatch):
    monkeypatch.setattr(session_module, "MAX_BACKLOG", 1)
    wire_server.answer(UNTIL_CLOSE + b"a", asked := threading.Event(), b"b")
    async with StreamSession(idle_timeout=0.1) as session, session.post(wire_server.url, json={}) as response:
        await asyncio.sleep(0.4)
        chunks = response.iter_chunks()
        assert await anext(chunks) == b"a"
        await asyncio.sleep(0)
        response._watch(second_look=True)
        asked.set()
        assert [piece async for piece in chunks] == [b"b"]


async def test_an_error_page_that_drips_for_ever_ends(wire_server):
    wire_server.answer(b"HTTP/1.1 500 No\r\n\r\n", *[b"x", 0.05] * 40, end="stall")
    _, error = await read(wire_server, idle_timeout=0.2)
    assert isinstance(error, ServerError)
    assert 0 < str(error).count("x") < 40


# -- leaving


async def test_leaving_closes_the_connection(wire_server):
    wire_server.answer(UNTIL_CLOSE + b"part", end="stall")
    async with StreamSession() as session, session.post(wire_server.url, json={}) as response:
        async for _ in response.iter_chunks():
            break
        assert not wire_server.left.acquire(blocking=False)
    assert await asyncio.to_thread(wire_server.left.acquire, timeout=10)


async def test_cancellation_closes_the_connection(wire_server):
    wire_server.answer(b"", end="stall")
    task = asyncio.create_task(read(wire_server))
    while not wire_server.requests:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(wire_server.left.acquire, timeout=10)


# -- where it goes


@pytest.mark.parametrize("code", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
async def test_a_redirect_on_the_same_server_is_followed_with_the_body(wire_server, code):
    wire_server.answer(status(code, location="/there?x=1"))
    wire_server.answer(status("200 OK", b"Hi"))
    assert await read(wire_server, {"a": 1}) == (b"Hi", None)
    assert [(request.path, request.json) for request in wire_server.requests] == [
        ("/x", {"a": 1}),
        ("/there?x=1", {"a": 1}),
    ]


@pytest.mark.parametrize("location", ["http://127.0.0.1:{port}/x", "http://localhost:{port}/x", "//127.0.0.1:{port}"])
async def test_a_redirect_to_another_server_is_refused(wire_server, location):
    other = WireServer()
    other.answer(status("200 OK", b"Hi"))
    try:
        wire_server.answer(status("307 T", location=location.format(port=other.url.rpartition(":")[2])))
        _, error = await read(wire_server, {"api_key": "sk-123"})
        assert isinstance(error, ConnectionFailed)
        assert f"{wire_server.url} sends on to http://" in str(error)
        assert other.requests == []
    finally:
        other.stop()


@pytest.mark.parametrize("location", ["/x", "http://[", "https://127.0.0.1:1/", "mailto:x@y"])
async def test_a_redirect_that_leads_nowhere_is_refused(wire_server, location):
    wire_server.answer(status("308 Permanent", location=location))
    _, error = await read(wire_server)
    assert isinstance(error, ConnectionFailed)
    assert not error.retryable
    assert len(wire_server.requests) <= session_module.MAX_REDIRECTS


async def test_localhost_never_goes_through_a_proxy(wire_server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    wire_server.answer(status("200 OK", b"Hi"))
    assert await read(wire_server) == (b"Hi", None)


@pytest.mark.parametrize("scheme", ["http://", ""])
async def test_another_host_goes_through_the_proxy_but_for_no_proxy(wire_server, monkeypatch, scheme):
    monkeypatch.setenv("http_proxy", scheme + wire_server.url.removeprefix("http://"))
    monkeypatch.setenv("no_proxy", "excepted.invalid")
    wire_server.answer(status("200 OK", b"Hi"))
    async with StreamSession() as session:
        async with session.post("http://server.invalid/x", json={}) as response:
            assert response.status == 200
        with pytest.raises(ConnectionFailed):
            async with session.post("http://excepted.invalid/x", json={}):
                pass
    assert [request.path for request in wire_server.requests] == ["http://server.invalid/x"]


async def test_netrc_is_never_read(wire_server, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    wire_server.answer(status("200 OK", b"Hi"))
    await read(wire_server)
    assert wire_server.requests[0].header("Authorization") is None


# -- what is sent and what is said


async def test_the_head_of_a_request(wire_server):
    wire_server.answer(status("200 OK", b"Hi"))
    await read(wire_server, {"a": "ö"}, headers={"X-Mine": "1"})
    (request,) = wire_server.requests
    assert request.head.startswith("POST /x HTTP/1.1")
    names = ("Accept-Encoding", "Content-Type", "X-Mine", "Cookie")
    assert [request.header(name) for name in names] == ["identity", "application/json", "1", None]
    assert request.body == '{"a":"ö"}'.encode()


async def test_a_large_body_is_sent_whole(wire_server):
    wire_server.answer(status("200 OK", b"Hi"))
    assert await read(wire_server, {"media": "x" * 5_000_000}) == (b"Hi", None)
    assert len(wire_server.requests[0].json["media"]) == 5_000_000


async def test_a_refusal_is_heard_while_a_large_body_is_being_sent(wire_server):
    heard = threading.Event()
    wire_server.answer(status("413 Too Large", {"error": "64 MB at most"}), heard, read_body=False)
    _, error = await read(wire_server, {"media": "x" * 20_000_000})
    heard.set()
    assert "413 (64 MB at most)" in str(error)


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n", b"HTTP/1.1 999999 X\r\n\r\n", b"\x00" * 100]
    + [OK + b"X: " + b"x" * 100_000 + b"\r\n\r\n"],
    ids=["ssh", "header", "status", "zeros", "long"],
)
async def test_what_is_no_http_is_a_protocol_error(wire_server, answer):
    wire_server.answer(answer)
    _, error = await read(wire_server)
    assert isinstance(error, ProtocolError)
    assert str(error).startswith(f"{wire_server.url} does not speak HTTP as it should")


async def test_https_where_http_is_spoken(wire_server):
    wire_server.answer(status("400 Bad"))
    async with StreamSession() as session:
        with pytest.raises(ConnectionFailed, match="begins with http://"):
            async with session.post(wire_server.url.replace("http", "https"), json={}):
                pass


async def test_a_json_document_is_fetched_and_checked(wire_server):
    wire_server.answer(CHUNKED + chunk(b'["a"]') + LAST_CHUNK)
    wire_server.answer(status("401 No", {"error": {"message": "no sk-123 here"}}))
    wire_server.answer(status("200 OK", b"<html>sk-123"))
    async with StreamSession(secret="sk-123") as session:
        assert await session.get_json(wire_server.url) == ["a"]
        with pytest.raises(AuthError, match=r"no \*\*\* here"):
            await session.get_json(wire_server.url)
        with pytest.raises(ProtocolError, match=r"<html>\*\*\*"):
            await session.get_json(wire_server.url)


def test_json_that_cannot_be_said() -> None:
    circle: list[Any] = []
    circle.append(circle)
    for value in ({1, 2}, {"a": object()}, circle, 2**70):
        with pytest.raises(TypeError):
            encode_json(value)
    assert (
        encode_json({"a": "\ud83d", "b": ("\ud83d\ude42", float("nan"))}) == '{"a":"\ufffd","b":["🙂",null]}'.encode()
    )
