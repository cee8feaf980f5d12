"""When a request is retried, after how long, and when not."""

from __future__ import annotations

import pytest
from wire_server import CHUNKED, chunk, content, received, sse, status, stream

from nb_backend.errors import BackendError, ConnectionFailed

QUESTION = [{"role": "user", "content": "Hi?"}]


async def ask(api) -> tuple[str, BackendError | None]:
    events, error = await received(api.create_async_generator("m", QUESTION))
    return "".join(map(str, events)), error


@pytest.mark.parametrize("first", [status("503 Busy"), b""], ids=["503", "closed at once"])
async def test_a_temporary_failure_is_retried(api, wire_server, delays, first):
    wire_server.answer(first)
    wire_server.answer(first)
    wire_server.answer(stream(content("Hi")))
    assert await ask(api) == ("Hi", None)
    assert len(wire_server.requests) == 3
    assert 0.375 <= delays[0] <= 0.5
    assert 0.75 <= delays[1] <= 1


@pytest.mark.parametrize(
    ("headers", "waits"),
    [
        ({"retry_after": "3"}, [3, 3]),
        ({"retry_after_ms": "1500"}, [1.5, 1.5]),
        ({"retry_after": "0"}, [0, 0]),
        ({"retry_after": "60"}, [60, 60]),
        ({"retry_after": "9" * 400}, []),
        ({"retry_after": "61"}, []),
    ],
)
async def test_retry_after_is_obeyed(api, wire_server, delays, headers, waits):
    wire_server.answer(status("429 Slow", {"error": {"message": "too fast"}}, **headers))
    _, error = await ask(api)
    assert delays == waits
    assert len(wire_server.requests) == len(waits) + 1
    assert "429 (too fast): ask again" in str(error)


@pytest.mark.parametrize("code", [408, 409, 429, 500, 502, 503, 504, 529])
async def test_a_temporary_status_is_retried(api, wire_server, delays, code):
    wire_server.answer(status(f"{code} No"))
    wire_server.answer(stream(content("Hi")))
    assert await ask(api) == ("Hi", None)
    assert len(delays) == 1


async def test_at_most_max_retries(api, wire_server, delays):
    api.max_retries = 5
    wire_server.answer(status("503 Busy"))
    _, error = await ask(api)
    assert len(wire_server.requests) == 6
    assert 6 <= delays[-1] <= 8
    assert "503: ask again later" in str(error)


async def test_a_wait_is_an_event_only_if_it_is_requested(api, wire_server, delays):
    wire_server.answer(status("503 Busy", {"error": {"message": "loading"}}, retry_after="3"))
    wire_server.answer(stream(content("Hi")))
    wire_server.answer(status("503 Busy", {"error": {"message": "loading"}}, retry_after="3"))
    wire_server.answer(stream(content("Hi")))
    events, _ = await received(api.create_async_generator("m", QUESTION))
    assert [event.type for event in events] == ["content"]
    api.reports_retries = True
    events, _ = await received(api.create_async_generator("m", QUESTION))
    assert [event.type for event in events] == ["progress", "content"]
    assert events[0].progress == {"label": f"{wire_server.url} answered 503 (loading); asking again in 3.0 s"}


@pytest.mark.parametrize("code", [400, 401, 403, 404, 413, 422])
async def test_a_refusal_is_final(api, wire_server, code):
    wire_server.answer(status(f"{code} No"))
    await ask(api)
    assert len([request for request in wire_server.requests if request.head.startswith("POST")]) == 1


@pytest.mark.parametrize("event", [b'{"type": "provider"}\n', b'{"unknown": 1}\n', sse(content("Hi"))])
async def test_no_retry_after_the_first_event(api, wire_server, event):
    wire_server.answer(CHUNKED + chunk(event), end="reset")
    _, error = await ask(api)
    assert isinstance(error, ConnectionFailed)
    assert len(wire_server.requests) == 1


async def test_an_unreachable_server_is_retried(api, wire_server, delays):
    wire_server.stop()
    _, error = await ask(api)
    assert isinstance(error, ConnectionFailed)
    assert str(error).startswith(f"Nobody answers at {wire_server.url} (")
    assert len(delays) == 2
