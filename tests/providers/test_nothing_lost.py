"""All text arrives, wherever and however an answer ends, on a real socket."""

from __future__ import annotations

import json
from typing import Any

import pytest
from wire_server import CHUNKED, LAST_CHUNK, OK, UNTIL_CLOSE, WireServer, chunk, content, received, sse

from nb_backend import BackendApi, BackendError, OpenAIApi
from nb_backend.events import RawResponse
from nb_backend.providers.anthropic_api import AnthropicApi
from nb_backend.providers.base import Provider
from nb_backend.providers.reader import ResponseReader
from nb_backend.providers.responses_api import ResponsesApi

QUESTION = [{"role": "user", "content": "Hi?"}]
EVENTS = [
    {"type": "provider", "provider": {"name": "A"}},
    content("Grüße \U0001f642, "),
    {"type": "log", "log": "x" * 40},
    content("all of\r\nyou."),
]
BODIES = {
    "sse": sse(*EVENTS),
    "sse, cr": sse(*EVENTS).replace(b"\n", b"\r"),
    "sse, crlf": b"\xef\xbb\xbf: hello\r\n\r\n" + sse(*EVENTS).replace(b"\n", b"\r\n"),
    "json lines": b"".join(json.dumps(event, ensure_ascii=False).encode() + b"\n" for event in EVENTS),
    "openai": b"".join(
        b"data: %s\n\n" % json.dumps({"choices": [{"delta": {"content": event["content"]}}]}).encode()
        for event in EVENTS
        if "content" in event
    ),
    "responses": sse(
        *(
            {"type": "response.output_text.delta", "item_id": "i", "content_index": 0, "delta": event["content"]}
            for event in EVENTS
            if "content" in event
        )
    ),
    "anthropic": sse(
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": event["content"]}}
            for event in EVENTS
            if "content" in event
        ),
    ),
}
PROVIDERS: dict[str, type[Provider]] = {"openai": OpenAIApi, "responses": ResponsesApi, "anthropic": AnthropicApi}
TRANSFERS = {
    "chunked": lambda body, whole: CHUNKED + chunk(body) + (LAST_CHUNK if whole else b""),
    "two chunks": lambda body, whole: CHUNKED + _two(body) + (LAST_CHUNK if whole else b""),
    "length": lambda body, whole: OK + b"Content-Length: %d\r\n\r\n" % (len(body) if whole else 10**6) + body,
    "until close": lambda body, whole: UNTIL_CLOSE + body,
}
TYPES = ["text/event-stream", "application/json", "text/plain; charset=latin-1", "image/png", "x"]


def provider_of(body: bytes) -> type[Provider]:
    return next((PROVIDERS[name] for name in PROVIDERS if body is BODIES[name]), BackendApi)


def _two(body: bytes) -> bytes:
    half = len(body) // 2
    return b"".join(chunk(part) for part in (body[:half], body[half:]) if part)


def expected(kind: type[ResponseReader], body: bytes) -> list[RawResponse]:
    """Return the events of the first bytes of an answer, decoded in one chunk without a connection."""
    reading = kind("http://server")
    events = [*(reading.feed(body) or ())]
    return [*events, *reading.end(whole=False)]


@pytest.fixture(params=BODIES)
def body(request: pytest.FixtureRequest) -> bytes:
    return BODIES[request.param]


@pytest.mark.parametrize("end", ["close", "reset", "no http"])
@pytest.mark.parametrize("transfer", TRANSFERS)
async def test_cut_anywhere_and_ended_in_any_way(wire_server: WireServer, delays, body, transfer, end):
    api: Any = type("Api", (provider_of(body),), {"url": wire_server.url, "idle_timeout": 5, "max_retries": 0})
    kind = type(api.make_reader(wire_server.url, []))
    for cut in range(0, len(body) + 1, 7):
        part = body[:cut]
        head, _, rest = TRANSFERS[transfer](part, False).partition(b"\r\n\r\n")
        head += b"\r\nContent-Type: " + TYPES[cut % len(TYPES)].encode() + b"\r\n\r\n"
        sent = head + rest + (b"\x00no http\r\n" if end == "no http" and "chunk" in transfer else b"")
        at = (cut * 31) % len(sent)
        wire_server._answers.clear()
        wire_server.answer(sent[:at], sent[at:], end="reset" if end == "reset" else "close")
        events, error = await received(api.create_async_generator("m", QUESTION))
        assert events == expected(kind, part), (cut, error)
        whole = transfer == "until close" and end != "reset"
        assert isinstance(error, BackendError) or whole, cut
        if error is not None:
            assert error.category in {"connection", "protocol"}
            assert error.partial == "".join(map(str, events))


@pytest.mark.parametrize("transfer", TRANSFERS)
async def test_stalled_anywhere(wire_server: WireServer, delays, body, transfer):
    api: Any = type("Api", (provider_of(body),), {"url": wire_server.url, "idle_timeout": 0.05, "max_retries": 0})
    for cut in (len(body) // 5, len(body) // 2, len(body) - 1):
        wire_server._answers.clear()
        wire_server.answer(TRANSFERS[transfer](body[:cut], False), end="stall")
        events, error = await received(api.create_async_generator("m", QUESTION))
        assert events == expected(type(api.make_reader(wire_server.url, [])), body[:cut])
        assert error is not None
        assert (error.category, error.partial) == ("timeout", "".join(map(str, events)))


@pytest.mark.parametrize("transfer", TRANSFERS)
async def test_a_complete_answer(wire_server: WireServer, delays, body, transfer):
    api: Any = type("Api", (provider_of(body),), {"url": wire_server.url, "idle_timeout": 5})
    sent = TRANSFERS[transfer](body, True)
    for size in (1, 7, len(sent)):
        wire_server._answers.clear()
        wire_server.answer(*(sent[at : at + size] for at in range(0, len(sent), size)))
        events, error = await received(api.create_async_generator("m", QUESTION))
        assert error is None
        assert "".join(map(str, events)) == "Grüße \U0001f642, all of\r\nyou."
