"""Parameters in the form of Anthropic's API, and what is learned from refusals."""

from __future__ import annotations

from typing import Any

import pytest
from wire_server import WireServer, status

from nb_backend import Chat, settings
from nb_backend.errors import ServerError
from nb_backend.providers import anthropic_params as params
from nb_backend.providers import anthropic_refusals as refusals
from nb_backend.providers.anthropic_api import AnthropicApi

NEW, OLD = "claude-opus-4-8", "claude-sonnet-4-5"
SUMMARIZED = {"type": "adaptive", "display": "summarized"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "object", "properties": {}}}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}


def fields(model: str = OLD, **given: Any) -> dict[str, Any]:
    """Return the body for these keywords, without what every body has."""
    made = AnthropicApi.request_body(model, [{"role": "user", "content": "Hi"}], None, settings.Secret(), given)
    return {name: value for name, value in made.items() if name not in ("model", "messages", "stream", "max_tokens")}


LIMITS = {
    "claude-3-haiku-20240307": 4096,
    "claude-3-5-sonnet-latest": 8192,
    "claude-3-7-sonnet-20250219": 64_000,
    "claude-opus-4-1": 32_000,
    "claude-opus-4-20250514": 32_000,
    "claude-sonnet-4-0": 64_000,
    "claude-haiku-4-5-20251001": 64_000,
    "claude-opus-4-6": 128_000,
    "claude-sonnet-5": 128_000,
    "claude-opus-5-5": 128_000,
    "anthropic/claude-sonnet-4.6": 128_000,
    "us.anthropic.claude-3-5-haiku-20241022-v1:0": 8192,
    "smollm2": 8192,
    "": 8192,
}


@pytest.mark.parametrize(("model", "limit"), LIMITS.items())
def test_max_tokens_is_the_limit_of_the_model_or_8192(model, limit):
    body = AnthropicApi.request_body(model, [{"role": "user", "content": "Hi"}], None, settings.Secret(), {})
    assert body["max_tokens"] == limit


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_max_tokens_under_the_names_of_other_dialects(name):
    given = {name: 7, "temperature": 0.5, "top_p": None, "stop": "END"}
    body = AnthropicApi.request_body(OLD, [{"role": "user", "content": "Hi"}], None, settings.Secret(), given)
    assert body["max_tokens"] == 7
    assert fields(**given) == {"temperature": 0.5, "stop_sequences": ["END"]}


def test_other_fields_go_unchanged_into_the_body():
    assert fields(stop=["a", "b"], top_k=3, extra_body={"seed": 1}, metadata=None) == {
        "stop_sequences": ["a", "b"],
        "top_k": 3,
        "seed": 1,
    }
    with pytest.raises(TypeError, match="extra_body has to be a dict"):
        fields(extra_body=[1])


def test_tools():
    function = {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True}
    own = {"type": "web_search_20250305", "name": "web_search"}
    made = fields(tools=[{"type": "function", "function": function}, {"function": {"name": "g"}}, own])
    assert made == {
        "tools": [
            {"name": "f", "description": "d", "strict": True, "input_schema": SCHEMA},
            {"name": "g", "input_schema": {"type": "object", "properties": {}}},
            own,
        ]
    }


CHOICES = {
    "auto": ({"tool_choice": "auto"}, {"type": "auto"}),
    "none": ({"tool_choice": "none"}, {"type": "none"}),
    "required": ({"tool_choice": "required"}, {"type": "any"}),
    "one": ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, {"type": "tool", "name": "f"}),
    "its own form": ({"tool_choice": {"type": "tool", "name": "f"}}, {"type": "tool", "name": "f"}),
    "one at a time": ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
    "several": ({"parallel_tool_calls": True}, None),
    "one of any": (
        {"parallel_tool_calls": False, "tool_choice": "required"},
        {"type": "any", "disable_parallel_tool_use": True},
    ),
}


@pytest.mark.parametrize(("given", "choice"), CHOICES.values(), ids=CHOICES)
def test_the_choice_of_a_tool(given, choice):
    assert fields(tools=[{"function": {"name": "f"}}], **given).get("tool_choice") == choice
    assert "parallel_tool_calls" not in fields(**given)


def test_a_schema_is_closed_and_json_without_a_schema_is_left_to_the_prompt():
    schema = fields(response_format=FORMAT)["output_config"]["format"]["schema"]
    assert schema["additionalProperties"] is schema["properties"]["a"]["items"]["additionalProperties"] is False
    assert "additionalProperties" not in SCHEMA
    assert fields(response_format={"type": "json_object"}) == fields(response_format={"type": "text"}) == {}
    loose = {"type": "json_schema", "json_schema": {"schema": SCHEMA, "strict": False}}
    assert fields(response_format=loose) == {}


EFFORTS = {
    "new": (NEW, "medium", {"thinking": SUMMARIZED, "output_config": {"effort": "medium"}}),
    "4.6 shows its thinking": (
        *("claude-sonnet-4-6", "high"),
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
    ),
    "old": (OLD, "low", {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
    "old, high": ("claude-3-7-sonnet-latest", "high", {"thinking": {"type": "enabled", "budget_tokens": 16_384}}),
    "of another company": ("glm-4.6", "low", {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
    "a model that comes later": (
        *("claude-opus-7", "low"),
        {"thinking": SUMMARIZED, "output_config": {"effort": "low"}},
    ),
    "the server's choice, shown": ("claude-sonnet-5", None, {"thinking": SUMMARIZED}),
    "the server's choice, not to think": (NEW, None, {}),
    "the server's choice, old": (OLD, None, {}),
    "none, new": ("claude-sonnet-5", "none", {"thinking": {"type": "disabled"}}),
    "none, old": (OLD, "none", {}),
    "none, 4.8": (NEW, "none", {}),
    "none, another company": ("glm-4.6", "none", {"thinking": {"type": "disabled"}}),
}


@pytest.mark.parametrize(("model", "effort", "expected"), EFFORTS.values(), ids=EFFORTS)
def test_an_effort_takes_the_form_of_the_model(model, effort, expected):
    assert fields(model, effort=effort) == expected


def test_an_effort_beside_a_schema_and_beside_thinking():
    made = fields(NEW, effort="low", response_format=FORMAT, output_config={"task_budget": {}})
    assert made["output_config"].keys() == {"effort", "format", "task_budget"}
    assert fields(NEW, effort="low", thinking={"type": "disabled"}) == {"thinking": {"type": "disabled"}}


@pytest.mark.parametrize(
    "given",
    [
        *({"temperature": 0.2}, {"top_p": 0.5}, {"extra_body": {"top_k": 3}}),
        {"tools": [{"function": {"name": "f"}}], "tool_choice": "required"},
    ],
)
def test_thinking_that_nobody_asked_for_gives_way_to_a_field_that_excludes_it(given):
    assert "thinking" not in fields("claude-sonnet-5", **given)
    assert fields("claude-sonnet-5", effort="low", **given)["thinking"] == SUMMARIZED


def test_a_budget_leaves_room_for_the_answer():
    assert fields(effort="high", max_tokens=4000)["thinking"]["budget_tokens"] == 2000
    with pytest.raises(ValueError, match="effort needs max_tokens above 1,024: raise it, or leave the effort out"):
        fields(effort="low", max_tokens=500)


# --- refusals


@pytest.fixture(autouse=True)
def _nothing_learned(monkeypatch):
    monkeypatch.setattr(params, "_known_limits", {})
    monkeypatch.setattr(refusals, "_refused", {})
    monkeypatch.setattr(refusals, "_learned_limits", {})
    monkeypatch.setattr(refusals, "_invalid", set())


def refused(message: str) -> bytes:
    error = {"type": "invalid_request_error", "message": message}
    return status("400 Bad Request", {"type": "error", "error": error, "request_id": "r"}, Connection="close")


WHOLE = status(
    "200 OK",
    {
        "type": "message",
        "model": "m",
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    },
    Connection="close",
)


async def ask(server: WireServer, model: str = OLD, prompt: str = "Hi", **given: Any) -> list[dict[str, Any]]:
    """Ask, and return the bodies of the requests that this took."""
    known = len(server.requests)
    answer = await Chat(model, url=f"{server.url}/v1/messages").ask(prompt, **given)
    assert (answer.text, answer.complete) == ("Hello", True)
    return [request.json for request in server.requests[known:]]


async def test_thinking_that_nobody_asked_for_is_left_out_where_it_is_refused_beside_another_field(wire_server):
    wire_server.answer(refused("Prefilling is not supported when thinking is enabled"))
    wire_server.answer(WHOLE)
    assert ["thinking" in one for one in await ask(wire_server, "claude-sonnet-5")] == [True, False]
    assert ["thinking" in one for one in await ask(wire_server, "claude-sonnet-5")] == [True]


TOO_MANY = (
    "max_tokens: 64000 > 4096, which is the maximum allowed number of output tokens for claude-3-opus-20240229",
    "max_tokens is too large: 64000. This model (gpt-4-2024-08-06) supports at most 4096 completion tokens.",
    "max_tokens: Input should be less than or equal to 4096",
)


@pytest.mark.parametrize("message", TOO_MANY)
async def test_a_limit_is_corrected_and_remembered(wire_server, message):
    wire_server.answer(refused(message))
    wire_server.answer(WHOLE)
    assert [one["max_tokens"] for one in await ask(wire_server)] == [64_000, 4096]
    assert [one["max_tokens"] for one in await ask(wire_server)] == [4096]
    assert [one["max_tokens"] for one in await ask(wire_server, max_tokens=7)] == [7]
    bodies = await ask(wire_server, effort="high")
    assert bodies[0]["thinking"]["budget_tokens"] == 2048
    assert [one["max_tokens"] for one in await ask(wire_server, NEW)] == [128_000]


NO_ROOM = (
    "input length and `max_tokens` exceed context limit: 150000 + 64000 > 200000, decrease input length",
    "'max_tokens' is too large: 64000. This model's maximum context length is 50100 tokens and your request has 100"
    " input tokens (64000 > 50100 - 100)",
)


@pytest.mark.parametrize("message", NO_ROOM)
async def test_a_limit_that_leaves_no_room_beside_the_prompt_is_corrected_for_this_request_only(wire_server, message):
    wire_server.answer(refused(message))
    wire_server.answer(WHOLE)
    assert [one["max_tokens"] for one in await ask(wire_server)] == [64_000, 50_000]
    assert [one["max_tokens"] for one in await ask(wire_server)] == [64_000]


LESSONS = {
    "adaptive": (
        NEW,
        "low",
        ["adaptive thinking is not supported on this model"],
        [{"type": "enabled", "budget_tokens": 2048}],
    ),
    "budget": (
        OLD,
        "high",
        [
            '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and'
            ' "output_config.effort" to control thinking behavior.'
        ],
        [SUMMARIZED, {"effort": "high"}],
    ),
    "display": (NEW, "low", ["thinking.adaptive.display: Extra inputs are not permitted"], [{"type": "adaptive"}]),
    "effort": (NEW, "low", ["This model does not support the effort parameter."], [SUMMARIZED, None]),
    "disabled": (
        "claude-opus-5-5",
        "none",
        ['"thinking.type.disabled" is not supported for this model. Use "output_config.effort"'],
        [None, {"effort": "low"}],
    ),
    "what it shows": ("claude-sonnet-5", None, ["thinking.adaptive.display: Extra inputs are not permitted"], [None]),
    "all": (
        "claude-3-5-haiku-latest",
        "high",
        ["thinking: this model does not support thinking", "adaptive thinking is not supported on this model"],
        [None, None],
    ),
}


@pytest.mark.parametrize(("model", "effort", "messages", "accepted"), LESSONS.values(), ids=LESSONS)
async def test_the_form_of_an_effort_is_learned_from_refusals(wire_server, model, effort, messages, accepted):
    for message in messages:
        wire_server.answer(refused(message))
    wire_server.answer(WHOLE)
    *_, last = await ask(wire_server, model, effort=effort)
    assert [last.get("thinking"), last.get("output_config")][: len(accepted)] == accepted
    assert await ask(wire_server, model, effort=effort) == [last]


async def test_a_refused_schema_is_left_out_and_another_is_sent(wire_server):
    wire_server.answer(refused("output_config.format.schema: For 'array' type, property 'items' is not supported"))
    wire_server.answer(WHOLE)
    bodies = await ask(wire_server, response_format=FORMAT)
    assert ["output_config" in one for one in bodies] == [True, False]
    assert ["output_config" in one for one in await ask(wire_server, response_format=FORMAT)] == [False]
    other = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}
    assert ["output_config" in one for one in await ask(wire_server, response_format=other)] == [True]


async def test_marks_that_a_server_refuses_are_left_out(wire_server):
    wire_server.answer(refused("system.0.cache_control: Extra inputs are not permitted"))
    wire_server.answer(WHOLE)
    bodies = await ask(wire_server, system="word " * 1000)
    assert ["cache_control" in one["system"][0] for one in bodies] == [True, False]


WITHOUT_TEMPERATURE = "leave out temperature (-t), which this model does not take"
CONTRADICTIONS = {
    "`temperature` may only be set to 1 when thinking is enabled.": WITHOUT_TEMPERATURE,
    "`temperature` is deprecated for this model.": WITHOUT_TEMPERATURE,
    "Thinking may not be enabled when tool_choice forces tool use.": "change the prompt or its options",
    "seed: Extra inputs are not permitted": "leave out seed, which this model does not take",
}


@pytest.mark.parametrize(("message", "hint"), CONTRADICTIONS.items())
async def test_a_parameter_that_the_user_has_to_change_is_one_clear_line(wire_server, message, hint):
    wire_server.answer(refused(message))
    with pytest.raises(ServerError) as raised:
        await ask(wire_server, NEW, effort="low", temperature=0.5, seed=1)
    assert str(raised.value) == f"{wire_server.url} answered 400 ({message}): {hint}"
    assert "\n" not in str(raised.value)
    assert [request.path for request in wire_server.requests].count("/v1/messages") == 1


INVALID = (
    "messages.1.content.0: Invalid `signature` in `thinking` block. The block is bound to a different conversation.",
    "messages.1.content.0: `thinking` or `redacted_thinking` blocks in the latest message cannot be modified.",
)


@pytest.mark.parametrize("message", INVALID)
async def test_reasoning_that_is_no_longer_valid_is_left_out_from_then_on(wire_server, message):
    wire_server.answer(refused(message))
    wire_server.answer(WHOLE)
    provider = type("Api", (AnthropicApi,), {"url": wire_server.url})
    for signature in ("s", "s", "other"):
        state = [{"type": "thinking", "thinking": "Hm", "signature": signature}, {"type": "text", "text": "A"}]
        messages = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A", "state": state}]
        events = provider.create_async_generator(OLD, [*messages, {"role": "user", "content": "Hi"}])
        assert "Hello" in [str(event) async for event in events]
    sent = [request.json["messages"][1]["content"] for request in wire_server.requests]
    kinds = [[block["type"] for block in blocks] for blocks in sent]
    assert kinds == [["thinking", "text"], ["text"], ["text"], ["thinking", "text"]]


async def test_the_list_of_models_tells_their_limits(wire_server):
    listed = {"id": "claude-new", "display_name": "Claude New", "max_tokens": 99, "type": "model"}
    listed["capabilities"] = {"image_input": {"supported": False}}
    wire_server.answer(status("200 OK", {"data": [listed, {"id": "b"}], "has_more": False}, Connection="close"))
    (model, other) = await type("Api", (AnthropicApi,), {"url": f"{wire_server.url}/v1"}).get_models(api_key="k-1234")
    assert (model, model.label, model.vision, other.vision) == ("claude-new", "Claude New", False, None)
    assert wire_server.requests[0].path == "/v1/models?limit=1000"
    assert wire_server.requests[0].header("x-api-key") == "k-1234"
    assert params.max_tokens("claude-new") == 99
