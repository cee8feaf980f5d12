"""A function, a model and a server: what is sent about the function, what it gets, what the model gets back."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal

import pytest
from PIL import Image
from scripted_calls import raw_call, results, tool_call
from serving import Backend

from nb_backend import Chat, tool


@dataclass
class Place:
    city: str
    country: Literal["IT", "NO"] = "IT"


async def test_a_function_gets_instances_and_a_mismatch_goes_to_the_model(backend: Backend):
    got = []

    async def weather(place: Place, days: int = 1) -> dict[str, str]:
        """Return the weather.

        Args:
            place: Where.
        """
        got.append((place, days))
        return {place.city: "rain"}

    backend.engine.enqueue(tool_call("weather", place="Rome"))
    backend.engine.enqueue(tool_call("weather", place={"city": "Rome"}, days="2"))
    backend.engine.enqueue("It rains.")
    answer = await Chat(tools=[weather]).ask("Rain?")
    first, second, third = backend.engine.history
    described = first["tools"][0]["function"]
    assert described["description"] == "Return the weather."
    assert described["parameters"]["properties"]["place"]["description"] == "Where."
    assert described["parameters"]["required"] == ["place"]
    assert got == [(Place("Rome"), 2)]
    assert results(second)[0].startswith("Error: wrong arguments: place: it should be an object")
    assert results(third)[1] == '{"Rome": "rain"}'
    assert answer.text == "It rains."


async def test_whatever_tools_do_the_answer_ends(backend: Backend):
    def fails() -> None:
        raise SystemExit("api_key=sk-1234567890abcdef")

    async def floods() -> str:
        return "x" * 10**6

    def paints() -> Image.Image:
        return Image.new("RGB", (2, 2), "red")

    deep = '{"a":' * 300 + "1" + "}" * 300
    calls = [tool_call("fails"), tool_call("floods"), tool_call("paints"), tool_call("nope"), raw_call("fails", "{")]
    backend.engine.enqueue(*calls, raw_call("fails", deep), tool_call("floods", n=10**30))
    backend.engine.enqueue("Done.")
    answer = await Chat(tools=[fails, floods, paints]).ask("Go.")
    assert answer.text == "Done."
    assert answer.complete
    failed, flooded, painted, unknown, damaged, nested, long = answer.steps
    assert failed.error == "SystemExit: api_key=***"
    assert flooded.result.endswith("more characters left out]")
    assert len(flooded.content.encode()) <= 20_000
    assert [image.media_type for image in painted.images] == ["image/png"]
    assert unknown.error == "there is no tool 'nope'; the tools are fails, floods, paints"
    for one in (damaged, nested):
        assert str(one.error).startswith("the arguments are not a JSON object")
    assert long.call.arguments == {"n": str(10**30)}
    sent = backend.engine.history[1]
    assert results(sent)[0] == "Error: SystemExit: api_key=***"
    assert painted.images[0].uri in str(sent["messages"])


@pytest.mark.parametrize("nested", [False, True])
async def test_a_tool_may_ask_a_model_itself(backend: Backend, nested: bool):
    """A thread of its own waits for the inner answer, so the loop that carries out the call goes on."""
    backend.engine.enqueue(tool_call("translate", text="rain"))
    backend.engine.enqueue("pioggia")
    backend.engine.enqueue("It is pioggia.")

    async def translate_async(text: str) -> str:
        return (await Chat().ask(text)).text

    def translate(text: str) -> str:
        return Chat()(text).text

    answer = await Chat(tools=[tool(translate_async if nested else translate, name="translate")]).ask("Rain?")
    assert answer.text == "It is pioggia."
    assert answer.steps[0].result == "pioggia"


async def test_a_stopped_answer_does_not_wait_for_its_tool_and_keeps_what_was_said(backend: Backend):
    goes_on = threading.Event()

    def hangs() -> None:
        goes_on.wait(10)

    backend.engine.enqueue("I look. ", tool_call("hangs"))
    chat = Chat(tools=[hangs])
    stream = chat.stream("Go.")
    try:
        async for event in stream:
            if event.type == "step" and event.step["status"] == "running":
                stream.stop()
    finally:
        goes_on.set()
    assert stream.answer.text.strip() == "I look."
    assert not stream.answer.complete
    (step,) = stream.answer.steps
    assert step.error
    assert len(chat.messages) == 2
    backend.engine.enqueue("Again.")
    await chat.ask("And?")
    assert len(results(backend.engine.history[-1])) == 1
