"""What a server of OpenAI's dialect does not accept is left out, added or explained; only one request fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
from aiohttp import web
from serving import serving_app
from wire_server import WireServer, status

from nb_backend import Chat, OpenAIApi, map
from nb_backend.errors import BackendError, ServerError
from nb_backend.providers import base
from nb_backend.transport.refusal import OTHER_MODEL

CHUNK = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}
ANSWER = status("200 OK", b"data: %s\n\ndata: [DONE]\n\n" % json.dumps(CHUNK).encode())
WHOLE = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}


def refused(message: object, line: str = "400 Bad Request") -> bytes:
    return status(line, {"error": message if isinstance(message, dict) else {"message": message}})


def models(*names: str) -> bytes:
    return status("200 OK", {"data": [{"id": name} for name in names]})


def chat(server: WireServer, model: str | None = "m") -> Chat:
    return Chat(model, url=f"{server.url}/v1")


def sent(server: WireServer, name: str) -> list[object]:
    return [request.json.get(name, "-") for request in server.requests if request.head.startswith("POST")]


class StrictServer:
    """A server that refuses ``stream_options`` and a missing model, once two requests are there."""

    def __init__(self) -> None:
        self.refused = 0
        self.two_are_there = asyncio.Event()
        self.url = ""

    async def complete(self, request: web.Request) -> web.Response:
        body = await request.json()
        if "stream_options" in body or "model" not in body:
            self.refused += 1
            if self.refused >= 2:
                self.two_are_there.set()
            await self.two_are_there.wait()
            message = "unknown field stream_options" if "stream_options" in body else "name a model"
            return web.json_response({"error": {"message": message}}, status=422)
        return web.Response(body=b"data: %s\n\ndata: [DONE]\n\n" % json.dumps(CHUNK).encode())

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response([{"id": "only"}])


@pytest.fixture
def strict_server() -> Iterator[StrictServer]:
    server, app = StrictServer(), web.Application()
    app.router.add_post("/v1/chat/completions", server.complete)
    app.router.add_get("/v1/models", server.models)
    with serving_app(app, shutdown_timeout=1) as url:
        server.url = f"{url}/v1"
        yield server


# -- stream_options


@pytest.mark.parametrize(
    "refusal",
    [
        refused("Unrecognized request argument supplied: stream_options"),
        refused({"message": "Invalid request", "param": "stream_options"}),
        status("400 Bad Request", {"message": "Bad Request", "errors": [{"field": "stream_options", "code": "odd"}]}),
        refused("stream_options is not permitted", "422 Unprocessable Entity"),
        refused("Extra inputs are not permitted", "422 Unprocessable Entity"),
        refused("Additional properties are not allowed ('stream_options' was unexpected)"),
        refused("unknown field `include_usage`"),
        refused("create() got an unexpected keyword argument 'stream_options'", "500 Internal Server Error"),
        refused("Invalid field: streamOptions"),
        status(
            "422 Unprocessable Entity",
            {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs"}]},
        ),
        status(
            "422 Unprocessable Entity",
            {"detail": [{"loc": ["body", name], "msg": "x" * 200} for name in ("messages", "n", "stream_options")]},
        ),
        status("200 OK", b'data: {"error": {"message": "stream_options: not supported", "code": 400}}\n\n'),
    ],
)
def test_a_server_that_refuses_stream_options_is_asked_without_them_from_then_on(wire_server, refusal):
    wire_server.answer(refusal)
    wire_server.answer(ANSWER)
    assert chat(wire_server)("a").text == "Hi"
    assert chat(wire_server)("b").text == "Hi"
    assert sent(wire_server, "stream_options") == [{"include_usage": True}, "-", "-"]
    assert chat(wire_server)("c", stream_options={"include_usage": False}).text == "Hi"
    assert sent(wire_server, "stream_options")[-1] == {"include_usage": False}  # what the user sets, is sent


@pytest.mark.parametrize(
    "refusal",
    [
        refused("temperature: Extra inputs are not permitted"),
        refused("The model does not exist", "404 Not Found"),
        refused("Unknown parameter: 'seed'"),
        refused("bad request"),
        refused({"message": "API key not valid", "status": "INVALID_ARGUMENT"}),
        refused({"message": "invalid x-api-key", "type": "authentication_error"}),
        refused("Unknown field, as the account has no credit: insufficient_quota"),
    ],
)
def test_another_refusal_is_not_taken_for_it(wire_server, refusal):
    wire_server.answer(refusal)
    with pytest.raises(BackendError):
        chat(wire_server)("a", temperature=2, seed=1)
    assert sent(wire_server, "seed") == [1]


def test_an_unnamed_field_that_was_another_one_does_not_cost_the_count_of_tokens(wire_server):
    unnamed = refused("Extra inputs are not permitted", "422 Unprocessable Entity")
    for answer in (unnamed, unnamed, ANSWER):
        wire_server.answer(answer)
    with pytest.raises(ServerError):
        chat(wire_server)("a", odd=1)
    chat(wire_server)("b")
    assert sent(wire_server, "stream_options") == [{"include_usage": True}, "-", {"include_usage": True}]


def test_many_prompts_of_a_strict_server_are_all_answered(wire_server):
    wire_server.answer(refused("unknown field stream_options"))
    wire_server.answer(ANSWER)
    answers = map(["a", "b", "c"], model="m", url=f"{wire_server.url}/v1", concurrency=1, progress=False)
    assert [answer.text for answer in answers] == ["Hi"] * 3
    assert len(wire_server.requests) == 4


@pytest.mark.parametrize("model", ["m", None])
def test_prompts_that_were_under_way_when_the_first_was_refused_are_sent_again(strict_server, model):
    answers = map([*"abcdefgh"], model=model, url=strict_server.url, concurrency=8, progress=False)
    assert [str(answer) for answer in answers] == ["Hi"] * 8
    assert strict_server.refused >= 2  # they were sent at the same time


# -- the limit of tokens

USE_THE_OTHER = {
    "message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'"
    " instead.",
    "type": "invalid_request_error",
    "param": "max_tokens",
    "code": "unsupported_parameter",
}
FORBIDDEN = {"detail": [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"], "msg": "Extra inputs"}]}


def test_a_model_that_calls_the_limit_max_completion_tokens_is_asked_so_from_then_on(wire_server):
    for answer in (refused(USE_THE_OTHER), ANSWER, ANSWER, ANSWER):
        wire_server.answer(answer)
    assert chat(wire_server)("a", max_tokens=5).text == "Hi"
    assert chat(wire_server)("b", max_tokens=6).text == "Hi"
    assert sent(wire_server, "max_tokens") == [5, "-", "-"]
    assert sent(wire_server, "max_completion_tokens") == ["-", 5, 6]
    assert chat(wire_server, "another")("c", max_tokens=7).text == "Hi"
    assert sent(wire_server, "max_tokens")[-1] == 7  # of the model that refused it alone


@pytest.mark.parametrize(
    "refusal",
    [
        status("422 Unprocessable Entity", FORBIDDEN),
        refused("Unrecognized request argument supplied: max_completion_tokens"),
    ],
)
def test_a_server_that_knows_max_tokens_only_is_asked_so(wire_server, refusal):
    wire_server.answer(refusal)
    wire_server.answer(ANSWER)
    assert chat(wire_server)("a", max_completion_tokens=5).text == "Hi"
    assert sent(wire_server, "max_tokens") == ["-", 5]


def test_a_server_that_refuses_both_names_is_asked_twice(wire_server):
    wire_server.answer(refused(USE_THE_OTHER))
    for _ in range(8):
        wire_server.answer(refused("Unknown parameter: 'max_completion_tokens'"))
    with pytest.raises(ServerError, match="Unknown parameter: 'max_completion_tokens'"):
        chat(wire_server)("a", max_tokens=5)
    assert sent(wire_server, "max_completion_tokens") == ["-", 5]


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens is too large: 100000. This model supports at most 16384 completion tokens",
        "Could not finish the message because max_tokens or model output limit was reached",
        "max_tokens must be at least 1",
    ],
)
def test_a_limit_that_is_too_large_is_not_sent_under_another_name(wire_server, message):
    wire_server.answer(refused({"message": message, "param": "max_tokens"}))
    with pytest.raises(ServerError):
        chat(wire_server)("a", max_tokens=100_000)
    assert len(wire_server.requests) == 1


# -- parameters


@pytest.mark.parametrize(
    ("error", "given", "advice"),
    [
        (
            {"message": "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1)"},
            {"temperature": 0.2},
            "leave out temperature (-t), which this model does not take",
        ),
        (
            {"message": "Unsupported parameter", "param": "seed", "code": "unsupported_parameter"},
            {"seed": 1, "temperature": 1},
            "leave out seed, which this model does not take",
        ),
        (
            {"message": "Unrecognized request argument supplied: reasoning_effort"},
            {"effort": "low"},
            "leave out effort (--effort), which this model does not take",
        ),
        (
            {
                "message": "Unsupported value: 'reasoning_effort' does not support 'none' with this model. Supported"
                " values are: 'low', 'medium', and 'high'.",
                "param": "reasoning_effort",
            },
            {"effort": "none"},
            "choose another effort (--effort)",
        ),
        (
            {"message": "temperature and top_p cannot both be specified"},
            {"top_p": 1, "temperature": 1},
            "leave out temperature (-t), which this model does not take",
        ),
        ({"message": "temperature must be below 2"}, {"temperature": 3}, "change the prompt or its options"),
        ({"message": "Images are not supported by this model"}, {"seed": 3}, OTHER_MODEL),
    ],
)
def test_a_parameter_that_a_model_does_not_take_is_named_with_what_to_do(wire_server, error, given, advice):
    wire_server.answer(refused(error))
    with pytest.raises(ServerError) as failure:
        chat(wire_server)("a", **given)
    assert str(failure.value).endswith(f": {advice}")
    assert len(str(failure.value).splitlines()) == 1
    assert len(wire_server.requests) == 1


# -- fields


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"stream_options": None}, {"model", "messages", "stream"}),
        ({"stream": False}, {"model", "messages", "stream"}),
        ({"stream": None}, {"model", "messages"}),
        ({"temperature": None, "seed": 0}, {"model", "messages", "stream", "stream_options", "seed"}),
        (
            {"extra_body": {"timeout": 5, "x": None}, "y": 1},
            {"model", "messages", "stream", "stream_options", "timeout", "x", "y"},
        ),
        ({"extra_body": None}, {"model", "messages", "stream", "stream_options"}),
    ],
)
def test_a_field_that_is_none_is_left_out_and_extra_body_is_sent_as_it_is(wire_server, given, names):
    wire_server.answer(ANSWER)
    asking = chat(wire_server)
    assert asking.request("a", **given).body().keys() == names
    asking("a", **given)
    assert wire_server.requests[0].json.keys() == names


def test_extra_body_has_to_be_a_dict(wire_server):
    with pytest.raises(TypeError, match="extra_body has to be a dict of fields, not list"):
        chat(wire_server)("a", extra_body=[1])
    assert wire_server.requests == []


def test_an_answer_that_is_not_streamed_is_asked_for_as_json(wire_server):
    wire_server.answer(status("200 OK", WHOLE))
    assert chat(wire_server)("a", stream=False).text == "Hi"
    (request,) = wire_server.requests
    assert (request.header("Accept"), request.json["stream"]) == ("application/json", False)


@pytest.mark.parametrize(
    "message",
    [
        "Your organization must be verified to stream this model.",
        "Streaming is not supported for this model",
        "stream must be false",
        "This deployment doesn't support streaming",
        "Bad value",
    ],
)
def test_a_server_that_does_not_stream_is_named_with_the_way_to_ask_it(wire_server, message):
    wire_server.answer(refused({"message": message, "param": "stream"}))
    with pytest.raises(BackendError) as failure:
        chat(wire_server)("a")
    assert str(failure.value).endswith(": turn streaming off with stream=False, in a cell with -p stream=false")
    assert message.rstrip(".") in str(failure.value)
    assert len(wire_server.requests) == 1


# -- no model named


@pytest.mark.parametrize("path", ["", "/v1"])
def test_a_model_that_is_not_named_is_not_sent(wire_server, path):
    wire_server.answer(ANSWER if path else status("200 OK", b'{"type": "content", "content": "Hi"}\n'))
    assert "model" not in Chat(" ", url=f"{wire_server.url}{path}").request("a").body()
    asking = Chat(url=f"{wire_server.url}{path}")
    assert "model" not in asking.request("a").body()
    assert asking("a").text == "Hi"
    (request,) = wire_server.requests
    assert "model" not in request.json


@pytest.mark.parametrize("line", ["400 Bad Request", "404 Not Found", "422 Unprocessable Entity"])
def test_the_only_model_of_a_server_that_wants_a_name_is_asked(wire_server, line):
    for answer in (refused("you must provide a model", line), models("only"), ANSWER):
        wire_server.answer(answer)
    assert chat(wire_server, None)("a").text == "Hi"
    assert chat(wire_server, None)("b").text == "Hi"
    assert sent(wire_server, "model") == ["-", "only", "only"]
    assert chat(wire_server, "mine")("c").text == "Hi"
    assert sent(wire_server, "model")[-1] == "mine"


def test_a_server_with_several_models_wants_the_user_to_name_one(wire_server):
    wire_server.answer(refused("you must provide a model parameter"))
    wire_server.answer(models("a", "b", "c", "d", "e", "f"))
    with pytest.raises(
        ServerError, match=r"\(you must provide a model parameter\): name a model, one of a, b, c, d, e, …$"
    ):
        chat(wire_server, None)("Hi")
    assert sent(wire_server, "model") == ["-"]


def test_a_server_without_a_list_wants_the_user_to_name_a_model(wire_server):
    wire_server.answer(refused("model is required"))
    wire_server.answer(status("404 Not Found"))
    with pytest.raises(ServerError, match=r"\(model is required\): name a model$"):
        chat(wire_server, None)("Hi")


@pytest.mark.parametrize(
    ("message", "wants_one"),
    [
        ("The model `` does not exist", True),
        ("body.model: Field required", True),
        ("Invalid model name passed in model=None", True),
        ("No model was specified", True),
        ("KeyError: 'model'", True),
        ("", True),
        ("This model's maximum context length is 4096 tokens", False),
        ("temperature must be below 2", False),
        ("no route for this path", False),
    ],
)
def test_only_a_refusal_about_the_model_asks_for_one(wire_server, message, wants_one):
    wire_server.answer(refused(message) if message else status("400 Bad Request"))
    wire_server.answer(models("a", "b"))
    with pytest.raises(ServerError) as failure:
        chat(wire_server, None)("Hi")
    assert str(failure.value).endswith("name a model, one of a, b") is wants_one


@pytest.mark.parametrize("line", ["429 Too Many Requests", "503 Service Unavailable", "401 Unauthorized"])
def test_a_failure_that_is_not_about_the_model_does_not_ask_for_the_list(wire_server, line):
    wire_server.answer(status(line, {"error": {"message": "no"}}, retry_after="99"))
    wire_server.answer(models("a", "b"))
    with pytest.raises(BackendError):
        chat(wire_server, None)("Hi")
    assert [request.head.split()[0] for request in wire_server.requests] == ["POST"]


def test_a_model_that_the_server_has_replaced_is_looked_up_again(wire_server):
    gone = refused("no such model", "404 Not Found")
    for answer in (refused("no model"), models("old"), ANSWER, gone, models("new"), ANSWER):
        wire_server.answer(answer)
    asking = chat(wire_server, None)
    asking("a")
    assert asking("b").text == "Hi"
    assert sent(wire_server, "model") == ["-", "old", "old", "new"]


def test_a_server_that_refuses_whatever_it_lists_is_not_asked_for_ever(wire_server):
    for number in range(20):
        wire_server.answer(refused("no such model"))
        wire_server.answer(models(f"model-{number}"))
    with pytest.raises(ServerError):
        chat(wire_server, None)("a")
    assert len(sent(wire_server, "model")) == 1 + base.MAX_LESSONS


def test_names_in_an_error_are_short_and_without_the_key(wire_server):
    wire_server.answer(refused("no model"))
    wire_server.answer(models("a", "b" * 1000, "sk-abc123456789"))
    with pytest.raises(ServerError) as failure:
        Chat(None, url=f"{wire_server.url}/v1", api_key="sk-abc123456789")("Hi")
    assert str(failure.value).endswith(f"name a model, one of a, {'b' * 59}…, ***")


async def test_the_provider_leaves_an_empty_model_out(wire_server):
    wire_server.answer(ANSWER)
    api = type("Api", (OpenAIApi,), {"url": f"{wire_server.url}/v1"})
    async for _ in api.create_async_generator("", [{"role": "user", "content": "Hi"}]):
        pass
    assert "model" not in wire_server.requests[0].json
