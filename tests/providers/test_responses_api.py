"""ResponsesApi over sockets: what is sent where, what a model refuses, and what its errors say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_responses_reader import done, ended, message, text
from wire_server import WireServer, received, status

from nb_backend import Chat
from nb_backend.errors import AuthError, BackendError, ProtocolError, RateLimitError, ServerError
from nb_backend.providers.registry import provider_for
from nb_backend.providers.responses_api import ResponsesApi

QUESTION = [{"role": "user", "content": "Hi?"}]
THOUGHT = {"type": "reasoning", "id": "r0", "summary": [], "encrypted_content": "gAAA"}
SAID = message("Hello", item=1)
NO_ENCRYPTION = {"message": "Encrypted content is not supported with this model.", "param": "include", "code": None}
NO_SUMMARY = {
    "message": "Unsupported parameter: 'reasoning.summary' is not supported with this model.",
    "param": "reasoning.summary",
    "code": "unsupported_parameter",
}
NOT_VERIFIED = {
    "message": "Your organization must be verified to generate reasoning summaries. Please go to: https://a.example",
    "param": "reasoning.summary",
    "code": "unsupported_value",
}


def body(*events: dict[str, Any]) -> bytes:
    return b"".join(b"event: %s\ndata: %s\n\n" % (one["type"].encode(), json.dumps(one).encode()) for one in events)


def answer(*events: dict[str, Any]) -> bytes:
    return status("200 OK", body(*events))


HELLO = answer(text("Hel", 1), text("lo", 1), ended(SAID))


def refused(error: dict[str, Any], line: str = "400 Bad Request") -> bytes:
    return status(line, {"error": {"type": "invalid_request_error", **error}})


@pytest.fixture
def api(wire_server: WireServer) -> type[ResponsesApi]:
    return type("Api", (ResponsesApi,), {"url": f"{wire_server.url}/v1"})


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://gateway:8080", "http://gateway:8080/v1/responses"),
        ("http://gateway:8080/", "http://gateway:8080/v1/responses"),
        ("http://gateway:8080/api", "http://gateway:8080/api/responses"),
        ("http://gateway:8080/v1/responses", "http://gateway:8080/v1/responses"),
        ("http://gateway:8080/responses", "http://gateway:8080/responses"),
        ("https://api.groq.com", "https://api.groq.com/openai/v1/responses"),
        (
            "https://n.openai.azure.com/openai/v1?api-version=p",
            "https://n.openai.azure.com/openai/v1/responses?api-version=p",
        ),
    ],
)
def test_a_host_alone_is_asked_below_v1(url, asked):
    assert Chat("m", url=url, api="openai-responses").request("Hi").url == asked


async def ask(api: type[ResponsesApi], model: str = "m", **fields: Any) -> tuple[str, BackendError | None]:
    events, failure = await received(api.create_async_generator(model, QUESTION, **fields))
    return "".join(map(str, events)), failure


def sent(server: WireServer, *names: str) -> list[Any]:
    bodies = [request.json for request in server.requests if request.head.startswith("POST")]
    return [tuple(one.get(name, "-") for name in names) if len(names) > 1 else one.get(*names, "-") for one in bodies]


async def test_a_question_is_posted_below_the_url(wire_server, api):
    wire_server.answer(HELLO)
    assert await ask(api, api_key="sk-abcdefgh") == ("Hello", None)
    (request,) = wire_server.requests
    assert request.path == "/v1/responses"
    assert request.header("Authorization") == "Bearer sk-abcdefgh"
    assert request.header("Accept") == "text/event-stream"
    assert request.json["store"] is False


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/responses/", "/openai/v1/responses?api-version=preview"])
def test_the_address_of_the_call_names_the_dialect(path):
    provider = provider_for(f"http://server.example{path}")
    assert issubclass(provider, ResponsesApi)
    assert provider.address(provider.url, provider.path) == f"http://server.example{path.replace('s/', 's')}"


def test_no_other_url_is_asked_in_this_dialect():
    assert not issubclass(provider_for("http://server.example/v1"), ResponsesApi)
    assert issubclass(provider_for("http://server.example/v1", api="openai-responses"), ResponsesApi)


async def test_a_chat_sends_back_what_is_encrypted(wire_server, api):
    wire_server.answer(answer(done(THOUGHT), text("Hello", 1), ended(THOUGHT, SAID)))
    chat = Chat("m", url=f"{wire_server.url}/v1/responses")
    assert (await chat.ask("Hi?")).text == "Hello"
    await chat.ask("Again")
    assert sent(wire_server, "input")[1][1:3] == [THOUGHT, SAID]
    chat.messages = [{**one, "content": "Hallo"} if one["role"] == "assistant" else one for one in chat.messages]
    await chat.ask("Once more")
    assert THOUGHT not in sent(wire_server, "input")[2][:2]


class TestRefused:
    """What we ask for unasked is left out of the next request; each model is asked once too often."""

    async def test_encryption(self, wire_server, api):
        wire_server.answer(refused(NO_ENCRYPTION))
        wire_server.answer(HELLO)
        for _ in range(2):
            assert await ask(api) == ("Hello", None)
        ours = (["reasoning.encrypted_content"], {"summary": "auto"})
        assert sent(wire_server, "include", "reasoning") == [ours, ("-", "-"), ("-", "-")]
        await ask(api, "another")
        assert sent(wire_server, "include", "reasoning")[-1] == ours

    @pytest.mark.parametrize("error", [NO_SUMMARY, NOT_VERIFIED], ids=["unsupported", "not verified"])
    async def test_a_summary(self, wire_server, api, error):
        wire_server.answer(refused(error))
        wire_server.answer(HELLO)
        for _ in range(2):
            assert await ask(api, effort="low") == ("Hello", None)
        left = ["reasoning.encrypted_content"], {"effort": "low"}
        assert sent(wire_server, "include", "reasoning")[1:] == [left, left]

    async def test_both(self, wire_server, api):
        wire_server.answer(refused(NO_SUMMARY))
        wire_server.answer(refused(NO_ENCRYPTION))
        wire_server.answer(HELLO)
        assert await ask(api) == ("Hello", None)
        assert sent(wire_server, "include", "reasoning")[-1] == ("-", "-")

    @pytest.mark.parametrize("said", ["The request must include a question", "Invalid schema 'summary'"])
    async def test_other_refusals_change_nothing(self, wire_server, api, said):
        wire_server.answer(refused({"message": said, "param": "input"}))
        wire_server.answer(HELLO)
        assert said in str((await ask(api))[1])
        await ask(api)
        assert sent(wire_server, "include", "reasoning") == [(["reasoning.encrypted_content"], {"summary": "auto"})] * 2

    async def test_what_the_user_asks_for_is_not_left_out(self, wire_server, api):
        wire_server.answer(refused(NO_ENCRYPTION))
        _, failure = await ask(api, include=["file_search_call.results"], reasoning={"summary": "detailed"})
        assert "Encrypted content is not supported" in str(failure)
        assert len(sent(wire_server, "include")) == 1

    async def test_what_is_kept_from_the_service_stays_so(self, wire_server, api):
        wire_server.answer(refused({"message": "Unknown parameter: 'store'.", "param": "store"}))
        _, failure = await ask(api)
        assert isinstance(failure, ServerError)
        assert set(sent(wire_server, "store")) == {False}

    @pytest.mark.parametrize(
        "said",
        [
            "Reasoning input items can only be provided to a reasoning or computer use model. Remove reasoning items.",
            "The encrypted content gAAA could not be verified. Reason: organization_id did not match.",
        ],
    )
    async def test_reasoning_of_earlier_turns(self, wire_server, api, said):
        wire_server.answer(refused({"message": said, "code": "invalid_encrypted_content"}))
        wire_server.answer(HELLO)
        search = {"type": "web_search_call", "id": "w0", "status": "completed"}
        messages = [*QUESTION, {"role": "assistant", "content": "Hello", "state": [THOUGHT, search, SAID]}, *QUESTION]
        for _ in range(2):
            events, failure = await received(api.create_async_generator("m", messages))
            assert ("".join(map(str, events)), failure) == ("Hello", None)
        first, *others = sent(wire_server, "input")
        assert first[1:4] == [THOUGHT, search, SAID]
        plain = {key: value for key, value in SAID.items() if key != "id"}
        assert [items[1:2] for items in others] == [[plain], [plain]]
        assert [len(items) for items in others] == [3, 3]

    async def test_a_parameter_of_the_user_is_named_with_what_to_do(self, wire_server, api):
        said = "Unsupported parameter: 'temperature' is not supported with this model."
        wire_server.answer(refused({"message": said, "param": "temperature", "code": "unsupported_parameter"}))
        _, failure = await ask(api, temperature=0.2)
        assert str(failure).endswith(f"({said}): leave out temperature (-t), which this model does not take")
        assert len(wire_server.requests) == 1

    async def test_an_effort_is_named_with_what_to_do(self, wire_server, api):
        said = "Unsupported value: 'none' is not supported with the 'm' model. Supported values are: 'low' and 'high'."
        wire_server.answer(refused({"message": said, "param": "reasoning.effort", "code": "unsupported_value"}))
        _, failure = await ask(api, effort="none")
        assert str(failure).endswith(": choose another effort (--effort)")


class TestErrors:
    async def test_a_wrong_key(self, wire_server, api):
        said = "Incorrect API key provided: sk-abcdefgh."
        wire_server.answer(refused({"message": said, "code": "invalid_api_key"}, "401 Unauthorized"))
        _, failure = await ask(api, api_key="sk-abcdefgh")
        assert isinstance(failure, AuthError)
        assert "sk-abcdefgh" not in str(failure)

    async def test_an_unknown_model_names_those_that_are_close(self, wire_server, api):
        said = {"message": "The requested model 'gpt-5.4-mni' does not exist.", "code": "model_not_found"}
        wire_server.answer(refused(said, "404 Not Found"))
        wire_server.answer(status("200 OK", {"data": [{"id": "gpt-5.4-mini"}, {"id": "o3"}]}))
        _, failure = await ask(api, "gpt-5.4-mni")
        assert "gpt-5.4-mini" in str(failure)
        assert wire_server.requests[-1].path == "/v1/models"

    async def test_in_the_answer_before_any_text_is_retried(self, wire_server, api):
        error = {"type": "error", "code": "server_error", "message": "The server is overloaded", "param": None}
        wire_server.answer(answer(error))
        wire_server.answer(HELLO)
        assert await ask(api) == ("Hello", None)

    async def test_in_the_answer_keeps_the_text(self, wire_server, api):
        failed = ended(kind="failed", error={"code": "rate_limit_exceeded", "message": "Too many tokens"})
        wire_server.answer(answer(text("Hel"), failed))
        said, failure = await ask(api)
        assert isinstance(failure, RateLimitError)
        assert (said, failure.partial) == ("Hel", "Hel")

    async def test_an_answer_that_breaks_off_keeps_the_text_and_has_no_calls(self, wire_server, api):
        call = {"type": "function_call", "id": "i1", "call_id": "c1", "name": "look", "arguments": "{}"}
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"
        wire_server.answer(head + body(text("Hel"), done(call, 1)))
        events, failure = await received(api.create_async_generator("m", QUESTION))
        assert failure.partial == "Hel"
        assert "tool_calls" not in [event.type for event in events]

    async def test_another_dialect_is_named(self, wire_server, api):
        chunk = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "Hi"}}]}
        wire_server.answer(status("200 OK", b"data: %s\n\n" % json.dumps(chunk).encode()))
        said, failure = await ask(api)
        assert said == ""
        assert isinstance(failure, ProtocolError)
        assert "openai-chat" in str(failure)

    async def test_a_web_page_is_named(self, wire_server, api):
        wire_server.answer(status("200 OK", b"<html><title>Welcome</title></html>"))
        _, failure = await ask(api)
        assert "it sent the web page 'Welcome'" in str(failure)


async def test_an_answer_without_a_stream(wire_server, api):
    wire_server.answer(status("200 OK", ended(message("Hello"))["response"]))
    assert await ask(api, stream=False) == ("Hello", None)
    assert wire_server.requests[0].header("Accept") == "application/json"


async def test_its_models(wire_server, api):
    wire_server.answer(status("200 OK", {"data": [{"id": "gpt-5.4"}, {"id": "o3"}]}))
    assert [*map(str, await api.get_models())] == ["gpt-5.4", "o3"]
    assert wire_server.requests[0].path == "/v1/models"


@pytest.mark.parametrize(("fields", "reason"), [({}, "max_output_tokens"), ({"incomplete_details": None}, "completed")])
async def test_a_limit_that_was_reached_is_seen_if_the_server_never_says_so(wire_server, api, fields, reason):
    wire_server.answer(answer(ended(message("Hello"), **fields)))
    events, _ = await received(api.create_async_generator("m", QUESTION, max_tokens=2))
    assert events[-1].finish == {"reason": reason}
