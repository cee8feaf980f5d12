"""The chat of cells in a real JupyterLab, which tells the kernel the id of the running cell."""

from __future__ import annotations

import pytest
from jupyter_page import Notebook
from serving import Backend

from nb_backend.local.scripted import ScriptedEngine

CELLS = (
    "%load_ext nb_backend\nname = 'Ada'",
    "%%backend -s 'Be brief'\nI am {{ name }}.",
    "%%backend\nWho am I?",
    "%%backend -n\nAnd now?",
)


@pytest.fixture(scope="module")
def lab_env(server: Backend) -> dict[str, str]:
    return server.env


def sent(engine: ScriptedEngine) -> list[list[str]]:
    return [[message["content"] for message in body["messages"]] for body in engine.history]


def test_run_all_twice_and_a_middle_cell_again(nb: Notebook, engine: ScriptedEngine) -> None:
    nb.open(*CELLS)
    once = [["Be brief", "I am Ada."], ["Be brief", "I am Ada.", "I am Ada.", "Who am I?"], ["And now?"]]
    for times in (1, 2):
        nb.run_all()
        nb.cell(len(CELLS) - 1).get_by_text(f"[{times * len(CELLS)}]:").first.wait_for()
        nb.done(len(CELLS) - 1)
        assert sent(engine) == once * times
    nb.reload()
    nb.run(2)
    assert sent(engine)[-1] == once[1]
    nb.run(1)
    assert sent(engine)[-1] == once[0]


def test_a_deleted_cell_is_forgotten(nb: Notebook, engine: ScriptedEngine) -> None:
    nb.open(*CELLS[:3], "%%backend\nGoodbye?")
    nb.run_all()
    nb.cell(3).get_by_text("[4]:").first.wait_for()
    nb.done(3)
    nb.page.evaluate(
        "() => { jupyterapp.shell.currentWidget.content.activeCellIndex = 2; "
        "return jupyterapp.commands.execute('notebook:delete-cell'); }"
    )
    nb.cell(3).wait_for(state="detached")
    nb.run(2)
    assert sent(engine)[-1] == ["Be brief", "I am Ada.", "I am Ada.", "Goodbye?"]


def test_code_goes_into_a_new_cell_below(nb: Notebook, engine: ScriptedEngine) -> None:
    engine.enqueue("Here:\n\n```python\nanswer = 6 * 7\n```\n")
    nb.open("%load_ext nb_backend", "%%backend -f code\nWrite it.", "'the last'")
    nb.run(0)
    nb.run(1)
    nb.cell(3).get_by_text("the last").wait_for()
    nb.run(2)
    assert "Here:" in nb.out(1)
    saved = nb.save().cells
    assert [cell.source for cell in saved[1:]] == ["%%backend -f code\nWrite it.", "answer = 6 * 7", "'the last'"]
    assert saved[2].execution_count == 3
