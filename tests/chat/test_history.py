"""What a cell takes back when it runs again."""

from __future__ import annotations

import asyncio

import pytest
from chat_support import STATE, questions, run_cells, sent
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
