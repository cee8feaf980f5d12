"""An answer that was cut off is continued in a turn of its own; one that is whole is not."""

from __future__ import annotations

import pytest

from nb_backend import Chat
from nb_backend.chat.continuation import continuation
from nb_backend.chat.messages import Message

LENGTH = {"type": "finish", "finish": {"reason": "length"}}
PROMPT = "Continue exactly where you stopped. Do not repeat anything."


def cut_off(text: str) -> list[Message]:
    answer = Message({"role": "assistant", "content": text}, {"finish_reason": "MAX_TOKENS", "complete": False})
    return [Message({"role": "user", "content": "Hi?"}), answer]


async def test_the_prompt_goes_to_the_model_that_was_asked(backend):
    chat = Chat("m")
    backend.engine.enqueue("One, two", LENGTH)
    assert (await chat.ask("Count.", model="big")).complete is False
    prompt, model = continuation(chat.messages)
    assert (prompt, model) == (PROMPT, "big")
    backend.engine.enqueue(", three.")
    assert (await chat.ask(prompt, model=model)).complete is True
    assert [one["content"] for one in chat.messages] == ["Count.", "One, two", PROMPT, ", three."]
    with pytest.raises(ValueError, match="was not cut off: ask for more in words"):
        continuation(chat.messages)


async def test_a_stopped_answer_can_be_continued_too(backend):
    chat = Chat()
    backend.engine.enqueue("Half", ...)
    stream = chat.stream("Hi?")
    async for event in stream:
        if str(event):
            await stream.aclose()
    assert continuation(chat.messages) == (PROMPT, None)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("```python\nx = 1", " Begin with ```python, as you stopped inside of code."),
        ("```\nx\n```\n~~~~ a b\n~~~\n```", " Begin with ~~~~a, as you stopped inside of code."),
        ("```\n<b>`x`", " Begin with ```, as you stopped inside of code."),
        ("```python\nx = 1\n```\nand so", ""),
        ("    ```\nindented", ""),
    ],
)
def test_code_that_was_cut_off_begins_with_a_fence_again(text, hint):
    assert continuation(cut_off(text))[0] == PROMPT + hint


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([], "there is no answer to continue"),
        ([{"role": "user", "content": "Hi?"}], "there is no answer to continue"),
        ([{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hi."}], "was not cut off"),
        (cut_off(" \n"), "the last answer has no text to continue"),
    ],
    ids=["empty", "no answer", "whole", "no text"],
)
def test_what_cannot_be_continued_is_one_line(messages, why):
    with pytest.raises(ValueError, match=why):
        continuation(messages)
