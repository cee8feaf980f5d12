"""OpenAIApi: the same events from another dialect."""

from __future__ import annotations

import json

import pytest
from wire_server import CHUNKED, LAST_CHUNK, UNTIL_CLOSE, WireServer, chunk, received, status

from nb_backend import OpenAIApi
from nb_backend.errors import AuthError, BackendError, ConnectionFailed, ProtocolError, ServerError

QUESTION = [{"role": "system", "content": "Be short"}, {"role": "user", "content": "Hi?"}]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
URI = "data:image/png;base64,iVBORw0KGgoAAAAAAAAAAA=="


@pytest.fixture
def api(wire_server: WireServer) -> type[OpenAIApi]:
    return type("Api", (OpenAIApi,), {"url": f"{wire_server.url}/v1"})


async def ask(api: type[OpenAIApi], **options) -> tuple[list[dict], BackendError | None]:
    events, error = await received(api.create_async_generator("m", QUESTION, **options))
    return [event.get_dict() for event in events], error


def lines(*objects: object) -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(item).encode() for item in objects)


def delta(finish_reason: str | None = None, index: int = 0, **fields) -> dict:
    return {"choices": [{"index": index, "delta": fields, "finish_reason": finish_reason}]}


def tool(index: int | None, id_: str | None = None, **function) -> dict:
    return delta(tool_calls=[{"index": index, "id": id_, "function": function}])


def calls(*pairs: tuple[str | None, str, str]) -> dict:
    made = [{"id": id_, "type": "function", "function": {"name": n, "arguments": a}} for id_, n, a in pairs]
    return {"type": "tool_calls", "tool_calls": made}


FINISH = {"type": "finish", "finish": {"reason": "stop"}}
USAGE = {"prompt_tokens": 5, "completion_tokens": 2}
HI = {"type": "content", "content": "Hi"}


@pytest.mark.parametrize(
    ("chunks", "events"),
    [
        ([delta(role="assistant", content=""), delta(content="Hi"), delta("stop")], [HI, FINISH]),
        ([delta(reasoning_content="Hm"), delta(content="Hi")], [{"type": "reasoning", "token": "Hm"}, HI]),
        ([delta(reasoning="Hm", reasoning_content=None)], [{"type": "reasoning", "token": "Hm"}]),
        ([delta(refusal="No")], [{"type": "content", "content": "No"}]),
        ([delta(content="Hi"), delta(index=1, content="Ho")], [HI]),
        (
            [delta(content="Hi"), {"choices": [], "usage": USAGE}],
            [HI, {"type": "usage", "usage": USAGE, "model": "", "provider": "127.0.0.1"}],
        ),
        (
            [
                tool(0, "a", name="f", arguments=""),
                tool(0, arguments='{"x"'),
                tool(0, arguments=": 1}"),
                delta("tool_calls"),
            ],
            [calls(("a", "f", '{"x": 1}')), {"type": "finish", "finish": {"reason": "tool_calls"}}],
        ),
        (
            [tool(0, "a", name="f", arguments="{"), tool(1, "b", name="g", arguments="[]"), tool(0, arguments="}")],
            [calls(("a", "f", "{}"), ("b", "g", "[]"))],
        ),
        (
            [tool(None, "a", name="f", arguments={"x": 1}), tool(None, "b", name="g"), tool(None, arguments="{}")],
            [calls(("a", "f", '{"x":1}'), ("b", "g", "{}"))],
        ),
        ([{"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}], [HI, FINISH]),
        ([{"choices": 7, "usage": 7}, {"choices": [7, {"delta": 7}]}, delta(tool_calls=7, content="Hi")], [HI]),
    ],
)
async def test_the_events(api, wire_server, chunks, events):
    wire_server.answer(status("200 OK", lines(*chunks) + b"data: [DONE]\n\n"))
    assert await ask(api) == (events, None)


async def test_a_change_of_the_model_is_an_event(api, wire_server):
    chunks = [
        {"model": "m1", **delta(content="a")},
        {"model": "m1", **delta(content="b")},
        {"model": "m2", "choices": []},
    ]
    wire_server.answer(status("200 OK", lines(*chunks)))
    events, error = await ask(api)
    who = {"name": "127.0.0.1", "label": "127.0.0.1", "url": api.url}
    assert error is None
    assert [event["type"] for event in events] == ["provider", "content", "content", "provider"]
    assert [event["provider"] for event in events[::3]] == [{**who, "model": "m1"}, {**who, "model": "m2"}]


async def test_an_answer_that_is_not_streamed(api, wire_server):
    message = {
        "role": "assistant",
        "content": "Hi",
        "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}],
    }
    wire_server.answer(status("200 OK", {"choices": [{"message": message, "finish_reason": "stop"}], "usage": USAGE}))
    events, _ = await ask(api)
    assert events[:3] == [HI, calls(("a", "f", "{}")), FINISH]


@pytest.mark.parametrize(
    ("answer", "kind", "said", "partial"),
    [
        (
            status("200 OK", lines(delta(content="Hi"), {"error": {"message": "m", "code": 500}})),
            ServerError,
            "m",
            "Hi",
        ),
        (status("200 OK", lines({"error": {"message": "m", "code": "invalid_api_key"}})), AuthError, "m: set", ""),
        (status("200 OK", lines({"object": "error", "message": "m", "code": 400})), ServerError, "m", ""),
        (status("401 No", {"error": {"message": "m"}}), AuthError, "401 (m): set", ""),
        (CHUNKED + chunk(lines(delta(content="Hi"))), ConnectionFailed, "broke", "Hi"),
        (CHUNKED + chunk(lines(tool(0, "a", name="f", arguments="{"))), ConnectionFailed, "broke", ""),
        (status("200 OK", b"<html>"), ProtocolError, "'<html>'", ""),
        (status("200 OK", lines({"choices": []})), ProtocolError, "did not answer as a backend", ""),
    ],
)
async def test_failures(api, wire_server, answer, kind, said, partial):
    wire_server.answer(answer)
    events, error = await ask(api)
    assert len(wire_server.requests) == 1
    assert isinstance(error, kind)
    assert said in str(error)
    assert error.partial == partial
    assert not [event for event in events if event["type"] == "tool_calls"]


async def test_the_end_mark_ends_the_answer_though_the_connection_stays(api, wire_server):
    wire_server.answer(UNTIL_CLOSE + lines(delta(content="Hi")) + b"data: [DONE]\n\n", end="stall")
    assert await ask(api) == ([HI], None)


async def test_the_request(api, wire_server):
    wire_server.answer(CHUNKED + chunk(lines(delta(content="Hi"))) + LAST_CHUNK)
    await ask(api, media=[(PNG, "a.png")], api_key="sk-123", logit_bias={50256: -100}, stream_options=None)
    (request,) = wire_server.requests
    assert request.path == "/v1/chat/completions"
    assert request.header("Authorization") == "Bearer sk-123"
    image = {"type": "image_url", "image_url": {"url": URI}}
    assert request.json == {
        "model": "m",
        "messages": [
            QUESTION[0],
            {"role": "user", "content": [image, {"type": "text", "text": "Hi?"}]},
        ],
        "stream": True,
        "logit_bias": {"50256": -100},  # keys are strings in JSON
    }
    assert QUESTION[1] == {"role": "user", "content": "Hi?"}


async def test_images_need_a_message_of_the_user(api):
    with pytest.raises(ValueError, match="attachments need a message with the role 'user'"):
        await anext(api.create_async_generator("m", [{"role": "system", "content": ""}], media=[(PNG, None)]))


async def test_without_a_url_nothing_is_sent():
    with pytest.raises(ValueError, match="OpenAIApi needs a url"):
        await anext(OpenAIApi.create_async_generator("m", QUESTION))


async def test_the_models(mocked, monkeypatch):
    monkeypatch.setenv("NB_BACKEND_URL", "http://server.invalid/v1")
    mocked.get("http://server.invalid/v1/models", payload={"data": [{"id": "m1", "owned_by": "me"}, {"id": "m2"}]})
    assert [(m, m.provider) for m in await OpenAIApi.get_models()] == [("m1", "me"), ("m2", "")]
    mocked.get("http://server.invalid/v1/models", payload={"error": "no"})
    with pytest.raises(ProtocolError):
        await OpenAIApi.get_models()
