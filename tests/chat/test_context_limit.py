"""Which turns are trimmed when a history exceeds the model's context."""

from __future__ import annotations

import pytest
from chat_support import STATE, questions, run_cells, sent
from wire_server import received, status

from nb_backend import Chat, RawResponse
from nb_backend.chat.context_limit import is_too_long
from nb_backend.chat.messages import count_turns, trimmed_turns
from nb_backend.chat.wire import wire_messages
from nb_backend.errors import AuthError, RateLimitError, ServerError

TOO_LONG = {"type": "error", "error": "PromptTooLongError", "message": "9 tokens long and m takes 8"}


async def grown(chat: Chat, count: int) -> None:
    for at in range(count):
        await chat.ask(str(at))


async def test_the_oldest_turns_are_left_out_before_anything_is_shown(backend):
    chat = Chat(system="S")
    await grown(chat, 4)
    backend.engine.enqueue(TOO_LONG)
    backend.engine.enqueue("fits")
    stream = chat.stream("new")
    events = [event async for event in stream]
    assert [event.type for event in events] == ["provider", "trimmed", "provider", "content", "finish", "usage"]
    assert events[1] == RawResponse(type="trimmed", turns=2)
    assert (stream.answer.text, stream.answer.trimmed) == ("fits", 2)
    assert sent(backend) == ["S", "2", "2", "3", "3", "new"]
    assert questions(chat) == ["0", "1", "2", "3", "new"]
    assert chat.messages[-1] == {"role": "assistant", "content": "fits", "trimmed": 2}


async def test_the_next_question_leaves_them_out_at_once_and_says_so(backend):
    chat = Chat()
    await grown(chat, 4)
    backend.engine.enqueue(TOO_LONG)
    await chat.ask("4")
    asked = len(backend.engine.history)
    stream = chat.stream("5")
    assert await anext(stream) == RawResponse(type="trimmed", turns=2)
    async for _ in stream:
        pass
    assert len(backend.engine.history) == asked + 1
    assert sent(backend) == ["2", "2", "3", "3", "4", "4", "5"]
    assert "trimmed" not in backend.engine.history[-1]["messages"][-2]
    assert chat.messages[-1]["trimmed"] == 2


async def test_it_asks_again_with_fewer_until_it_fits(backend):
    chat = Chat(system="S")
    await grown(chat, 5)
    for _ in range(3):
        backend.engine.enqueue(STATE, TOO_LONG)
    assert (await chat.ask("new")).trimmed == 5
    assert [len(sent(backend, at)) for at in (-4, -3, -2, -1)] == [12, 6, 4, 2]
    assert sent(backend) == ["S", "new"]
    await chat.ask("next")
    assert "conversation" not in backend.engine.history[-1]


async def test_a_question_that_is_too_long_by_itself_is_an_error(backend):
    chat = Chat()
    await grown(chat, 2)
    before = [*chat.messages]
    for _ in range(3):
        backend.engine.enqueue(TOO_LONG)
    events, error = await received(chat.stream("long"))
    assert [event.type for event in events if event.type != "provider"] == ["trimmed", "trimmed", "error"]
    assert isinstance(error, ServerError)
    assert "9 tokens long" in str(error)
    assert chat.messages == before
    assert sent(backend) == ["long"]
    await chat.ask("short")
    assert sent(backend) == ["0", "0", "1", "1", "short"]


@pytest.mark.parametrize("begun", ["Hel", {"type": "reasoning", "token": "Hm"}])
async def test_an_answer_that_has_begun_is_not_asked_for_again(backend, begun):
    chat = Chat()
    await grown(chat, 2)
    backend.engine.enqueue(begun, TOO_LONG)
    with pytest.raises(ServerError):
        await chat.ask("new")
    assert len(backend.engine.history) == 3


async def test_the_server_state_is_not_sent_for_a_trimmed_history(backend):
    chat = Chat(temperature=0)
    backend.engine.enqueue(STATE, "Hi")
    await grown(chat, 2)
    backend.engine.enqueue(TOO_LONG)
    await chat.ask("new")
    assert [body.get("conversation") for body in backend.engine.history] == [None, {"id": 7}, {"id": 7}, None]
    assert backend.engine.history[-1]["temperature"] == 0


async def test_a_cell_that_runs_again_trims_no_more_than_it_needs(backend):
    chat = Chat()
    await run_cells(chat, "a", "b", "c")
    backend.engine.enqueue(TOO_LONG)
    await run_cells(chat, "d", "c")
    assert sent(backend) == ["a?", "a?", "b?", "b?", "c?"]


async def test_a_stop_while_it_asks_again(backend):
    chat = Chat()
    await grown(chat, 2)
    backend.engine.enqueue(TOO_LONG)
    backend.engine.enqueue("Hel", ...)
    stream = chat.stream("new")
    async for event in stream:
        if str(event):
            break
    await stream.aclose()
    assert chat.messages[-1] == {"role": "assistant", "content": "Hel", "stopped": True, "trimmed": 1}


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("400 Bad Request", {"code": "context_length_exceeded", "message": "This model's maximum context length is 8"}),
        ("400 Bad Request", {"code": "context_length_exceeded", "message": "Nope"}),
        ("400 Bad Request", {"type": "exceed_context_size_error", "message": "exceeds the available context size"}),
        ("200 OK", {"code": "context_length_exceeded", "message": "No"}),
    ],
)
async def test_an_openai_server_that_refuses_for_length(wire_server, line, error):
    hi = {"model": "big", "choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}
    for answer in (status("200 OK", hi), status("200 OK", hi), status(line, {"error": error}), status("200 OK", hi)):
        wire_server.answer(answer)
    chat = Chat("m", url=f"{wire_server.url}/v1", system="S")
    await grown(chat, 2)
    answer = await chat.ask("new")
    assert (answer.text, answer.trimmed) == ("Hi", 1)
    assert [message["content"] for message in wire_server.requests[-1].json["messages"]] == ["S", "1", "Hi", "new"]


@pytest.mark.parametrize(
    ("failure", "too_long"),
    [
        (RawResponse(**TOO_LONG), True),
        (RawResponse(type="error", error={"code": "context_length_exceeded", "message": None}), True),
        (RawResponse(type="error", message="litellm.ContextWindowExceededError: no"), True),
        (RawResponse(type="content", content="context length"), False),
        (RawResponse(type="error", error="E", message="overloaded"), False),
        (ServerError("This model's maximum context length is 4097 tokens. However"), True),
        (ServerError("prompt is too long: 9 tokens > 8 maximum"), True),
        (ServerError("The input token count (9) exceeds the maximum number of tokens allowed (8)"), True),
        (ServerError("request (9 tokens) exceeds the available context size (8 tokens), try increasing it"), True),
        (ServerError("Please reduce the length of the messages or completion."), True),
        (ServerError("the request is larger than 64 MB: send less"), False),
        (RateLimitError("context window: too many tokens per minute"), False),
        (AuthError("context length"), False),
        (KeyError("context length"), False),
    ],
)
def test_which_failures_mean_too_long(failure, too_long):
    assert is_too_long(failure) is too_long


def test_instructions_are_never_trimmed():
    messages = [
        {"role": "assistant", "content": "welcome"},
        {"role": "system", "content": "S"},
        {"role": "user", "content": "1", "cell": "a"},
        {"role": "user", "content": "2"},
        {"role": "tool", "content": "3", "tool_call_id": "t"},
        {"role": "assistant", "content": "4", "stopped": True, "trimmed": 9},
    ]
    assert (count_turns(messages), trimmed_turns(messages), trimmed_turns([])) == (2, 2, 0)
    assert [message["content"] for message in wire_messages(messages)] == ["welcome", "S", "1", "2", "3", "4"]
    assert [message["content"] for message in wire_messages(messages, 1)] == ["S", "2", "3", "4"]
    assert wire_messages(messages, 1)[2:] == [
        {"role": "tool", "content": "3", "tool_call_id": "t"},
        {"role": "assistant", "content": "4"},
    ]
    assert [message["content"] for message in wire_messages(messages, 2)] == ["S"]
