"""Starting a chat over, and settings that a prompt makes for those after it."""

from __future__ import annotations

import pytest
from chat_support import STATE, questions, run_cells, sent

from nb_backend import Chat
from nb_backend.chat.cell_run import from_cell
from nb_backend.errors import ServerError


async def ask(chat, cell, **options):
    with from_cell(cell):
        await chat.ask(f"{cell}?", **options)


async def run_all(chat, new="c"):
    for cell in ("a", "b", "c", "d"):
        await ask(chat, cell, new=cell == new)


# -- new


async def test_it_starts_over(backend):
    chat = Chat(system="S")
    await run_all(chat)
    assert sent(backend) == ["S", "c?", "c?", "d?"]
    assert questions(chat) == ["c?", "d?"]


async def test_without_cells_it_starts_over_too(backend):
    chat = Chat()
    await chat.ask("1")
    await chat.ask("2", new=True)
    await chat.ask("3")
    assert sent(backend) == ["2", "2", "3"]


async def test_running_all_twice_asks_the_same_twice(backend):
    chat = Chat()
    await run_all(chat)
    await run_all(chat)
    bodies = [body["messages"] for body in backend.engine.history]
    assert bodies[:4] == bodies[4:]


async def test_a_cell_before_it_that_runs_again_takes_all_back(backend):
    chat = Chat()
    await run_all(chat)
    await ask(chat, "b")
    assert sent(backend) == ["a?", "a?", "b?"]
    assert questions(chat) == ["a?", "b?"]
    await ask(chat, "d")
    assert sent(backend)[-3:] == ["b?", "b?", "d?"]


@pytest.mark.parametrize(("new", "expected"), [(True, ["c?"]), (False, ["a?", "b?", "c?"])])
async def test_the_cell_itself_may_run_again_with_it_or_without(backend, new, expected):
    chat = Chat()
    await run_all(chat)
    await ask(chat, "c", new=new)
    assert questions(chat) == expected
    await ask(chat, "b")
    assert questions(chat) == ["a?", "b?"]


async def test_a_question_that_fails_starts_nothing_over(backend):
    chat = Chat()
    await run_cells(chat, "a", "b")
    backend.engine.enqueue("Hm", RuntimeError("m"))
    with pytest.raises(ServerError):
        await ask(chat, "c", new=True)
    assert questions(chat) == ["a?", "b?"]


async def test_the_server_state_is_dropped(backend):
    chat = Chat()
    backend.engine.enqueue(STATE, "Hi")
    await run_cells(chat, "a", "b")
    await ask(chat, "c", new=True)
    await ask(chat, "d")
    assert [body.get("conversation") for body in backend.engine.history] == [None, {"id": 7}, None, None]


async def test_a_reset_forgets_the_earlier_ones_too(backend):
    chat = Chat()
    await run_all(chat)
    chat.reset()
    await ask(chat, "x")
    await ask(chat, "b")
    assert questions(chat) == ["x?", "b?"]


# -- the system prompt


async def test_a_system_prompt_holds_from_its_question_on(backend):
    chat = Chat(system="first")
    await ask(chat, "a")
    await ask(chat, "b", system="second")
    await ask(chat, "c")
    assert [sent(backend, at)[0] for at in range(3)] == ["first", "second", "second"]
    assert chat.system == "second"
    assert "system" not in backend.engine.history[-1]["messages"][3]


async def test_taking_the_question_back_takes_its_system_prompt_back(backend):
    chat = Chat()
    await ask(chat, "a")
    await ask(chat, "b", system="S")
    await ask(chat, "a")
    assert sent(backend) == ["a?"]
    assert chat.system is None


async def test_an_empty_system_prompt_is_none(backend):
    chat = Chat(system="S")
    await ask(chat, "a", system="")
    await ask(chat, "b")
    assert sent(backend) == ["a?", "a?", "b?"]


async def test_setting_it_overrides_what_a_prompt_has_set(backend):
    chat = Chat()
    await ask(chat, "a", system="S")
    chat.system = "T"
    await ask(chat, "b")
    assert sent(backend)[0] == chat.system == "T"


async def test_a_system_prompt_of_a_failed_question_is_not_kept(backend):
    chat = Chat()
    backend.engine.enqueue(RuntimeError("m"))
    with pytest.raises(ServerError):
        await ask(chat, "a", system="S")
    assert chat.system is None


async def test_it_is_never_trimmed_and_a_new_chat_begins_without_it(backend):
    chat = Chat()
    await ask(chat, "a", system="S")
    await ask(chat, "b")
    chat.messages[-1]["trimmed"] = 2
    await ask(chat, "c")
    assert sent(backend) == ["S", "c?"]
    await ask(chat, "d", new=True)
    assert sent(backend) == ["d?"]


async def test_it_is_saved(backend, tmp_path):
    chat = Chat(system="base")
    await ask(chat, "a", system="S")
    chat.save(tmp_path / "chat.json")
    loaded = Chat.load(tmp_path / "chat.json")
    assert loaded.system == "S"
    await ask(loaded, "a")
    assert sent(backend) == ["base", "a?"]


# -- for one request, and requests that are not sent


async def test_a_model_and_parameters_for_one_question(backend):
    chat = Chat("base", temperature=0)
    await chat.ask("1", model="other", temperature=1, seed=7)
    await chat.ask("2")
    first, second = backend.engine.history
    assert (first["model"], first["temperature"], first["seed"]) == ("other", 1, 7)
    assert (second["model"], second["temperature"], "seed" in second) == ("base", 0, False)


@pytest.mark.parametrize("options", [{}, {"new": True}, {"system": "T", "model": "m", "temperature": 1}])
async def test_a_request_is_what_would_be_sent_and_changes_nothing(backend, options):
    chat = Chat(system="S", provider="P")
    backend.engine.enqueue(STATE, "Hi")
    await run_cells(chat, "a", "b")
    before = [dict(message) for message in chat.messages]
    png = b"\x89PNG\r\n\x1a\n" + bytes(8)
    with from_cell("b"):
        body = chat.request("c?", [(png, "a.png")], **options).body()
        assert chat.messages == before
        assert len(backend.engine.history) == 2
        await chat.ask("c?", [(png, "a.png")], **options)
    sent_body = backend.engine.history[-1]
    assert "api_key" not in body
    assert {**body, "api_key": sent_body["api_key"]} == sent_body


# -- keep=False


async def test_with_keep_false_the_chat_stays_as_it_was(backend):
    chat = Chat(system="S")
    told = []
    chat.watch(told.append)
    backend.engine.enqueue({"type": "provider", "provider": {"name": "scripted"}}, STATE, "one")
    await chat.ask("1")
    before, count = list(chat.messages), len(told)
    answer = await chat.ask("2", model="other", keep=False)
    assert (answer.text, sent(backend)) == ("2", ["S", "1", "one", "2"])
    assert "conversation" not in backend.engine.history[-1]  # that goes on with the next
    assert chat.messages == before
    assert (chat.live, len(told)) == ([], count)
    await chat.ask("3")
    assert sent(backend) == ["S", "1", "one", "3"]
    assert backend.engine.history[-1]["conversation"] == STATE["conversation"]["scripted"]


async def test_with_keep_false_a_stopped_answer_is_not_kept(backend):
    backend.engine.enqueue("Half", ...)
    stream = Chat().stream("Hi", keep=False)
    async for event in stream:
        if str(event):
            break
    await stream.aclose()
    assert (stream.answer.text, stream.answer.stopped, stream.kept) == ("Half", True, False)
