"""OpenAIApi against the server of llama.cpp, with the embedded model."""

from __future__ import annotations

import pytest

from nb_backend import Chat, OpenAIApi
from nb_backend.errors import ServerError


@pytest.fixture
def url(llama_server):
    return f"{llama_server}/v1"


async def test_a_conversation(url):
    chat = Chat("smollm2", url=url, temperature=0, max_tokens=12)
    answer = await chat.ask("Say hello.")
    assert answer.text
    assert answer.finish_reason in ("stop", "length")
    assert answer.tokens == answer.usage["completion_tokens"] <= 12
    assert answer.provider["name"] == "127.0.0.1"
    await chat.ask("Again.")
    assert [message["role"] for message in chat.messages] == ["user", "assistant"] * 2


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
    models = await type("Api", (OpenAIApi,), {"url": url}).get_models()
    assert len(models) == 1
