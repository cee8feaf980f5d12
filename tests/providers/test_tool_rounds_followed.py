"""What a request after tool calls holds beside them: the choice of a tool, ids, tools that are switched off."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tool_dialects import APIS, KEEP_STATE, MODEL, OPAQUE, Call, answer_of, line_of, told
from wire_server import WireServer, status

from nb_backend import Chat
from nb_backend.errors import BackendError
from nb_backend.providers import anthropic_refusals
from nb_backend.providers.tool_calls import names_of_tools, with_free_choice
from nb_backend.tools import Tool

each_dialect = pytest.mark.parametrize("api", APIS)
ROME = Call("call_a", "weather", {"city": "Rome"})
OSLO = Call("call_b", "weather", {"city": "Oslo"})
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = Tool("weather", "Return the weather.", SCHEMA, lambda city="": f"18 degrees in {city}")
RESULTS = [("result", "call_a", "18 degrees in Rome"), ("result", "call_b", "18 degrees in Oslo")]


def chat_of(server: WireServer, api: str, *tools: Any, model: str = MODEL, **options: Any) -> Chat:
    return Chat(model, url=server.url, api=api, tools=[*(tools or (WEATHER,))], **options)


def posts(server: WireServer) -> list[Any]:
    return [request.json for request in server.requests if request.body]


class TestForcedCalls:
    """A call that the user forces is forced once: with each request it would be made for ever."""

    @each_dialect
    @pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
    async def test_the_answer_to_the_results_is_not_forced(self, wire_server, api, choice):
        wire_server.answer(answer_of(api, "", ROME))
        wire_server.answer(answer_of(api, "It is warm."))
        await chat_of(wire_server, api).ask("Hi", tool_choice=choice)
        first, second = posts(wire_server)
        key = "toolConfig" if api == "gemini" else "tool_choice"
        forced, free = json.dumps(first[key]), json.dumps(second[key])
        assert any(word in forced for word in ("required", "any", "weather", "ANY"))
        assert "auto" in free.lower()
        assert "weather" not in free

    @pytest.mark.parametrize(
        ("given", "made"),
        [
            ({"tool_choice": "none"}, {"tool_choice": "none"}),
            ({"tool_choice": {"type": "auto"}}, {"tool_choice": {"type": "auto"}}),
            (
                {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
                {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            ),
            (
                {"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [1]}},
                {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [1]}},
            ),
            (
                {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [1]}}},
                {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [1]}}},
            ),
            (
                {"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["a"]}}},
                {"toolConfig": {"functionCallingConfig": {"mode": "AUTO"}}},
            ),
            ({"extra_body": {"tool_choice": "required"}}, {"extra_body": {"tool_choice": "auto"}}),
            ({"temperature": 0}, {"temperature": 0}),
        ],
    )
    def test_forms(self, given, made):
        before = json.dumps(given)
        assert with_free_choice(given) == made
        assert json.dumps(given) == before


class TestEndings:
    """Calls are carried out if the server has said that they are whole."""

    @pytest.mark.parametrize("reason", ["stop", "tool_calls", "function_call", "tool_use", "TOOL_CALL", "[DONE]"])
    async def test_whole(self, wire_server, reason):
        wire_server.answer(self._with_end(reason))
        wire_server.answer(answer_of("openai-chat", "It is warm."))
        answer = await chat_of(wire_server, "openai-chat").ask("Hi")
        assert (answer.text, len(answer.steps)) == ("It is warm.", 1)

    @pytest.mark.parametrize("reason", ["length", "content_filter", ""])
    async def test_not_whole(self, wire_server, reason):
        wire_server.answer(self._with_end(reason))
        answer = await chat_of(wire_server, "openai-chat").ask("Hi")
        assert (answer.steps, answer.complete, len(posts(wire_server))) == ([], False, 1)

    @staticmethod
    def _with_end(reason: str) -> bytes:
        call = {"index": 0, "id": "a", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
        body = line_of({"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]})
        if reason == "[DONE]":
            body += b"data: [DONE]\n\n"
        elif reason:
            body += line_of({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        return status("200 OK", body, content_type="text/event-stream")


class TestIds:
    """Each call has its result, whatever ids a server sends."""

    @pytest.mark.parametrize("api", ["g4f", "openai-chat", "openai-responses", "anthropic"])
    @pytest.mark.parametrize("id_", ["", "same"])
    async def test_calls_with_no_id_or_the_same_one(self, wire_server, api, id_):
        calls = [Call(id_, "weather", {"city": city}) for city in ("Rome", "Oslo")]
        wire_server.answer(answer_of(api, "", *calls, reasons=api != "g4f"))
        wire_server.answer(answer_of(api, "Done."))
        answer = await chat_of(wire_server, api).ask("Hi")
        assert [step.call.arguments["city"] for step in answer.steps] == ["Rome", "Oslo"]
        asked = told(api, posts(wire_server)[1])
        made = {one[1]: one[3]["city"] for one in asked if one[0] == "call"}
        results = {one[1]: one[2] for one in asked if one[0] == "result"}
        assert results == {name: f"18 degrees in {city}" for name, city in made.items()}
        assert len(made) == 2

    async def test_calls_of_gemini_without_ids(self, wire_server):
        wire_server.answer(answer_of("gemini", "", ROME._replace(id=""), OSLO._replace(id=""), reasons=True))
        wire_server.answer(answer_of("gemini", "Done."))
        await chat_of(wire_server, "gemini").ask("Hi")
        contents = posts(wire_server)[1]["contents"]
        assert [part["functionCall"]["args"]["city"] for part in contents[1]["parts"]] == ["Rome", "Oslo"]
        results = [part["functionResponse"] for part in contents[2]["parts"]]
        assert [one["response"]["result"] for one in results] == ["18 degrees in Rome", "18 degrees in Oslo"]
        assert all("id" not in one for one in results)

    @each_dialect
    async def test_a_server_that_numbers_the_calls_of_each_response_anew(self, wire_server, api):
        for city in ("Rome", "Oslo"):
            wire_server.answer(answer_of(api, "", Call("call_0", "weather", {"city": city}), reasons=True))
        wire_server.answer(answer_of(api, "Done."))
        await chat_of(wire_server, api).ask("Hi")
        asked = told(api, posts(wire_server)[2])[1:]
        assert [one[0] for one in asked] == ["call", "result", "call", "result"]
        assert [one[2] for one in asked[1::2]] == ["18 degrees in Rome", "18 degrees in Oslo"]
        assert [one[1] for one in asked[::2]] == [one[1] for one in asked[1::2]]
        if api in ("openai-responses", "anthropic"):
            assert len({one[1] for one in asked}) == 2

    async def test_reasoning_goes_back_to_a_server_that_sends_no_ids(self, wire_server):
        delta = {
            "reasoning_content": "Hm",
            "tool_calls": [{"index": 0, "function": {"name": "weather", "arguments": "{}"}}],
        }
        chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": "tool_calls"}]}
        wire_server.answer(status("200 OK", line_of(chunk) + b"data: [DONE]\n\n", content_type="text/event-stream"))
        wire_server.answer(answer_of("openai-chat", "Done."))
        await chat_of(wire_server, "openai-chat").ask("Hi")
        assert posts(wire_server)[1]["messages"][1]["reasoning_content"] == "Hm"


class TestToolsSwitchedOff:
    """A chat goes on without the tools that it has called."""

    @each_dialect
    async def test_the_calls_stay_in_the_history(self, wire_server, api):
        wire_server.answer(answer_of(api, "", ROME, OSLO))
        wire_server.answer(answer_of(api, "It is warm."))
        chat = chat_of(wire_server, api)
        await chat.ask("Hi")
        chat.tools.clear()
        await chat.ask("And now?")
        last = posts(wire_server)[2]
        assert [one for one in told(api, last) if one[0] == "result"] == RESULTS
        assert "tools" not in last
        assert "tool_choice" not in last

    async def test_a_service_that_refuses_them_without_tools_gets_the_names(self, wire_server):
        wire_server.answer(answer_of("anthropic", "", ROME, OSLO))
        wire_server.answer(answer_of("anthropic", "It is warm."))
        said = "Requests which include `tool_use` or `tool_result` blocks must define tools"
        wire_server.answer(status("400 Bad Request", {"error": {"type": "invalid_request_error", "message": said}}))
        wire_server.answer(answer_of("anthropic", "Yes."))
        chat = chat_of(wire_server, "anthropic")
        await chat.ask("Hi")
        chat.tools.clear()
        for _ in range(2):
            assert (await chat.ask("And now?")).text == "Yes."
        asked = posts(wire_server)[2:]
        assert ["tools" in body for body in asked] == [False, True, True]
        assert [tool["name"] for tool in asked[1]["tools"]] == ["weather"]
        assert asked[1]["tool_choice"] == {"type": "none"}
        assert "tools" in anthropic_refusals.fitted("https://api.anthropic.com/v1", asked[0])

    async def test_a_call_that_a_model_makes_nevertheless_is_left_to_the_caller(self, wire_server):
        wire_server.answer(answer_of("anthropic", "", ROME))
        wire_server.answer(answer_of("anthropic", "It is warm."))
        wire_server.answer(answer_of("anthropic", "", OSLO))
        chat = chat_of(wire_server, "anthropic")
        await chat.ask("Hi")
        chat.tools.clear()
        answer = await chat.ask("And now?")
        assert (answer.steps, [call.arguments for call in answer.tool_calls]) == ([], [{"city": "Oslo"}])


class TestStrictServers:
    """A server of chat completions that wants tool rounds in another form gets them so, after one refusal."""

    async def _asked_twice(self, server: WireServer, refusal: str, *, switched_off: bool = False) -> list[Any]:
        server.answer(answer_of("openai-chat", "", ROME))
        server.answer(answer_of("openai-chat", "It is warm."))
        chat = chat_of(server, "openai-chat")
        await chat.ask("Hi")
        if switched_off:
            chat.tools.clear()
        server._answers.clear()
        server.answer(status("400 Bad Request", {"message": refusal}))
        server.answer(answer_of("openai-chat", "Yes."))
        for _ in range(2):
            assert (await chat.ask("And now?")).text == "Yes."
        return posts(server)[2:]

    async def test_short_ids(self, wire_server):
        refusal = "Tool call id was call_a but must be a-z, A-Z, 0-9, with a length of 9."
        first, *others = await self._asked_twice(wire_server, refusal)
        assert told("openai-chat", first)[1][1] == "call_a"
        assert len(others) == 2
        for body in others:
            (_, call, result, *_) = told("openai-chat", body)
            assert call[1] == result[1]
            assert len(call[1]) == 9
            assert call[1].isalnum()

    async def test_an_answer_between_results_and_a_question(self, wire_server):
        wire_server.answer(answer_of("openai-chat", "", ROME))
        wire_server.answer(answer_of("openai-chat", ""))
        wire_server.answer(status("400 Bad Request", {"message": "Unexpected role 'user' after role 'tool'"}))
        wire_server.answer(answer_of("openai-chat", "Yes."))
        chat = chat_of(wire_server, "openai-chat")
        await chat.ask("Hi")
        assert (await chat.ask("And now?")).text == "Yes."
        roles = [[message["role"] for message in body["messages"]] for body in posts(wire_server)[2:]]
        assert roles == [
            ["user", "assistant", "tool", "user"],
            ["user", "assistant", "tool", "assistant", "user"],
        ]

    async def test_the_names_of_tools_that_are_switched_off(self, wire_server):
        refusal = "The toolConfig field must be defined when using toolUse and toolResult content blocks."
        bodies = await self._asked_twice(wire_server, refusal, switched_off=True)
        names = [[tool["function"]["name"] for tool in body.get("tools", ())] for body in bodies]
        assert names == [[], ["weather"], ["weather"]]


class TestMoving:
    """A chat with tool rounds goes on with another service."""

    @each_dialect
    @pytest.mark.parametrize("before", KEEP_STATE)
    async def test_the_rounds_go_along_without_their_state(self, wire_server, api, before):
        wire_server.answer(answer_of(before, "I look.", ROME, OSLO, reasons=True))
        wire_server.answer(answer_of(before, "It is warm."))
        chat = chat_of(wire_server, before)
        await chat.ask("Hi")
        other = chat_of(wire_server, api)
        other.messages = [dict(message) for message in chat.messages]
        wire_server.answers_now(answer_of(api, "Yes."))
        await other.ask("And now?")
        sent = posts(wire_server)[-1]
        assert told(api, sent) == [
            ("user", "Hi"),
            ("assistant", "I look."),
            ("call", *ROME),
            ("call", *OSLO),
            *RESULTS,
            ("assistant", "It is warm."),
            ("user", "And now?"),
        ]
        assert (OPAQUE in json.dumps(sent)) is (api == before)

    async def test_gemini_gets_the_word_for_a_missing_signature_at_the_first_call_of_each_round(self, wire_server):
        wire_server.answer(answer_of("openai-chat", "", ROME, OSLO))
        wire_server.answer(answer_of("openai-chat", "", Call("c", "weather", {})))
        wire_server.answer(answer_of("openai-chat", "Done."))
        chat = chat_of(wire_server, "openai-chat")
        await chat.ask("Hi")
        other = chat_of(wire_server, "gemini")
        other.messages = [dict(message) for message in chat.messages]
        parts = [
            part.get("thoughtSignature")
            for content in other.request("And now?").body()["contents"]
            for part in content["parts"]
            if "functionCall" in part
        ]
        assert parts == ["skip_thought_signature_validator", None, "skip_thought_signature_validator"]

    async def test_anthropic_is_not_asked_to_think_after_calls_without_thinking(self, wire_server):
        wire_server.answer(answer_of("anthropic", "", ROME))
        wire_server.answer(answer_of("anthropic", "It is warm."))
        wire_server.answer(answer_of("anthropic", "Yes."))
        chat = chat_of(wire_server, "anthropic", model="claude-sonnet-4-5", effort="low")
        await chat.ask("Hi")
        await chat.ask("And now?")
        assert ["thinking" in body for body in posts(wire_server)] == [True, False, True]


class TestOthers:
    """Calls of tools in a service's own form are for the caller, and so are those beside them."""

    @pytest.mark.parametrize(
        "tools",
        [
            [{"type": "function", "function": {"name": "mine"}}],
            [{"type": "function", "name": "mine"}],
            [{"name": "mine", "input_schema": {}}],
            [{"functionDeclarations": [{"name": "mine"}]}],
            [{"type": "custom", "custom": {"name": "mine"}}],
        ],
    )
    def test_their_names_in_the_forms_of_all_dialects(self, tools):
        assert names_of_tools([*tools, "x", {"googleSearch": {}}, {"functionDeclarations": [None]}]) == {"mine"}
        assert names_of_tools(None) == set()

    async def test_a_call_of_one_ends_the_answer(self, wire_server):
        wire_server.answer(answer_of("anthropic", "", ROME, Call("b", "mine", {})))
        own = {"name": "mine", "input_schema": {"type": "object"}}
        answer = await chat_of(wire_server, "anthropic", WEATHER, own).ask("Hi")
        assert ([call.name for call in answer.tool_calls], answer.steps) == (["weather", "mine"], [])

    async def test_a_pause_between_is_one_response(self, wire_server):
        """A server's tool and a function of ours: the service pauses, goes on, then calls."""
        search = {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {"query": "x"}}
        found = {"type": "web_search_tool_result", "tool_use_id": "srv", "content": []}
        events = [
            {"type": "message_start", "message": {"id": "a", "role": "assistant", "content": [], "model": "m"}},
            {"type": "content_block_start", "index": 0, "content_block": search},
            {"type": "content_block_stop", "index": 0},
            {"type": "content_block_start", "index": 1, "content_block": found},
            {"type": "content_block_stop", "index": 1},
            {"type": "message_delta", "delta": {"stop_reason": "pause_turn"}, "usage": {"output_tokens": 1}},
            {"type": "message_stop"},
        ]
        body = b"".join(map(line_of, events))
        wire_server.answer(status("200 OK", body, content_type="text/event-stream"))
        wire_server.answer(answer_of("anthropic", "I look.", ROME))
        wire_server.answer(answer_of("anthropic", "It is warm."))
        web = {"type": "web_search_20250305", "name": "web_search"}
        answer = await chat_of(wire_server, "anthropic", WEATHER, web).ask("Hi")
        assert (answer.text, len(answer.steps)) == ("I look.\n\nIt is warm.", 1)
        blocks = [block["type"] for block in posts(wire_server)[2]["messages"][1]["content"]]
        assert blocks == ["server_tool_use", "web_search_tool_result", "text", "tool_use"]


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("400 Bad Request", "registry.ollama.ai/library/gemma3:4b does not support tools", "cannot call tools"),
        ("400 Bad Request", '"auto" tool choice requires --enable-auto-tool-choice and …', "cannot call tools"),
        ("500 Internal Server Error", "tools param requires --jinja flag", "cannot call tools"),
        ("404 Not Found", "No endpoints found that support tool use", "cannot call tools"),
        ("400 Bad Request", "`tool calling` is not supported with this model", "cannot call tools"),
        ("400 Bad Request", "Function calling is not enabled for models/gemma-3-27b-it", "cannot call tools"),
        ("400 Bad Request", "deepseek-reasoner does not support Function Calling", "cannot call tools"),
        ("400 Bad Request", "Unsupported parameter: 'tools' is not supported with this model.", "cannot call tools"),
        (
            "400 Bad Request",
            "Function tools with reasoning_effort are not supported for m in /v1/chat/completions. Use /v1/responses.",
            "--api openai-responses",
        ),
    ],
)
@pytest.mark.parametrize("api", ["openai-chat", "anthropic"])
async def test_a_model_that_takes_no_tools_is_one_clear_line(wire_server, api, line, message, hint):
    wire_server.answer(status(line, {"error": {"message": message}}))
    with pytest.raises(BackendError) as caught:
        await chat_of(wire_server, api).ask("Hi")
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(posts(wire_server)) == 1
