"""Tools with the server of llama.cpp and the embedded model: calls that its grammar forces, in all its dialects."""

from __future__ import annotations

import pytest

from nb_backend import Chat
from nb_backend.tools import Tool

NUMBERS = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]}


@pytest.mark.parametrize("api", ["openai-chat", "openai-responses", "anthropic"])
async def test_a_call_is_carried_out_and_the_answer_goes_on(llama_server, api):
    asked = []

    def add(a: int, b: int) -> int:
        asked.append((a, b))
        return a + b

    tool = Tool("calc.add", "Add two whole numbers.", NUMBERS, add, False, lambda arguments: arguments)
    chat = Chat("smollm2", url=f"{llama_server}/v1", api=api, tools=[tool], temperature=0, max_tokens=64)
    answer = await chat.ask("What is 2 + 3?", tool_choice="required")
    ((before, [step]), *_, (text, [])) = answer.rounds
    ((a, b),) = asked
    assert (before, step.call.name, step.call.arguments) == ("", "calc.add", {"a": a, "b": b})
    assert type(a) is type(b) is int
    assert (step.result, step.error, step.approved) == (str(a + b), None, None)
    assert text == answer.text != ""
    assert answer.tool_calls == []
    chat.tools.clear()
    assert (await chat.ask("Thanks!", max_tokens=2)).text  # the history has the call and its result
