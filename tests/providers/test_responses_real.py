"""ResponsesApi against the server of llama.cpp, with the embedded model."""

from __future__ import annotations

import pytest

from nb_backend import Chat
from nb_backend.errors import ServerError
from nb_backend.providers.responses_api import ResponsesApi


@pytest.fixture
def url(llama_server):
    return f"{llama_server}/v1/responses"


async def test_a_conversation(url):
    chat = Chat("smollm2", url=url, temperature=0, max_tokens=6, system="Be short.", effort="low")
    answer = await chat.ask("Say hello.")
    assert answer.text
    assert answer.output_tokens == answer.usage["output_tokens"] <= 6
    assert answer.input_tokens > 0
    assert answer.provider["name"] == "127.0.0.1"
    assert answer.model.endswith(".gguf")
    second = await chat.ask("Again.")
    assert second.text
    assert second.cached_tokens > 0
    assert [message["role"] for message in chat.messages] == ["user", "assistant"] * 2


async def test_a_limit_of_tokens_is_seen(url):
    answer = await Chat(url=url, temperature=0).ask("Count to a thousand.", max_tokens=3)
    assert (answer.output_tokens, answer.complete, answer.finish_reason) == (3, False, "max_output_tokens")
    assert (await Chat(url=url, temperature=0).ask("Say hello.", stream=False, max_tokens=3)).output_tokens == 3


async def test_the_calls_of_a_conversation_are_taken(url):
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "Look at it"},
        {"role": "assistant", "content": "I look", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
    ]
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    api = type("Api", (ResponsesApi,), {"url": url.removesuffix("/responses")})
    kinds = [event.type async for event in api.create_async_generator("m", messages, max_tokens=2, tools=[tool])]
    assert kinds[-1] == "finish"


async def test_stopped_in_the_middle(url):
    stream = Chat(url=url).stream("Count to a thousand.", max_tokens=1000)
    async for event in stream:
        if str(event):
            break
    await stream.aclose()
    assert stream.answer.stopped
    assert (await Chat(url=url).ask("Hi", max_tokens=2)).text


async def test_a_refusal(url):
    with pytest.raises(ServerError, match=r"answered 4\d\d \(.+\): "):
        await Chat(url=url).ask("x " * 5000)
    with pytest.raises(ValueError, match=r"the model has no vision, so image\.png cannot be sent"):
        await Chat(url=url).ask("What is it?", images=[b"\x89PNG\r\n\x1a\n" + bytes(8)])


async def test_its_models(url):
    models = await type("Api", (ResponsesApi,), {"url": url.removesuffix("/responses")}).get_models()
    assert len(models) == 1
