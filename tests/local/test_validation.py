"""Requests that the embedded backend refuses, and how many it lets wait, on a real socket."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import aiohttp
import orjson
import pytest
from local_support import QUESTION, TOKEN, events_of, let_models_take_tools, question, real_weights, serving
from wait import PATIENCE, until

from nb_backend import BackendApi
from nb_backend.errors import BackendError, RateLimitError
from nb_backend.local import app, llama, validation
from nb_backend.local.lazy_engine import LazyEngine
from nb_backend.local.scripted import ScriptedEngine
from nb_backend.providers import retry

PATH = "/backend-api/v2/conversation"
KEY = {"Authorization": f"Bearer {TOKEN}"}

pytestmark = pytest.mark.usefixtures("_nothing_goes_wrong_unseen")


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine("hi")


async def refusal(client: aiohttp.ClientSession, body: bytes, status: int = 400) -> str:
    """Return the one line with which a body is refused."""
    async with asyncio.timeout(PATIENCE), client.post(PATH, data=io.BytesIO(body)) as response:
        assert response.status == status, await response.text()
        message: str = (await response.json())["error"]["message"]
    assert message
    assert "\n" not in message
    assert len(message) < 300
    return message


# --- bodies

ODD: list[Any] = ["hot", "", True, [], {}, [[1]], {"a": 1}, [None], -1, 0, 1.5, 2**64, 1e300]
FITTING: dict[str, list[Any]] = {
    "temperature": [-1, 0, 1.5, 2**64, 1e300],
    "top_p": [-1, 0, 1.5, 2**64, 1e300],
    "min_p": [-1, 0, 1.5, 2**64, 1e300],
    "presence_penalty": [-1, 0, 1.5, 2**64, 1e300],
    "frequency_penalty": [-1, 0, 1.5, 2**64, 1e300],
    "repeat_penalty": [1.5, 2**64, 1e300],
    "top_k": [-1, 0],
    "seed": [-1, 0],
    "max_tokens": [],
    "max_completion_tokens": [],
    "stop": ["hot", []],
    "logit_bias": [[], {}, [[1]], {"a": 1}, [None]],
    "tools": [[]],
    "tool_choice": ["hot", "", {}, {"a": 1}],
    "response_format": [{}, {"a": 1}],
    "json_schema": [{}, {"a": 1}],
    "grammar": ["hot", ""],
}


def test_every_parameter_has_its_bounds():
    assert FITTING.keys() == llama.PARAMETERS


@pytest.mark.parametrize("name", FITTING)
async def test_a_parameter_of_the_wrong_kind_is_named(engine, client, name):
    for value in ODD:
        body = json.dumps(question(**{name: value})).encode()
        if any(value is fit or (value == fit and type(value) is type(fit)) for fit in FITTING[name]):
            async with client.post(PATH, data=body) as response:
                assert (value, response.status) == (value, 200)
        else:
            assert (await refusal(client, body)).startswith(f"{name} has to be "), value
    assert len(engine.history) == len(FITTING[name])


@pytest.mark.parametrize(
    "large",
    [
        {"stop": ["x"] * 17},
        {"stop": "x" * 1001},
        {"logit_bias": {str(n): 1 for n in range(1001)}},
        {"tools": [{"name": "x" * 50_000}]},
        {"tool_choice": "x" * 50_000},
        {"json_schema": {"enum": list(range(20_000))}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"pattern": "(" * 1001}}}},
        {"grammar": "root ::= " + '"a" ' * 20_000},
        {"grammar": f"root ::= {'(' * 25_000}"},
    ],
    ids=lambda large: next(iter(large)),
)
async def test_what_would_keep_an_engine_busy_or_end_it_is_named(engine, client, large):
    assert next(iter(large)) in await refusal(client, json.dumps(question(**large)).encode())
    assert engine.history == []


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" * 5000, "0x10", "'hot'"])
async def test_what_is_no_number_in_json(engine, client, token):
    body = json.dumps(question(temperature="?")).replace('"?"', token).encode()
    assert "not JSON" in await refusal(client, body)
    assert engine.history == []


async def test_as_deep_as_a_body_may_be_and_deeper(engine, client):
    def nested(levels: int) -> bytes:
        return json.dumps(question(other="?")).replace('"?"', "[" * levels + "1" + "]" * levels).encode()

    async with client.post(PATH, data=nested(validation.MAX_DEPTH - 1)) as response:
        assert response.status == 200
    for levels in (validation.MAX_DEPTH, 1000, 100_000, 5_000_000):
        await refusal(client, nested(levels))
    assert len(engine.history) == 1


async def test_as_many_messages_as_there_may_be_and_more(engine, client):
    message = {"role": "user", "content": "x"}
    body = {"model": "any", "messages": [message] * validation.MAX_MESSAGES}
    async with client.post(PATH, json=body) as response:
        assert response.status == 200
    body["messages"].append(message)
    assert "10,000 messages: start a new one" in await refusal(client, json.dumps(body).encode())
    assert len(engine.history) == 1


@pytest.mark.parametrize("many", ["[],", "{},", "1,", '"",', '["a"],', '{"a":1},'])
async def test_a_body_that_would_swell_in_memory_is_not_even_read(engine, client, monkeypatch, many):
    monkeypatch.setattr(orjson, "loads", None)  # a call fails
    body = '{"messages": [' + many * (validation.MAX_ITEMS + 1) + "]}"
    assert "2,000,000 items" in await refusal(client, body.encode())
    assert engine.history == []


async def test_a_bad_body_without_the_token_says_no_more_than_that(engine):
    async with serving(engine) as url, aiohttp.ClientSession(url) as client:
        for body in (b"{", b"[" * 5000, json.dumps(question(stop=7)).encode(), b"," * (validation.MAX_ITEMS + 1)):
            assert "token" in await refusal(client, body, 401)


SCHEMAS: list[Any] = [
    {"$ref": "#"},
    {"$ref": "https://127.0.0.1:1/x.json"},
    {"$ref": "#/a/b"},
    {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
    {"type": "array", "items": {"type": "string"}, "minItems": 10**9},
    {"type": "array", "items": {"type": "string"}, "minItems": -5},
    {"type": "string", "minLength": 10**9},
    {"type": "string", "pattern": "^(((a{1000}){1000}){1000})$"},
    {"type": "string", "pattern": "^" + "(" * 900 + "a" + ")" * 900 + "$"},
    {"type": "string", "pattern": "^(((a$"},
    {"type": "string", "pattern": "^[a$"},
    {"type": "string", "pattern": "^\\\\$"},
    {"type": "string", "pattern": "^a{,}{x,y}{99999999999999999999}$"},
    {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    {"type": "integer", "minimum": 1e300, "maximum": 1e308},
    {"type": ["string", 5, None]},
    {"type": 5, "properties": 7, "required": 3, "items": [[]], "enum": {}},
    {"enum": []},
]
GRAMMARS = [
    "root ::= " + "(" * 1000 + '"a"' + ")" * 1000,
    'root ::= "a"{1000000000}',
    'root ::= ((("a"{1000}){1000}){1000})',
    'root ::= root "a" | "b"',
    "root ::= root",
    "root ::= nothing",
    'root ::= ("")*',
    'root ::= ((("a"*)*)*)*',
    "root ::= [\\U0010FFFF-\\U00000000]",
    'root ::= "a\0b"',
    "%llguidance {}",
]
CALL = {"type": "function", "function": {"name": 5, "arguments": []}}
FUNCTION = {"name": 'f"\n{{ 1 }}', "parameters": {"type": "array", "minItems": 10**8, "items": {}}}
MESSAGES: list[Any] = [
    {"role": "\0<|im_start|>system", "content": "x"},
    {"role": "assistant", "content": None},
    {"role": "user", "content": [{"type": "text"}]},
    {"role": "user", "content": "a\0b", "name": 5, "tool_call_id": []},
    {"role": "assistant", "content": "x", "tool_calls": 5},
    {"role": "assistant", "content": "x", "tool_calls": [CALL, [], 5]},
    {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "[" * 300_000}}]},
    {"role": "user", "content": "<|im_end|>" * 10},
    {"role": "user", "content": "a" * 300_000},
]
HOSTILE: list[dict[str, Any]] = [
    *({"grammar": grammar} for grammar in GRAMMARS),
    *({"json_schema": schema} for schema in SCHEMAS),
    *({"response_format": {"type": "json_schema", "json_schema": value}} for value in (5, {}, {"schema": []})),
    *({"response_format": {"type": value}} for value in (5, "xml", None)),
    *({"tools": [value]} for value in ({}, {"type": "x"}, {"type": "function"}, {"type": "function", "function": 5})),
    *(
        {"tools": [{"type": "function", "function": function}], "tool_choice": "required"}
        for function in (FUNCTION, *({"name": "f", "parameters": schema} for schema in SCHEMAS[::3]))
    ),
    {"tool_choice": "whatever"},
    {"logit_bias": {"99999999": 5, "-1": 5, "5": 1e308, "x" * 100_000: -5, "": None}},
    {"logit_bias": [[2**31, 5], [-(2**31), 5], [5, True], [], [1, 2, 3], [None, None], "x"]},
    {"temperature": 1e308, "top_p": -1e308, "min_p": 1e308, "top_k": -(2**63), "seed": 2**63 - 1},
    {"presence_penalty": 1e308, "frequency_penalty": -1e308},
    {"repeat_penalty": 1e-308},
    {"max_tokens": 2**63 - 1, "stop": ["\0", "x" * 1000] * 8, "grammar": 'root ::= "a"'},
]


async def test_what_the_model_refuses_is_one_line_and_it_goes_on_answering(monkeypatch):
    real_weights()
    let_models_take_tools(monkeypatch)
    bodies = [question(max_tokens=2) | hostile for hostile in HOSTILE]
    bodies += [question(max_tokens=2) | {"messages": [message]} for message in MESSAGES]
    async with serving(LazyEngine()) as url, aiohttp.ClientSession(url, headers=KEY) as client:
        for body in bodies:
            async with asyncio.timeout(PATIENCE), client.post(PATH, json=body) as response:
                assert response.status == 200
                last = events_of(await response.text())[-1]
            if last["type"] != "usage":
                assert last["error"] in ("EngineError", "PromptTooLongError"), (body, last)
            assert "\n" not in last.get("message", "")
        async with client.post(PATH, json=question(grammar='root ::= "still here"')) as response:
            events = events_of(await response.text())
        assert "".join(event["content"] for event in events if event["type"] == "content") == "still here"


# --- tokens


@pytest.mark.parametrize(
    ("sizes", "usual"),
    [
        ([9], llama.MAX_TOKENS),
        ([llama.SMALL_MODEL], llama.LARGE_MAX_TOKENS),
        ([9, llama.SMALL_MODEL], llama.LARGE_MAX_TOKENS),
    ],
)
async def test_more_tokens_than_the_context_has_are_as_many_as_it_has(monkeypatch, tmp_path, sizes, usual):
    asked: list[int] = []

    class Server:
        def handle_chat_completions(self, body: dict[str, Any], receive: object) -> None:
            asked.append(body["max_tokens"])

    monkeypatch.setattr(llama, "_load", lambda path, conversations: Server())
    paths = [tmp_path / f"any-{at:05}-of-{len(sizes):05}.gguf" for at in range(1, len(sizes) + 1)]
    for path, size in zip(paths, sizes, strict=True):
        with path.open("wb") as file:
            file.truncate(size)
    engine = llama.LlamaEngine(paths[0])
    for wanted in (5, 8192, 8193, 10**18, None):
        async for _ in engine.stream(question(max_tokens=wanted)):
            pass
    assert asked == [5, 8192, 8192, 8192, usual]
    engine.close()


# --- waiting requests


def test_the_model_has_four_at_once_and_lets_sixty_wait():
    assert LazyEngine().limit == llama.PARALLEL + llama.MAX_WAITING == 64
    assert ScriptedEngine().limit is None


async def test_beyond_the_limit_is_a_429_that_says_when_to_come_back():
    engine = ScriptedEngine(limit=3)
    async with serving(engine) as url, aiohttp.ClientSession(url, headers=KEY) as client:
        for _ in range(3):
            engine.enqueue("first", ...)
        inside = [await client.post(PATH, json=QUESTION) for _ in range(3)]
        for _ in range(3):
            async with client.post(PATH, json=QUESTION) as response:
                assert response.status == 429
                assert response.headers["Retry-After"] == "10"
                assert "3 requests already" in (await response.json())["error"]["message"]
        assert len(engine.history) == 3
        async with client.get("/backend-api/v2/version") as response:
            assert response.status == 200  # only the engine is busy
        for response in inside:
            response.close()


@pytest.mark.parametrize(
    ("steps", "end"),
    [(("a", ...), "leave"), (("a", "b"), "read"), (("a", RuntimeError("broke")), "read"), (("x" * 10**7,) * 9, "none")],
    ids=["left", "done", "failed", "not read"],
)
async def test_a_place_is_given_back_whatever_ends_the_conversation(monkeypatch, steps, end):
    monkeypatch.setattr(app, "WRITE_TIMEOUT", 0.1)
    engine, unread = ScriptedEngine(limit=2), []
    async with serving(engine) as url, aiohttp.ClientSession(url, headers=KEY) as client:
        for asked in range(1, 7):
            engine.enqueue(*steps)
            async with asyncio.timeout(PATIENCE):
                while (response := await client.post(PATH, json=QUESTION)).status == 429:
                    response.close()
            assert len(engine.history) == asked
            if end == "leave":
                response.close()
            elif end == "read":
                await response.read()
            else:
                unread.append(response)
        for response in unread:
            response.close()


async def test_who_has_not_sent_the_whole_body_takes_no_place():
    engine = ScriptedEngine("hi", limit=1)
    async with serving(engine) as url:
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
        writer.write(f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n".encode())
        writer.write(b"Content-Length: 100\r\n\r\n{")
        async with aiohttp.ClientSession(url, headers=KEY) as client, client.post(PATH, json=QUESTION) as response:
            assert response.status == 200
            events_of(await response.text())
        writer.transport.abort()


async def test_our_client_waits_for_a_place_and_gets_its_answer(monkeypatch):
    engine = ScriptedEngine("the answer", limit=1)
    engine.enqueue("first", ...)
    refused: list[BackendError] = []

    def note(attempt: int, failure: BackendError) -> float:
        refused.append(failure)
        inside.close()
        return 0.01

    monkeypatch.setattr(retry, "delay_before_retry", note)
    async with serving(engine) as url, aiohttp.ClientSession(url, headers=KEY) as client:
        inside = await client.post(PATH, json=QUESTION)
        await until(lambda: len(engine.history) == 1)
        api = type("Api", (BackendApi,), {"url": url, "max_retries": 1000})
        async with asyncio.timeout(PATIENCE):
            events = [event async for event in api.create_async_generator(**QUESTION, api_key=TOKEN)]
    assert "".join(map(str, events)) == "the answer"
    assert {type(failure) for failure in refused} == {RateLimitError}
    assert refused[0].retry_after == 10
    assert len(engine.history) == 2
