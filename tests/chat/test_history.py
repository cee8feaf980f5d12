"""What a cell takes back when it runs again, how that comes back, and versions of turns."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle

import pytest
from chat_support import STATE, questions, run_cells, sent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire_server import CHUNKED, LAST_CHUNK, chunk

from nb_backend import Chat
from nb_backend.chat.cell_run import CellRun, from_cell
from nb_backend.errors import ServerError


async def test_a_cell_that_runs_again_takes_back_what_it_said_and_all_after_it(backend):
    chat = Chat(system="S")
    await run_cells(chat, "a", "b", "c")
    with from_cell("b"):
        await chat.ask("changed?")
    assert sent(backend) == ["S", "a?", "a?", "changed?"]
    assert questions(chat) == ["a?", "changed?"]
    assert chat.messages[0] == {"role": "user", "content": "a?", "cell": "a"}


async def test_running_all_twice_asks_the_same_twice(backend):
    chat = Chat()
    await run_cells(chat, "a", "b", "c", "a", "b", "c")
    bodies = [body["messages"] for body in backend.engine.history]
    assert bodies[:3] == bodies[3:]
    assert questions(chat) == ["a?", "b?", "c?"]
    assert all("cell" not in message for body in bodies for message in body)


async def test_what_one_run_asks_belongs_together(backend):
    chat = Chat()
    for _ in range(2):
        with from_cell("a") as run:
            await chat.ask("1")
            with from_cell(run):
                await asyncio.to_thread(chat, "2")
    assert sent(backend) == ["1", "1", "2"]
    assert questions(chat) == ["1", "2"]
    assert repr(run) == "CellRun('a')"


@pytest.mark.parametrize("cell", [None, ""])
async def test_without_a_cell_every_question_is_added(backend, cell):
    chat = Chat()
    await run_cells(chat, "a")
    with from_cell("a"), from_cell(cell):
        await chat.ask("1")
        await chat.ask("1")
    assert questions(chat) == ["a?", "1", "1"]
    assert "cell" not in chat.messages[-1]


async def test_a_run_that_fails_takes_nothing_back(backend):
    chat = Chat()
    await run_cells(chat, "a", "b")
    before = [*chat.messages]
    backend.engine.enqueue("Hm", RuntimeError("m"))
    with pytest.raises(ServerError):
        await run_cells(chat, "a")
    backend.engine.enqueue(...)
    with from_cell("a"):
        stream = chat.stream("stopped before its first word")
    await anext(stream)
    await stream.aclose()
    assert sent(backend) == ["stopped before its first word"]
    assert chat.messages == before


async def test_a_run_that_is_stopped_with_text_takes_back(backend):
    chat = Chat()
    await run_cells(chat, "a", "b")
    backend.engine.enqueue("Hel", ...)
    with from_cell("a"):
        stream = chat.stream("again?")
    async for event in stream:
        if str(event):
            break
    await stream.aclose()
    assert chat.messages == [
        {"role": "user", "content": "again?", "cell": "a"},
        {"role": "assistant", "content": "Hel", "stopped": True},
    ]


async def test_a_run_is_the_same_from_the_background_loop(backend):
    chat = Chat()
    for _ in range(2):
        with from_cell("a"):
            chat("1")
    assert questions(chat) == ["1"]


async def test_the_server_state_of_undone_turns_is_not_sent(backend):
    chat = Chat()
    backend.engine.enqueue(STATE, "Hi")
    await run_cells(chat, "a", "b", "a", "c")
    assert [body.get("conversation") for body in backend.engine.history] == [None, {"id": 7}, None, None]


async def test_take_back_by_hand(backend):
    chat = Chat()
    await run_cells(chat, "a", "b", "c")
    chat.take_back("none")
    assert questions(chat) == ["a?", "b?", "c?"]
    chat.take_back("b")
    assert questions(chat) == ["a?"]
    chat.reset()
    assert chat.messages == []


async def test_cells_with_an_openai_server(wire_server):
    data = b'data: {"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
    wire_server.answer(CHUNKED + chunk(data) + LAST_CHUNK)
    chat = Chat("m", url=f"{wire_server.url}/v1")
    await run_cells(chat, "a", "b", "c", "b")
    assert wire_server.requests[-1].json["messages"] == [
        {"role": "user", "content": "a?"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "b?"},
    ]


def test_the_repr_of_a_run_names_its_cell():
    with from_cell(run := CellRun("a")) as inside:
        assert inside is run


# --- what no cell has asked stays


async def notebook_with_a_panel(chat):
    """Ask in the cells a, b and c, and in a panel before and after b."""
    for text in ("a", None, "b", None, "c"):
        await (run_cells(chat, text) if text else chat.ask(f"panel {len(chat.messages) // 2}?"))


async def test_what_was_asked_in_a_panel_stays_when_a_cell_runs_again(backend):
    chat = Chat()
    await notebook_with_a_panel(chat)
    before = [body["messages"] for body in backend.engine.history]
    assert questions(chat) == ["a?", "panel 1?", "b?", "panel 3?", "c?"]
    await run_cells(chat, "a")
    assert questions(chat) == ["a?", "panel 1?", "panel 3?"]
    await run_cells(chat, "b", "c")
    assert questions(chat) == ["a?", "panel 1?", "b?", "panel 3?", "c?"]
    again = [body["messages"] for body in backend.engine.history[len(before) :]]
    assert again == [before[0], before[2], before[4]]  # the same requests as the first time


async def test_the_prompts_of_one_run_stay_together(backend):
    chat = Chat()
    for _ in range(2):
        with from_cell("a"):
            await chat.ask("1")
            with from_cell(None):
                await chat.ask("panel?")
            await chat.ask("2")
            assert sent(backend) == ["1", "1", "2"]
    assert questions(chat) == ["1", "2", "panel?", "panel?"]


async def test_undo_puts_back_what_a_re_run_took_back(backend):
    chat = Chat()
    await notebook_with_a_panel(chat)
    await run_cells(chat, "a")
    ((removal, gone),) = chat.removals
    assert removal.describe(gone) == "2 turns taken back when a cell ran again"
    await run_cells(chat, "c")
    assert [len(gone) for _, gone in chat.removals] == [2]  # the new turn of c stands for the old one
    chat.undo()
    assert questions(chat) == ["a?", "panel 1?", "b?", "panel 3?", "c?"]
    assert chat.removals == []
    with pytest.raises(ValueError, match="nothing to undo"):
        chat.undo()


async def test_undo_of_delete_reset_and_a_deleted_cell(backend):
    chat = Chat()
    await notebook_with_a_panel(chat)
    before = [*chat.messages]
    chat.delete(chat.messages[2])
    chat.forget("b")
    await chat.ask("since?")
    chat.reset()
    await chat.ask("later?")
    for _ in range(3):
        chat.undo()
    assert chat.messages[: len(before)] == before
    assert questions(chat)[-2:] == ["since?", "later?"]


async def test_undo_joins_what_a_cell_put_aside(backend):
    chat = Chat()
    await run_cells(chat, "a")
    with from_cell("b"):
        await chat.ask("b?", new=True)
    assert [removal.kind for removal, _ in chat.removals] == ["new"]
    chat.undo()
    assert questions(chat) == ["a?", "b?"]


# --- versions


async def test_versions_of_questions_and_answers_with_their_continuations(backend, tmp_path):
    chat = Chat()
    await chat.ask("1")
    await chat.ask("2")
    backend.engine.enqueue("better")
    await chat.ask("1", instead=chat.messages[0])
    await chat.ask("one", instead=chat.messages[0])
    assert questions(chat) == ["one"]
    assert chat.versions == {id(chat.messages[0]): (2, 2)}
    chat.choose_version(chat.messages[0], 1)
    assert [message["content"] for message in chat.messages] == ["1", "better"]
    assert chat.versions == {id(chat.messages[0]): (1, 2), id(chat.messages[1]): (2, 2)}
    chat.choose_version(chat.messages[1], 1)
    assert questions(chat) == ["1", "2"]
    with pytest.raises(ValueError, match="no version 3"):
        chat.choose_version(chat.messages[1], 3)
    with pytest.raises(ValueError, match="no longer in the chat"):
        chat.choose_version({"role": "user", "content": "1"}, 1)

    chat.save(tmp_path / "chat.json")
    for other in (Chat.load(tmp_path / "chat.json"), copy.deepcopy(chat), pickle.loads(pickle.dumps(chat))):
        assert list(other.versions.values()) == [(1, 2), (1, 2)]
        other.choose_version(other.messages[1], 2)
        assert [message["content"] for message in other.messages] == ["1", "better"]
        other.choose_version(other.messages[0], 2)
        assert questions(other) == ["one"]
        assert questions(chat) == ["1", "2"]
    for name in ("chat.md", "chat.ipynb"):
        chat.export(tmp_path / name)
        assert "version 1 of 2; the others are not shown" in (tmp_path / name).read_text()
        assert "better" not in (tmp_path / name).read_text()


@pytest.mark.parametrize(
    "damage",
    [
        {"path": 7},
        {"at": 1},
        {"at": 99},
        {"chosen": 5},
        {"chosen": True},
        {"path": -1},
        {"others": []},
        {"others": [{"messages": [], "about": []}]},
        {"others": [{"messages": [{"role": "assistant"}], "about": [{}]}]},
        {"others": [{"messages": [{"role": "user", "media": [["/etc/passwd", "x"]]}], "about": [{}]}]},
        {"others": "x"},
    ],
    ids=str,
)
async def test_damaged_versions_in_a_file_are_left_out(backend, tmp_path, damage):
    chat = Chat()
    await chat.ask("1")
    await chat.ask("one", instead=chat.messages[0])
    chat.save(path := tmp_path / "chat.json")
    record = json.loads(path.read_text())
    record["versions"][0] |= damage
    path.write_text(json.dumps(record))
    loaded = Chat.load(path)
    assert loaded.messages == chat.messages
    assert loaded.versions == {}


async def test_messages_that_the_user_changes_are_the_chosen_path(backend):
    chat = Chat()
    await chat.ask("1")
    await chat.ask("one", instead=chat.messages[0])
    del chat.messages[0]
    assert chat.versions == {}
    chat.messages = [{"role": "user", "content": "mine"}]
    await chat.ask("2")
    assert questions(chat) == ["mine", "2"]


ACTIONS = ["panel", "panel", "a", "b", "c", "retry", "edit", "delete", "clear", "forget", "undo", "switch", "switch"]


def readable(chat):
    """Return the texts that are in the messages or in a version, and those that can be brought back."""
    history = chat._history
    forks = [message["content"] for fork in history._forks for version in fork.versions for message in version]
    here = [message["content"] for messages in (*history._previous, chat.messages) for message in messages]
    removals = [removal for removal, _ in chat.removals]
    for removal in removals:
        removals += removal.earlier
    back = [message["content"] for removal in removals for message in (*removal.before, *removal.removed)]
    return {*forks, *here}, {*back}


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 9)), max_size=14))
def test_no_text_is_lost_without_a_way_back(backend, actions):
    chat, of_cells = Chat(), {}
    kept: set[str] = set()  # what has been shown, and not been deleted by the last removal but one
    for number, (act, at) in enumerate(actions):
        prompts = [message for message in chat.messages if message["role"] == "user"]
        text, removals = f"{act} {number}", [removal for removal, _ in chat.removals]
        if act == "panel":
            chat(text)
        elif act in "abc":
            kept -= of_cells.pop(act, set())  # its new turn stands in the place of the old one
            with from_cell(act):
                chat(text)
            of_cells[act] = {text}
        elif act in ("retry", "edit") and prompts:
            question = prompts[at % len(prompts)]
            chat(question["content"] if act == "retry" else text, instead=question)
        elif act == "delete" and prompts:
            chat.delete(prompts[at % len(prompts)])
        elif act == "clear":
            chat.reset()
        elif act == "forget":
            chat.forget("abc"[at % 3])
        elif act == "undo" and removals:
            chat.undo()
        elif act == "switch" and (versions := chat.versions):
            message = next(one for one in chat.messages if id(one) in versions)
            chat.choose_version(message, at % versions[id(message)][1] + 1)
        here, back = readable(chat)
        lost = kept - here - back
        assert not lost, (act, lost)
        kept = here | (kept & back)
