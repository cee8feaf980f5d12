"""Tools with the embedded backend: its own model, over its own HTTP server, with llama.cpp's grammar."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from local_support import TOKEN, answer, let_models_take_tools, question, real_weights, serving

from nb_backend import Chat, ToolCall, ToolStep
from nb_backend.chat.tool_rounds import ToolRound, round_messages
from nb_backend.errors import ServerError
from nb_backend.local import llama
from nb_backend.local.llama import LlamaEngine
from nb_backend.tools import Tool

NUMBERS = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]}
PNG = "data:image/png;base64,iVBORw0KGgo="


def add(a: int, b: int) -> int:
    return a + b


ADD = Tool("add", "Add two whole numbers.", NUMBERS, add, False, lambda arguments: arguments)


@pytest.fixture(scope="module")
def engine() -> Iterator[LlamaEngine]:
    with pytest.MonkeyPatch.context() as patch:
        let_models_take_tools(patch)
        engine = LlamaEngine(real_weights(), name="Toolmaker", parallel=1)
        yield engine
        engine.close()


async def test_a_call_is_carried_out_and_the_answer_goes_on(engine):
    async with serving(engine) as url:
        chat = Chat(url=url, api_key=TOKEN, tools=[ADD], temperature=0, max_tokens=48)
        answer = await chat.ask("What is 2 + 3?", tool_choice="required")
        (before, [step]), (text, []) = answer.rounds
        assert (before, step.call.name, {*step.call.arguments}) == ("", "add", {"a", "b"})
        assert step.result == str(add(**step.call.arguments))
        assert text == answer.text != ""
        assert answer.output_tokens > 20  # of both rounds
        chat.tools.clear()
        assert (await chat.ask("Thanks!", max_tokens=2)).text  # the history has the call and its result


async def test_a_picture_that_a_tool_returned_does_not_end_the_answer(engine):
    call = {"id": "1", "type": "function", "function": {"name": "plot", "arguments": "{}"}}
    picture = [{"type": "text", "text": "drawn"}, {"type": "image_url", "image_url": {"url": PNG}}]
    asked = {"role": "assistant", "content": None, "tool_calls": [call]}
    messages = [*question("Plot it")["messages"], asked, {"role": "tool", "tool_call_id": "1", "content": picture}]
    events = await answer(engine, {"messages": messages, "max_tokens": 2})
    assert [event["type"] for event in events][-2:] == ["finish", "usage"]
    sent = engine._request({"messages": messages})["messages"][-1]["content"]
    assert sent == "drawn\n(a file that you cannot read: you read text only)"


async def test_a_call_with_damaged_arguments_does_not_end_the_answer(engine):
    step = ToolStep(ToolCall("1", "add", {}, unparsed='{"a": 2, "b"'), error="the arguments are not a JSON object")
    asked = [*question("Add")["messages"], *round_messages(ToolRound(_steps={0: step}), "")]
    events = await answer(engine, {"messages": asked, "tools": [ADD.schema], "max_tokens": 2})
    assert [event["type"] for event in events][-2:] == ["finish", "usage"]


async def test_a_model_that_was_not_made_for_tools_refuses_them_in_one_line(engine, monkeypatch):
    monkeypatch.setattr(llama, "takes_tools", lambda path: False)
    monkeypatch.setattr(engine, "_takes_tools", None)
    async with serving(engine) as url:
        chat = Chat(url=url, api_key=TOKEN, tools=[ADD], max_tokens=2)
        with pytest.raises(ServerError, match="Toolmaker was not made to call tools: leave the tools out, or ask"):
            await chat.ask("What is 2 + 3?")
        assert (await chat.ask("Hi", tool_choice="none")).text
        chat.tools.clear()
        assert (await chat.ask("Hi")).text
