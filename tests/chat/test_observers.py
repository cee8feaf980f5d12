"""Observers see each turn begin, change and end; prompts asked again, deleted, and stopped."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import re
import sys
import threading
from contextlib import aclosing

import pytest
from chat_support import questions, run_cells, sent

from nb_backend import BackendError, Chat, RawResponse, chats
from nb_backend.chat.answer import Answer
from nb_backend.chat.cell_run import from_cell
from nb_backend.chat.messages import Message, metadata


class Watching:
    """Notes what a watcher is told: the state of the turn at each call, None for other changes."""

    def __init__(self, chat: Chat) -> None:
        self.told = []
        self.end = chat.watch(self)

    def __call__(self, turn):
        self.turn = turn
        self.told.append(turn and (turn.answer.text, turn.ended, turn.kept, type(turn.error)))


NONE = type(None)


async def test_a_turn_is_seen_from_its_beginning_to_its_end(backend):
    backend.engine.enqueue("Hel", "lo")
    chat = Chat()
    watching = Watching(chat)
    async with aclosing(chat.stream("Hi")) as stream:
        assert watching.told == []
        async for event in stream:
            if str(event):
                assert chat.live == [stream.turn]
    texts = [told for at, told in enumerate(watching.told) if told != watching.told[at - 1] or not at]
    assert texts == [
        ("", False, False, NONE),
        ("Hel", False, False, NONE),
        ("Hello", False, False, NONE),
        ("Hello", True, True, NONE),
    ]
    assert chat.live == []
    assert watching.turn.request.question is chat.messages[0]
    watching.end()
    watching.end()
    await chat.ask("More")
    assert watching.told[-1] == ("Hello", True, True, NONE)


async def test_a_failed_turn_has_its_error_and_text(backend):
    backend.engine.enqueue("Half", RuntimeError("boom"))
    chat = Chat()
    watching = Watching(chat)
    with pytest.raises(BackendError) as caught:
        await chat.ask("Hi")
    assert watching.told[-1] == ("Half", True, False, type(caught.value))
    assert chat.live == []
    assert chat.messages == []


async def test_observers_are_called_for_other_changes(backend):
    chat = Chat()
    await run_cells(chat, "a", "b")
    watching = Watching(chat)
    chat.delete(chat.messages[0])
    chat.take_back("b")
    chat.forget("a")
    chat.reset()
    assert watching.told == [None] * 4


def test_observers_are_called_when_a_name_gets_another_chat():
    first = chats["watched"]
    watching = Watching(first)
    chats["watched"] = Chat()
    assert watching.told == [None]
    watching = Watching(chats["watched"])
    del chats["watched"]
    assert watching.told == [None]


async def test_an_observer_that_fails_does_no_harm(backend, caplog):
    backend.engine.enqueue("Hello")
    chat = Chat()
    chat.watch(lambda turn: 1 / 0)
    watching = Watching(chat)
    assert (await chat.ask("Hi")).text == "Hello"
    assert watching.told[-1][0] == "Hello"
    assert "ZeroDivisionError" in caplog.text


async def test_observers_are_not_copied_pickled_or_kept_alive(backend):
    chat = Chat()
    watching = Watching(chat)
    for other in (copy.deepcopy(chat), pickle.loads(pickle.dumps(chat))):
        other.reset()
    assert watching.told == []


async def test_a_dropped_stream_keeps_its_answer_with_observers_too(backend):
    backend.engine.enqueue("Half", "more", ...)
    chat = Chat()
    watching = Watching(chat)
    stream = chat.stream("Hi")
    async for event in stream:
        if str(event) == "more":
            break
    await stream._events.aclose()
    del stream
    gc.collect()
    assert watching.told[-1] == ("Halfmore", True, True, NONE)
    assert chat.messages[-1]["stopped"]


# -- stopped


@pytest.mark.parametrize("where", ["thread", "loop"])
async def test_stop_ends_the_stream_for_who_iterates_it(backend, where):
    backend.engine.enqueue("Half", ...)
    chat = Chat()
    texts = []

    async def ask():
        async with aclosing(chat.stream("Hi")) as stream:
            async for event in stream:
                texts.append(str(event))
                if str(event) == "Half":
                    asyncio.get_running_loop().call_soon(stop)
        return stream.answer

    def stop():
        (turn,) = chat.live
        if where == "thread":
            threading.Thread(target=turn.stop).start()
        else:
            turn.stop()

    async with asyncio.timeout(30):
        answer = await ask()
    assert (answer.text, answer.stopped) == ("Half", True)
    assert chat.messages[-1] == {"role": "assistant", "content": "Half", "stopped": True}
    assert asyncio.current_task().cancelling() == 0


async def test_stop_while_the_consumer_is_busy(backend):
    backend.engine.enqueue("Half", "more", ...)
    chat = Chat()
    stream = chat.stream("Hi")
    async for event in stream:
        if str(event) == "Half":
            stream.stop()
    assert (stream.answer.text, stream.answer.stopped, stream.kept) == ("Half", True, True)


async def test_stop_before_the_first_text_keeps_nothing(backend):
    backend.engine.enqueue(...)
    chat = Chat()
    chat.watch(lambda turn: turn and not turn.ended and turn.stop())
    answer = await chat.ask("Hi")
    assert answer.stopped
    assert chat.messages == []


async def test_a_cancellation_that_comes_with_a_stop_is_a_cancellation(backend):
    backend.engine.enqueue("Half", ...)
    chat = Chat()
    stream = chat.stream("Hi")

    async def ask():
        async for event in stream:
            if str(event) == "Half":
                asyncio.get_running_loop().call_soon(both)

    def both():
        stream.stop()
        task.cancel()

    task = asyncio.create_task(ask())
    with pytest.raises(asyncio.CancelledError):
        await task
    await stream.aclose()
    assert stream.kept


# -- asked again


async def test_a_prompt_asked_again_replaces_the_old_turn(backend):
    chat = Chat()
    for question in ("one", "two", "three"):
        await chat.ask(question)
    await chat.ask("two again", instead=chat.messages[2])
    assert questions(chat) == ["one", "two again"]
    assert [text for text in sent(backend) if "two" in text or "three" in text] == ["two again"]


@pytest.mark.parametrize("instead_of", [0, 2])
async def test_a_failed_retry_loses_nothing(backend, instead_of):
    chat = Chat()
    await chat.ask("one")
    await chat.ask("two")
    before = list(chat.messages)
    backend.engine.enqueue("Half", RuntimeError("boom"))
    with pytest.raises(BackendError):
        await chat.ask("again", instead=chat.messages[instead_of])
    assert chat.messages == before


async def test_a_prompt_asked_again_still_belongs_to_its_cell(backend):
    chat = Chat()
    await run_cells(chat, "a", "b")
    await chat.ask("b, better", instead=chat.messages[2])
    assert questions(chat) == ["a?", "b, better"]
    with from_cell("b"):
        await chat.ask("b!")
    assert questions(chat) == ["a?", "b!"]


async def test_a_prompt_asked_again_keeps_its_system_prompt(backend):
    chat = Chat()
    await chat.ask("one", system="Be brief.")
    await chat.ask("one again", instead=chat.messages[0])
    assert sent(backend)[0] == "Be brief."
    assert chat.system == "Be brief."


async def test_a_removed_prompt_cannot_be_asked_again(backend):
    chat = Chat()
    await chat.ask("one")
    old = chat.messages[0]
    for question in (dict(old), old):
        if question is old:
            chat.reset()
        with pytest.raises(ValueError, match="no longer in the chat"):
            chat.stream("again", instead=question)
        with pytest.raises(ValueError, match="no longer in the chat"):
            chat.delete(question)


async def test_the_answer_to_a_prompt_removed_meanwhile_comes_last(backend):
    chat = Chat()
    await chat.ask("one")
    stream = chat.stream("again", instead=chat.messages[0])
    async for event in stream:
        if str(event) and "other" not in questions(chat):
            chat.reset()
            await chat.ask("other")
    assert questions(chat) == ["other", "again"]


async def test_a_turn_is_deleted_whole(backend):
    chat = Chat()
    for question in ("one", "two", "three"):
        await chat.ask(question)
    chat.delete(chat.messages[2])
    assert questions(chat) == ["one", "three"]
    assert [message["role"] for message in chat.messages] == ["user", "assistant"] * 2
    await chat.ask("four")
    assert not [text for text in sent(backend) if "two" in text]


# -- metadata of messages


async def test_the_metadata_of_an_answer(backend, tmp_path):
    backend.engine.enqueue(
        {"type": "reasoning", "token": "Hm."}, "Hello", {"type": "usage", "usage": {"completion_tokens": 7}}
    )
    chat = Chat()
    answer = await chat.ask("Hi")
    assert chat.messages == [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    chat.save(tmp_path / "chat.json")
    for messages in (
        chat.messages,
        Chat.load(tmp_path / "chat.json").messages,
        pickle.loads(pickle.dumps(chat)).messages,
    ):
        question, said = messages
        known = Answer.of(said)
        assert (known.text, known.reasoning, known.tokens) == ("Hello", "Hm.", 7)
        assert known.seconds == pytest.approx(answer.seconds, abs=0.001)
        assert known.provider == answer.provider
        assert metadata(question)["time"] <= metadata(said)["time"]
        assert re.fullmatch("[0-9a-f]{12}", metadata(question)["id"])
    assert not [key for message in backend.engine.history[-1]["messages"] for key in message if key == "about"]


@pytest.mark.parametrize(
    "known", [{"usage": 1, "provider": "x", "seconds": "s", "finish_reason": {}}, {"reasoning": 3}, {}]
)
def test_an_answer_with_damaged_metadata(known):
    answer = Answer.of(
        Message({"role": "assistant", "content": [{"type": "text", "text": "Hi"}, {}], "trimmed": "x"}, known)
    )
    assert answer.text == "Hi\n\n(an attachment)"
    assert answer.tokens is None
    answer.to_markdown()


def test_a_plain_dict_as_message_has_no_metadata():
    assert metadata({"role": "user"}) == {}
    assert Message({"role": "user"}, {"time": 1}) == {"role": "user"}


def test_an_answer_is_read_on_one_thread_while_it_grows_on_another():
    answer, said = Answer(), [f"{number} " for number in range(20_000)]
    ended = threading.Event()

    def read():
        while not ended.is_set():
            len(answer.text)

    readers = [threading.Thread(target=read) for _ in range(2)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for reader in readers:
            reader.start()
        for word in said:
            answer.add(RawResponse(type="content", content=word))
    finally:
        ended.set()
        sys.setswitchinterval(interval)
        for reader in readers:
            reader.join()
    assert answer.text == "".join(said)
