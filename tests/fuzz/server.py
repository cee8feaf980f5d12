"""Checks for answers of a server with any bytes: the events, how the answer ends, and error statuses."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from unittest.mock import patch

from captures import CAPTURES, VARIANTS

from nb_backend.chat.answer import Answer
from nb_backend.errors import AuthError, BackendError, ConnectionFailed, ProtocolError, RateLimitError, ServerError
from nb_backend.events import RawResponse
from nb_backend.providers.decoder import EventDecoder
from nb_backend.providers.openai_api import ChunkReader
from nb_backend.providers.reader import ResponseReader
from nb_backend.transport import lines as lines_module
from nb_backend.transport.errors import status_error

SECRET = "Zq8vT2xW9k"
URL = "https://host.example/v1"
KINDS = (ConnectionFailed, ProtocolError, ServerError, AuthError, RateLimitError)  # no TimedOut, as nothing here waits


def is_one_line(text: str, max_chars: int) -> bool:
    return bool(text) and len(text) <= max_chars and "\n" not in text and text.encode() is not None


def is_valid(*values: object) -> bool:
    """Whether the values can be saved as JSON: valid Unicode, no NaN, no infinity."""
    return bool(json.dumps(values, allow_nan=False, ensure_ascii=False).encode())


def chunks_of(data: bytes, sizes: bytes) -> Iterator[bytes]:
    """Cut bytes into chunks of these sizes, in turn; some may be empty."""
    sizes = sizes if any(sizes) else b"\1"
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        yield data[at : at + size]
        at, turn = at + size, turn + 1


def decoded(chunks: Iterator[bytes]) -> tuple[list[RawResponse], object]:
    decoder = EventDecoder()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    events += decoder.flush()
    assert decoder.events <= len(events)
    return events, (decoder.damaged, decoder.done, decoder.truncated, decoder.start)


def check_wire(data: bytes) -> None:
    """The events do not depend on where chunks end, and each can be saved."""
    most, sizes, body = data[:1] or b"\0", data[1:4] or b"\1", data[4:]
    with patch.object(lines_module, "MAX_LINE", 8 * most[0] if most[0] > 99 else lines_module.MAX_LINE):
        events, state = decoded(iter([body]))
        assert (events, state) == decoded(chunks_of(body, sizes))
    for event in events:
        assert type(event) is RawResponse
        assert is_valid(event.get_dict(), str(event))


def wire_seeds() -> Iterator[bytes]:
    for body in CAPTURES.values():
        for variant in VARIANTS.values():
            yield b"\0\7\1\x60" + variant(body)
            yield b"\x64\2\3" + variant(body)[:1200]
    yield b"\0\1\1\1" + rb'{"type":"content","content":"\ud83d"}' b"\r\n" rb'{"type":"content","content":"\ude42"}'
    yield b'\0\1\1\1{"type":"content","content":[NaN,1e999,-Infinity,7]}\n'
    yield b'\0\1\1\1data: {\ndata: "type": NaN,\n\ndata: [DONE]\n\nevent: error\ndata: {}\n\n: c\nid: 1\nretry: 2\n'


CHUNKS = (
    {"model": "m", "choices": [{"index": 0, "delta": {"role": "assistant", "reasoning_content": "think"}}]},
    {"model": "m", "choices": [{"delta": {"content": "Hi", "refusal": ["a", {"text": "b"}]}}]},
    {"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{"}}]}}]},
    {"choices": [{"message": {"tool_calls": [{"id": "d", "function": {"arguments": {"a": 1}}}]}}]},
    {"choices": [{"finish_reason": "stop", "delta": {}}], "usage": {"completion_tokens": 2}},
    {"choices": [{"delta": {"tool_calls": [{"index": "0", "function": "f"}, 1], "content": 1}}, 2], "usage": [3]},
    {"choices": [{"delta": {"content": "<think>Hm</think>a"}, "message": {"content": "<think>Hm</think>ab"}}]},
    {"choices": [{"delta": {"content": [{"type": "thinking", "thinking": [{"text": "Hm"}]}], "images": ["/a.png"]}}]},
    {"citations": ["https://e.example"], "choices": [{"text": "a\n</think>\n", "usage": {"prompt_tokens": 1}}]},
    {"error": {"message": f"slow down {SECRET}", "type": "rate_limit", "code": 429}},
    {"object": "error", "message": "context", "code": "context_length_exceeded"},
)
EVENTS = (
    {"type": "provider", "provider": {"name": "p", "model": "m"}},
    {"type": "content", "content": "![a](/m/a.png)", "urls": ["/m/a.png"], "alt": "a"},
    {"type": "reasoning", "token": "x", "status": ""},
    {"type": "reasoning", "reasoning": {"text": ["x"]}},
    {"type": "content", "content": "<think>Hm</think>"},
    {"type": "tool_calls", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{"}}]},
    {"type": "sources", "sources": [{"url": "https://e.example"}]},
    {"type": "usage", "usage": {"total_tokens": 3}},
    {"type": "finish", "finish": {"reason": "stop"}},
    {"type": "message", "message": "broken"},
    {"type": "error", "error": "E", "message": "M"},
    {"type": "auth", "auth": "MissingAuthError", "message": "no key"},
    {"type": "content", "content": SECRET},
)


def check_reading(data: bytes) -> None:
    """Either dialect reads the answer to its end and raises nothing; its error is a known kind, without the key."""
    kind, sizes, body = data[:1] or b"\0", data[1:4] or b"\1", data[4:]
    reading = (ChunkReader if kind[0] & 1 else ResponseReader)(URL, [SECRET])
    broken = ConnectionFailed("It broke", retryable=True) if kind[0] & 2 else None
    answer, events = Answer(), []
    for chunk in chunks_of(body, sizes):
        events += reading.feed(chunk) or ()  # an empty chunk is the end
    events += reading.end(whole=broken is None)
    for event in events:
        answer.add(event)
        assert is_valid(event.get_dict())
    failure = reading.error(broken)
    answer.end()
    assert is_valid(answer.text, answer.reasoning, answer.metadata(), answer.stored_images())
    if failure is not None:
        assert failure.partial == answer.text
        check_failure(failure)


def check_failure(failure: BackendError) -> None:
    assert type(failure) in KINDS
    assert is_one_line(str(failure), 500)
    assert is_valid(failure.partial, failure.retry_after, failure.code)
    assert failure.retry_after is None or (math.isfinite(failure.retry_after) and failure.retry_after >= 0)
    assert SECRET not in f"{failure}{failure.code}"


def reading_seeds() -> Iterator[bytes]:
    for kind, objects in ((b"\1", CHUNKS), (b"\0", EVENTS)):
        lines = [json.dumps(item).encode() for item in objects]
        yield kind + b"\7\1\x60" + b"".join(b"data: %s\n\n" % line for line in lines) + b"data: [DONE]\n\n"
        for line in lines:
            yield kind + b"\xff\xff\xff" + line + b"\n"
            yield bytes([kind[0] | 2]) + b"\xff\xff\xff" + lines[1] + b"\n" + line + b"\n"
    for body in CAPTURES.values():
        yield b"\0\xff\xff\xff" + body
    yield b"\0\xff\xff\xff<!DOCTYPE html><title>502 Bad Gateway</title>"


def check_status(data: bytes) -> None:
    """An error status becomes an error of a known kind, with a message in one line and a numeric wait or None."""
    status, data = int.from_bytes(data[:2], "big") % 600, data[2:]
    wait, _, rest = data.partition(b"\n")
    name, _, body = rest.partition(b"\n")
    headers = {name.decode("utf-8", "surrogateescape"): wait.decode("utf-8", "surrogateescape")}
    check_failure(status_error(URL, status, headers, body, [SECRET]))


def status_seeds() -> Iterator[bytes]:
    said = (
        b'{"error": {"message": "no %s", "code": "c"}}' % SECRET.encode(),
        b'{"detail": [{"msg": "m"}]}',
        b"<html>",
        b"plain",
        b"",
    )
    for wait in (b"7", b"1.5", b"9" * 400, b"Mon, 23 Nov 2026 02:50:00 GMT", b"-1", "٣".encode()):
        for name in (b"Retry-After", b"retry-after-ms"):
            for status, body in zip((401, 429, 500, 503, 413), said, strict=True):
                yield status.to_bytes(2, "big") + wait + b"\n" + name + b"\n" + body
