"""AnthropicApi against the server of llama.cpp, with the embedded model."""

from __future__ import annotations

import pytest

from nb_backend import Chat
from nb_backend.errors import ServerError
from nb_backend.providers.anthropic_api import AnthropicApi


@pytest.fixture
def url(llama_server):
    return f"{llama_server}/v1/messages"


async def test_a_conversation(url):
    chat = Chat("smollm2", url=url, system="Be brief.", temperature=0, max_tokens=12)
    answer = await chat.ask("Say hello.")
    assert answer.text
    assert answer.finish_reason in ("end_turn", "max_tokens")
    assert answer.complete == (answer.finish_reason == "end_turn")
    assert answer.output_tokens == answer.usage["output_tokens"] <= 12
    assert answer.input_tokens > 0
    assert answer.provider["name"] == "127.0.0.1"
    await chat.ask("Again.", max_tokens=2)
    assert [message["role"] for message in chat.messages] == ["user", "assistant"] * 2


async def test_cut_off_by_max_tokens(url):
    answer = await Chat("smollm2", url=url).ask("Count to a thousand.", max_tokens=5)
    assert (answer.finish_reason, answer.complete) == ("max_tokens", False)
    assert answer.output_tokens == 5


async def test_stopped_at_a_word(url):
    answer = await Chat("smollm2", url=url, temperature=0).ask("Say a, b, c, d.", stop=["b"], max_tokens=8)
    assert "b" not in answer.text


async def test_stopped_in_the_middle(url):
    stream = Chat("smollm2", url=url).stream("Count to a thousand.", max_tokens=1000)
    async for event in stream:
        if str(event):
            break
    await stream.aclose()
    assert stream.answer.stopped
    assert (await Chat("smollm2", url=url).ask("Hi", max_tokens=2)).text


async def test_a_refusal(url):
    with pytest.raises(ServerError, match=r"answered 4\d\d \(.+\): "):
        await Chat("smollm2", url=url).ask("x " * 5000)
    with pytest.raises(ValueError, match=r"the model has no vision, so image\.png cannot be sent"):
        await Chat(url=url).ask("What is it?", images=[b"\x89PNG\r\n\x1a\n" + bytes(8)])


async def test_its_models(url):
    provider = type("Api", (AnthropicApi,), {"url": url.removesuffix("/messages")})
    assert len(await provider.get_models()) == 1
