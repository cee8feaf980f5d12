"""The cells of a notebook continue one chat, in a real kernel, with either kind of server."""

from __future__ import annotations

import os

import pytest
from driver import Kernel
from jupyter_client.manager import start_new_kernel

NOTEBOOK = {  # cells by their ids
    "a": "%%backend\na?",
    "b": "%%backend -s 'Be brief'\nb?",
    "c": "%%backend -c other\nc?",
    "d": "%%backend\nd?",
    "e": "%%backend -n\ne?",
    "f": "%%backend\nf?",
    "g": "%%backend --once\ng?",
    "h": "import nb_backend; nb_backend.chats['main']('h?').text",
    "i": "%backend ask i?",
}


@pytest.fixture(scope="module")
def server(either_server):
    return either_server


@pytest.fixture(autouse=True)
def forget(kernel):
    yield
    kernel.run("import nb_backend\nfor name in list(nb_backend.chats): del nb_backend.chats[name]")


def ask(kernel, cell, code=None):
    run = kernel.run(code or NOTEBOOK[cell], cell=cell)
    assert run.error is None, run.error
    return run


def run_all(kernel):
    for cell in NOTEBOOK:
        ask(kernel, cell)


def sent(engine, at=-1):
    return [message["content"] for message in engine.history[at]["messages"]]


def questions(kernel, name="main"):
    code = f"[m['content'] for m in nb_backend.chats['{name}'].messages if m['role'] == 'user']"
    return eval(kernel.run(f"import nb_backend\n{code}").result)


def test_cells_share_a_chat_with_each_other_and_with_code(kernel, engine):
    run_all(kernel)
    assert [sent(engine, at) for at in range(len(NOTEBOOK))] == [
        ["a?"],
        ["Be brief", "a?", "a?", "b?"],
        ["c?"],
        ["Be brief", "a?", "a?", "b?", "b?", "d?"],
        ["e?"],
        ["e?", "e?", "f?"],
        ["g?"],
        ["e?", "e?", "f?", "f?", "h?"],
        ["e?", "e?", "f?", "f?", "h?", "h?", "i?"],
    ]
    assert questions(kernel, "other") == ["c?"]


def test_running_all_twice_asks_the_same_twice(kernel, engine):
    run_all(kernel)
    run_all(kernel)
    bodies = [body["messages"] for body in engine.history]
    assert bodies[: len(NOTEBOOK)] == bodies[len(NOTEBOOK) :]


def test_a_middle_cell_that_runs_again_takes_back_itself_and_all_after_it(kernel, engine):
    for cell in ("a", "b", "d"):
        ask(kernel, cell)
    ask(kernel, "b", "%%backend\nchanged?")
    assert sent(engine) == ["a?", "a?", "changed?"]
    ask(kernel, "d")
    assert sent(engine) == ["a?", "a?", "changed?", "changed?", "d?"]


def test_two_questions_of_one_cell_belong_together(kernel, engine):
    code = "from nb_backend import chats\nchats['main']('1')\nchats['main']('2')\nchats['two']('3');"
    for _ in range(2):
        ask(kernel, "a", code)
        ask(kernel, "b", "%%backend\nb?")
    assert sent(engine) == ["1", "1", "2", "2", "b?"]
    assert questions(kernel, "two") == ["3"]


def test_what_a_cell_runs_by_itself_is_a_part_of_it(kernel, engine):
    code = "for word in 'xyz': get_ipython().run_cell(f'%%backend\\n{word}?')"
    for _ in range(2):
        ask(kernel, "a", code)
    assert questions(kernel) == ["x?", "y?", "z?"]


def test_without_an_id_every_question_is_added(kernel, engine):
    ask(kernel, "a")
    for _ in range(2):
        kernel.run("%%backend\nx?")
    assert questions(kernel) == ["a?", "x?", "x?"]


@pytest.mark.parametrize("line", ["%%backend --once", "%%backend -c other"])
def test_a_cell_that_moves_elsewhere_is_taken_back_where_it_was(kernel, engine, line):
    for cell in ("a", "b", "d"):
        ask(kernel, cell)
    ask(kernel, "b", f"{line}\nb?")
    assert sent(engine) == ["b?"]
    assert questions(kernel) == ["a?"]


@pytest.mark.parametrize("code", ["x = 1", " ", "import nb_backend; nb_backend.chats['other']('x?');"])
def test_a_cell_that_asks_no_more_or_elsewhere_is_taken_back(kernel, engine, code):
    for cell in ("a", "b", "d"):
        ask(kernel, cell)
    kernel.run("%%backend --dry-run\nb?", cell="b")
    assert kernel.run("1 / 0", cell="b").error is not None
    assert questions(kernel) == ["a?", "b?", "d?"]
    ask(kernel, "z", " ")  # blank, and none of these
    assert questions(kernel) == ["a?", "b?", "d?"]
    ask(kernel, "b", code)
    assert questions(kernel) == ["a?"]


def test_a_cell_that_is_deleted_is_forgotten(kernel, engine):
    for cell in ("a", "b", "d"):
        ask(kernel, cell)
    ask(kernel, "x", "x = 1")
    assert questions(kernel) == ["a?", "b?", "d?"]
    kernel.run("x = 1", cell="x", deleted=("b", "none"))
    assert questions(kernel) == ["a?", "d?"]
    ask(kernel, "f")
    assert sent(engine) == ["a?", "a?", "d?", "d?", "f?"]


def test_a_late_answer_of_the_cell_takes_back_no_newer_turn(kernel, engine):
    ask(kernel, "a")
    ask(kernel, "d")
    kernel.run("import asyncio\ngo = asyncio.Event()")
    late = "async def later():\n    await go.wait()\n    await nb_backend.chats['main'].ask('late?')\n"
    ask(kernel, "a", f"{late}task = asyncio.create_task(later())")
    ask(kernel, "f")
    ask(kernel, "x", "go.set()\nawait task")
    assert questions(kernel) == ["f?", "late?"]


def test_a_failed_exchange_leaves_no_trace(kernel, engine):
    ask(kernel, "a")
    ask(kernel, "b")
    for code in ("%%backend\nx?", "%%backend -n -s 'X' -o out\nx?", "%%backend --once\nx?", "%%backend -c new\nx?"):
        engine.enqueue("Half", {"type": "error", "error": "Broken", "message": "the engine broke"})
        assert kernel.run(code, cell="a").error is not None
    assert questions(kernel) == ["a?", "b?"]
    kernel.run("%%backend -c new --dry-run\nx?", cell="a")
    assert kernel.run("'out' in globals(), list(nb_backend.chats)").result == "(False, ['main'])"
    ask(kernel, "d")
    assert sent(engine) == ["Be brief", "a?", "a?", "b?", "b?", "d?"]


def test_a_stopped_one_stays_marked(kernel, engine):
    ask(kernel, "a")
    engine.enqueue("Half of", ...)
    run = kernel.run_and_interrupt("%%backend -o kept\nb?", lambda message: "Half" in str(message["content"]), cell="b")
    assert run.stop[0] == "KeyboardInterrupt"
    assert kernel.run("nb_backend.chats['main'].messages[-1]").result == (
        "{'role': 'assistant', 'content': 'Half of', 'stopped': True}"
    )
    assert kernel.run("kept.text, kept.stopped").result == "('Half of', True)"
    ask(kernel, "d")
    assert sent(engine) == ["a?", "a?", "b?", "Half of", "d?"]


def test_it_says_when_the_oldest_turns_are_left_out(kernel, engine):
    for cell in ("a", "b", "d"):
        ask(kernel, cell)
    engine.enqueue({"type": "error", "error": "BadRequest", "message": "context_length_exceeded"})
    engine.enqueue("Yes")
    run = ask(kernel, "x", "%%backend\nx?")
    assert sent(engine) == ["Be brief", "d?", "d?", "x?"]
    assert run.markdown[-1].startswith("Yes")
    assert "without the 2 oldest turns" in run.markdown[-1]
    assert run.displays[-1]["metadata"]["nb_backend"]["trimmed"] == 2


def test_a_notebook_that_begins_with_a_reset_is_right_whatever_was_run_before(kernel, engine):
    for cell in ("d", "b", "a", "f"):
        ask(kernel, cell)
    for _ in range(2):
        engine.history.clear()
        ask(kernel, "r", "%backend reset")
        for cell in ("x", "a", "d"):
            ask(kernel, cell, f"%%backend\n{cell}?")
        assert [sent(engine, at) for at in range(3)] == [["x?"], ["x?", "x?", "a?"], ["x?", "x?", "a?", "a?", "d?"]]


def test_two_notebooks_never_mix(kernel, engine, server):
    manager, client = start_new_kernel(kernel_name="python3", env={**os.environ, **server.env})
    other = Kernel(manager, client)
    try:
        other.run("%load_ext nb_backend")
        ask(kernel, "a")
        ask(other, "a", "%%backend\nfrom the other?")
        ask(kernel, "d")
        assert sent(engine) == ["a?", "a?", "d?"]
        ask(other, "d")
        assert sent(engine) == ["from the other?", "from the other?", "d?"]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
