"""An answer in another dialect than that of the request is named, with how to set it."""

from __future__ import annotations

import json

import pytest
from captures import CAPTURES
from clouds import WITHOUT, recordings
from wire_server import WireServer, status

from nb_backend import Chat
from nb_backend.errors import ProtocolError, ServerError
from nb_backend.providers.other_dialect import dialect_of
from nb_backend.providers.registry import DIALECTS, provider_named

STARTS = {
    "anthropic": {"type": "message_start", "message": {"id": "a", "role": "assistant", "content": []}},
    "openai-responses": {"type": "response.created", "response": {"id": "a", "object": "response", "output": []}},
    "gemini": {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}}]},
    "openai-chat": {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "Hi"}}]},
    "g4f": {"type": "content", "content": "Hi"},
}
RECORDED = {
    f"{name}/{title}": (name, body)
    for name in ("anthropic", "gemini", "openai-chat", "openai-responses")
    for title, body in recordings(name).items()
} | {f"g4f/{title}": ("g4f", body) for title, body in CAPTURES.items() if "error" not in title}
"""By name: the dialect and the body."""


@pytest.mark.parametrize("api", DIALECTS)
@pytest.mark.parametrize("start", STARTS.items(), ids=STARTS)
def test_every_reader_names_the_dialect_of_a_foreign_answer(api, start):
    name, event = start
    for foreign in (event, {**event, "more": "x" * 9000}):  # only the start is kept
        reader = provider_named(api).make_reader("http://server.example/v1", [])
        read_all(reader, b"data: %s\n\n" % json.dumps(foreign).encode())
        assert reader.api == api
        if name != api:
            failure = reader.error(None)
            assert isinstance(failure, ProtocolError)
            assert str(failure).startswith("http://server.example answered as ")
            assert str(failure).endswith(f" set api={name!r}, in a notebook %backend url URL --api {name}")


@pytest.mark.skipif(len(RECORDED) < 10, reason=WITHOUT)
@pytest.mark.parametrize("api", DIALECTS)
def test_a_recorded_answer_is_read_in_its_own_dialect_only(api):
    for title, (name, body) in RECORDED.items():
        reader = provider_named(api).make_reader("http://server.example/v1", [])
        read_all(reader, body)
        assert dialect_of(body[:4096]) == name, title
        assert f"--api {name}" in str(reader.error(None)) or name == api or b'"error":{' in body, title


def read_all(reader, body: bytes) -> None:
    for at in range(0, len(body), 1000):
        reader.feed(body[at : at + 1000])
    reader.end(whole=True)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"<html>", b'{"error": "no"}', b'data: {"text": "\\"candidates\\": ["}\n\n']
)
def test_what_looks_like_no_dialect(body):
    assert dialect_of(body) is None


def test_the_error_of_a_chat(wire_server: WireServer):
    event = json.dumps(STARTS["anthropic"]).encode()
    wire_server.answer(status("200 OK", b"event: message_start\ndata: %s\n\n" % event))
    with pytest.raises(ProtocolError, match=r"answered as Anthropic's Messages API does: set api='anthropic'"):
        Chat("m", url=f"{wire_server.url}/v1")("Hi")


@pytest.mark.parametrize(
    ("message", "is_about_the_path"),
    [("Not Found", True), ("", True), ("The model 'm' does not exist", False), ("No such deployment", False)],
)
@pytest.mark.parametrize("api", ["openai-chat", "openai-responses"])
def test_a_server_without_the_path_of_the_dialect(wire_server: WireServer, api, message, is_about_the_path):
    wire_server.answer(status("404 Not Found", {"detail": message}))
    with pytest.raises(ServerError) as failure:
        Chat("m", url=f"{wire_server.url}/v1", api=api)("Hi")
    assert str(failure.value).endswith("in a notebook %backend url URL --api NAME") is is_about_the_path
