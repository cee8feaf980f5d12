"""Anthropic's API on real sockets: keys, answers, pauses, failures."""

from __future__ import annotations

import json
from typing import Any

import pytest
from wire_server import CHUNKED, LAST_CHUNK, WireServer, chunk, received, sse, status

from nb_backend import BackendError, Chat, RawResponse
from nb_backend.errors import AuthError, RateLimitError, ServerError
from nb_backend.providers import retry
from nb_backend.providers.anthropic_api import AnthropicApi
from nb_backend.providers.anthropic_reader import MAX_PARTS

USER = [{"role": "user", "content": "Hi"}]
SEARCH = [
    {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {"query": "news"}},
    {"type": "web_search_tool_result", "tool_use_id": "srv", "content": [{"url": "https://a", "title": "A"}]},
]


def start(**usage: int) -> dict[str, Any]:
    usage = {"input_tokens": 5, "output_tokens": 1, **usage}
    return {"type": "message_start", "message": {"model": "claude-x", "content": [], "usage": usage}}


def text(index: int, *pieces: str) -> list[dict[str, Any]]:
    block = {"type": "text", "text": ""}
    deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def whole(index: int, block: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        {"type": "content_block_stop", "index": index},
    ]


def stop(reason: str = "end_turn", **usage: int) -> list[dict[str, Any]]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return [{"type": "message_delta", "delta": delta, "usage": {"output_tokens": 7, **usage}}, {"type": "message_stop"}]


def answer(*events: dict[str, Any], end: bytes = LAST_CHUNK) -> bytes:
    return CHUNKED + chunk(sse(*events)) + end


HELLO = answer(start(), *text(0, "Hel", "lo"), *stop())
PAUSED = answer(start(), *text(0, "Let me look. "), *whole(1, SEARCH[0]), *whole(2, SEARCH[1]), *stop("pause_turn"))
RESUMED = answer(start(cache_read_input_tokens=3), *text(0, "The news ", "are good."), *stop())


def api(server: WireServer, path: str = "/v1", **options: Any) -> type[AnthropicApi]:
    return type("Api", (AnthropicApi,), {"url": server.url + path, **options})


async def events_of(server: WireServer, *, key: str | None = None, **options: Any) -> list[RawResponse]:
    return [event async for event in api(server, **options).create_async_generator("claude-x", USER, None, key)]


# --- keys and addresses


async def test_the_key_and_the_version_are_headers(wire_server):
    wire_server.answer(HELLO)
    await events_of(wire_server, key="sk-ant-api-1")
    (request,) = wire_server.requests
    assert request.path == "/v1/messages"
    assert request.header("x-api-key") == "sk-ant-api-1"
    assert request.header("anthropic-version") == "2023-06-01"
    assert request.header("Authorization") is None
    assert b"sk-ant" not in request.body


async def test_a_token_of_a_login_is_a_bearer_token(wire_server):
    wire_server.answer(HELLO)
    await events_of(wire_server, key="sk-ant-oat01-1", headers={"anthropic-version": "2099-01-01"})
    (request,) = wire_server.requests
    assert request.header("Authorization") == "Bearer sk-ant-oat01-1"
    assert request.header("x-api-key") is None
    assert request.header("anthropic-version") == "2099-01-01"


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://api.anthropic.com", "https://api.anthropic.com/v1"),
        ("https://api.anthropic.com/v1", "https://api.anthropic.com/v1"),
        ("https://api.anthropic.com/v1/messages", "https://api.anthropic.com/v1"),
        ("https://api.deepseek.com/anthropic", "https://api.deepseek.com/anthropic/v1"),
        ("https://api.deepseek.com/anthropic/v1/messages", "https://api.deepseek.com/anthropic/v1"),
        (
            "https://n.services.ai.azure.com/anthropic/v1/messages?a=b",
            "https://n.services.ai.azure.com/anthropic/v1?a=b",
        ),
        ("http://localhost:1/v1/messages", "http://localhost:1/v1"),
        ("http://localhost:1", "http://localhost:1/v1"),
        ("http://localhost:1/", "http://localhost:1/v1"),
        ("http://localhost:1/gate", "http://localhost:1/gate/v1"),
        ("http://localhost:1/gate/?a=b", "http://localhost:1/gate/v1?a=b"),
        ("http://localhost:1/gate/v1beta", "http://localhost:1/gate/v1beta"),
    ],
)
def test_the_url_gets_its_version_and_loses_the_path_of_the_call(url, base):
    assert AnthropicApi.base_url(url) == base
    assert AnthropicApi.base_url(base) == base


async def test_without_a_url_nothing_is_sent():
    with pytest.raises(ValueError, match="AnthropicApi needs a url, like https"):
        await anext(AnthropicApi.create_async_generator("m", USER))


# --- answers


async def test_the_events_of_an_answer(wire_server):
    wire_server.answer(HELLO)
    events = await events_of(wire_server)
    assert [event.type for event in events] == ["provider", "usage", "content", "content", "usage", "finish"]
    assert events[0].provider == {"name": "127.0.0.1", "label": "127.0.0.1", "url": api(wire_server).url} | {
        "model": "claude-x"
    }
    assert events[-1].finish == {"reason": "end_turn"}


async def test_a_chat(wire_server):
    wire_server.answer(HELLO)
    chat = Chat("claude-x", url=f"{wire_server.url}/v1/messages")
    answered = await chat.ask("Hi")
    assert (answered.text, answered.complete, answered.model) == ("Hello", True, "claude-x")
    assert (answered.input_tokens, answered.output_tokens) == (5, 7)
    await chat.ask("Again")
    assert [message["role"] for message in wire_server.requests[1].json["messages"]] == ["user", "assistant", "user"]


async def test_an_answer_that_is_not_streamed(wire_server):
    content = [{"type": "text", "text": "Hello"}, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}]
    message = {"type": "message", "model": "m", "content": content, "stop_reason": "tool_use"}
    wire_server.answer(status("200 OK", {**message, "usage": {"input_tokens": 1, "output_tokens": 2}}))
    answered = await Chat("m", url=f"{wire_server.url}/v1/messages").ask("Hi", stream=False)
    assert (answered.text, answered.complete, answered.tokens) == ("Hello", True, 2)
    assert [(call.name, call.arguments) for call in answered.tool_calls] == [("f", {"a": 1})]
    assert wire_server.requests[0].header("Accept") == "application/json"


@pytest.mark.parametrize("end", ["close", "stall"])
async def test_it_ends_at_its_stop_reason(wire_server, monkeypatch, end):
    monkeypatch.setattr("nb_backend.providers.base.FINISH_SECONDS", 0.05)
    wire_server.answer(CHUNKED + chunk(sse(start(), *text(0, "Hello"), *stop())), end=end)
    answered = await Chat("m", url=f"{wire_server.url}/v1/messages").ask("Hi")
    assert (answered.text, answered.complete) == ("Hello", True)


@pytest.mark.parametrize("last", [[], [{"type": "message_stop"}]], ids=["nothing", "message_stop"])
async def test_an_answer_without_a_stop_reason_is_not_whole(wire_server, last):
    wire_server.answer(answer(start(), *text(0, "Hel"), *last))
    answered = await Chat("m", url=f"{wire_server.url}/v1/messages").ask("Hi")
    assert (answered.text, answered.complete) == ("Hel", False)
    assert "the server closed the stream without a finish reason" in answered.summary


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("max_tokens", "cut off at the token limit"),
        ("model_context_window_exceeded", "cut off at the token limit (model_context_window_exceeded)"),
        ("refusal", "stopped by a content filter (refusal)"),
        ("something_new", "ended by the server (something_new)"),
    ],
)
async def test_stop_reasons_that_cut_an_answer(wire_server, reason, words):
    wire_server.answer(answer(start(), *text(0, "Hel"), *stop(reason)))
    answered = await Chat("m", url=f"{wire_server.url}/v1/messages").ask("Hi")
    assert (answered.text, answered.complete) == ("Hel", False)
    assert answered.summary.startswith(words)


# --- pauses


async def test_a_pause_is_continued_as_one_answer(wire_server):
    wire_server.answer(PAUSED)
    wire_server.answer(RESUMED)
    events = await events_of(wire_server, key="sk-ant-api-1")
    assert "".join(map(str, events)) == "Let me look. The news are good."
    assert [event.type for event in events].count("finish") == 1
    assert events[-1].finish == {"reason": "end_turn"}
    usages = [event.usage for event in events if event.type == "usage"]
    assert usages[-1] == {"input_tokens": 10, "output_tokens": 14, "cache_read_input_tokens": 3}
    first, second = wire_server.requests
    part = [{"type": "text", "text": "Let me look. "}, *SEARCH]
    assert second.json == first.json | {"messages": [*first.json["messages"], {"role": "assistant", "content": part}]}
    assert second.header("x-api-key") == "sk-ant-api-1"
    (state,) = [event.state for event in events if event.type == "state"]
    assert state == [*part, {"type": "text", "text": "The news are good."}]


async def test_a_chat_goes_on_after_several_pauses(wire_server):
    for _ in range(2):
        wire_server.answer(PAUSED)
    wire_server.answer(RESUMED)
    answered = await Chat("claude-x", url=f"{wire_server.url}/v1/messages").ask("Hi")
    assert answered.text == "Let me look. Let me look. The news are good."
    assert answered.complete
    assert (answered.input_tokens, answered.output_tokens, answered.cached_tokens) == (18, 21, 3)
    assert [source.url for source in answered.sources] == ["https://a"]
    turns = [request.json["messages"] for request in wire_server.requests]
    assert [len(one) for one in turns] == [1, 2, 2]
    assert len(turns[2][1]["content"]) == 6


async def test_a_pause_after_a_space_or_after_nothing(wire_server):
    wire_server.answer(answer(start(), *text(0, "Let me look. "), *stop("pause_turn")))
    wire_server.answer(answer(start(), *text(0, "Well. "), *stop("pause_turn")))
    wire_server.answer(HELLO)
    assert "".join(map(str, await events_of(wire_server))) == "Let me look. Well. Hello"
    contents = [request.json["messages"][-1]["content"] for request in wire_server.requests]
    assert [blocks[-1]["text"] for blocks in contents] == ["Hi", "Let me look.", "Well."]
    assert contents[2][0]["text"] == "Let me look. "
    wire_server.answer(answer(start(), *stop("pause_turn")))
    wire_server.answer(answer(start(), *stop("pause_turn")))
    assert (await events_of(wire_server))[-1].type == "finish"


async def test_the_container_of_the_turn_is_kept(wire_server):
    pause = stop("pause_turn")
    pause[0]["delta"]["container"] = {"id": "machine", "expires_at": "2026-01-01"}
    wire_server.answer(answer(start(), *whole(0, SEARCH[0]), *pause))
    wire_server.answer(HELLO)
    await events_of(wire_server)
    assert [request.json.get("container") for request in wire_server.requests] == [None, "machine"]


async def test_it_does_not_go_on_for_ever(wire_server):
    wire_server.answer(PAUSED)
    answered = await Chat("claude-x", url=f"{wire_server.url}/v1/messages").ask("Hi")
    assert len(wire_server.requests) == MAX_PARTS
    assert answered.finish_reason == "pause_turn"
    assert not answered.complete


FAILURES = {
    "refused": status(
        "400 Bad Request", {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}}
    ),
    "broken": CHUNKED + chunk(sse(start(), *text(0, "The news "))),
    "an error inside": answer(
        start(), *text(0, "The news "), {"type": "error", "error": {"type": "api_error", "message": "Oops"}}
    ),
    "a web page": status("200 OK", b"<html><title>Hello</title></html>"),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("through_chat", [False, True])
async def test_a_failure_of_a_later_part_keeps_all_text(wire_server, failure, through_chat):
    wire_server.answer(PAUSED)
    wire_server.answer(failure)
    if through_chat:
        stream: Any = Chat("claude-x", url=f"{wire_server.url}/v1/messages").stream("Hi")
    else:
        stream = api(wire_server).create_async_generator("claude-x", USER)
    events, error = await received(stream)
    said = "".join(map(str, events))
    assert isinstance(error, BackendError)
    assert said == error.partial == ("Let me look. The news " if b"The news" in failure else "Let me look. ")
    assert not any(event.type == "finish" for event in events)


async def test_an_overload_in_a_pause_is_waited_for(wire_server, monkeypatch):
    monkeypatch.setattr(retry, "_FIRST_DELAY", 0.01)
    wire_server.answer(PAUSED)
    wire_server.answer(status("529 Overloaded", {"type": "error", "error": {"type": "overloaded_error"}}))
    wire_server.answer(RESUMED)
    events = await events_of(wire_server)
    assert "".join(map(str, events)) == "Let me look. The news are good."
    bodies = [request.json for request in wire_server.requests]
    assert bodies[1] == bodies[2] != bodies[0]


# --- failures


def failure(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


REFUSALS = {
    "wrong key": ("401 Unauthorized", "authentication_error", "invalid x-api-key", AuthError, "set NB_BACKEND_API_KEY"),
    "no permission": ("403 Forbidden", "permission_error", "not for you", AuthError, "set NB_BACKEND_API_KEY"),
    "too large": ("413 Too Large", "request_too_large", "Request exceeds 32 MB", ServerError, "send less"),
    "an image": (
        *("400 Bad Request", "invalid_request_error", "messages.0.content.0: image input is not supported"),
        *(ServerError, "name a model that takes such attachments, or ask without them"),
    ),
}


@pytest.mark.parametrize(("line", "kind", "message", "expected", "hint"), REFUSALS.values(), ids=REFUSALS)
async def test_a_refusal_is_one_line_with_the_next_step(wire_server, line, kind, message, expected, hint):
    wire_server.answer(status(line, failure(kind, message)))
    with pytest.raises(expected, match=hint) as raised:
        await events_of(wire_server, key="sk-ant-api-1")
    assert f"({message})" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.code == kind


async def test_an_empty_account(wire_server):
    message = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade."
    wire_server.answer(status("400 Bad Request", failure("invalid_request_error", message)))
    with pytest.raises(ServerError, match="check your plan and balance") as raised:
        await events_of(wire_server)
    assert raised.value.no_credit
    assert len(wire_server.requests) == 1


async def test_a_rate_limit_says_when_to_ask_again(wire_server):
    wire_server.answer(status("429 Too Many", failure("rate_limit_error", "Slow down"), retry_after="90"))
    with pytest.raises(RateLimitError, match="ask again in 90 s") as raised:
        await events_of(wire_server)
    assert raised.value.retry_after == 90


async def test_an_unknown_model_names_those_that_are_close(wire_server):
    wire_server.answer(status("404 Not Found", failure("not_found_error", "model: claude-x"), Connection="close"))
    wire_server.answer(status("200 OK", {"data": [{"id": "claude-x-5"}], "has_more": False}, Connection="close"))
    with pytest.raises(ServerError, match=r"did you mean claude-x-5\?"):
        await events_of(wire_server)


@pytest.mark.parametrize("kind", ["overloaded_error", "api_error"])
async def test_an_error_before_the_text_is_waited_for(wire_server, monkeypatch, kind):
    monkeypatch.setattr(retry, "_FIRST_DELAY", 0.01)
    wire_server.answer(answer(start(), *text(0), failure(kind, "Overloaded")))
    wire_server.answer(HELLO)
    assert "".join(map(str, await events_of(wire_server))) == "Hello"


async def test_an_error_within_the_text_keeps_it(wire_server):
    wire_server.answer(answer(start(), *text(0, "Hel"), failure("overloaded_error", "Overloaded")))
    with pytest.raises(ServerError, match="Overloaded: ask again later") as raised:
        await events_of(wire_server)
    assert (raised.value.partial, raised.value.status) == ("Hel", 529)


async def test_no_key_is_in_the_error_of_a_server_that_repeats_it(wire_server):
    wire_server.answer(status("400 Bad Request", failure("invalid_request_error", "bad key sk-ant-secret-1")))
    with pytest.raises(BackendError) as raised:
        await events_of(wire_server, key="sk-ant-secret-1")
    assert "sk-ant-secret-1" not in str(raised.value)
    assert json.dumps(raised.value.args)
