"""A notebook that runs again with a cache: no request, no server, and the same output byte for byte."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from driver import Kernel, one_line
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from serving import Backend, serving

from nb_backend.local.scripted import ScriptedEngine

CELLS = [
    "%load_ext nb_backend\n%backend cache on answers",
    "%%backend -s 'Be brief.'\nWhy is the sky blue?",
    "%%backend m -t 0.5\nAnd at {{ 'sun' + 'set' }}?",
    "%%backend --once -f json\nGive a number.",
    "_['number']",
    "%backend ask And now?",
    "from nb_backend import Chat\nanswer = await Chat('other').ask('From Python')\nprint(answer, answer.recorded)",
]


def run(folder: Path, env: dict[str, str], cells: list[str] = CELLS) -> list[object]:
    """Run a notebook, and return its saved outputs."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    where = {"metadata": {"path": str(folder)}}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NB_BACKEND_")}
    client = NotebookClient(notebook, timeout=60, kernel_name="python3", resources=where)
    client.execute(env={**clean, **env})
    return [cell.outputs for cell in notebook.cells]


@pytest.mark.parametrize("path", ["", "/v1"], ids=["BackendApi", "OpenAIApi"])
def test_run_twice_it_asks_nobody_and_is_the_same(tmp_path, path):
    engine = ScriptedEngine()
    with serving(engine, path) as server:
        engine.enqueue({"type": "reasoning", "token": "Light."}, "Because **blue** ", "light", " scatters.\n\n- a\n- b")
        engine.enqueue("Red", 0.2, " <b>light</b>.")
        engine.enqueue('{"number": 7}')
        env = {**server.env}
        first = run(tmp_path, env)
        asked = len(engine.history)
        assert asked == 5
        assert run(tmp_path, env) == first
        assert len(engine.history) == asked
    gone = {"NB_BACKEND_CACHE_ONLY": "1"}
    assert run(tmp_path, gone) == first
    assert run(tmp_path, {**env, **gone}) == first  # a server is named, and gone
    assert len([*(tmp_path / "answers").iterdir()]) == 5
    with pytest.raises(CellExecutionError, match="'Something else' in answers, and NB_BACKEND_CACHE_ONLY"):
        run(tmp_path, gone, [CELLS[0], "%%backend\nSomething else"])


@pytest.fixture
def folder(kernel: Kernel, tmp_path: Path):
    kernel.run(f"%cd -q {tmp_path}")
    yield tmp_path / "nb_backend_cache"
    kernel.run("from nb_backend import settings; settings.current.cache = None")
    kernel.run("%backend reset")


def last_line(run) -> str:
    return run.markdown[-1].splitlines()[-1]


def test_a_cell_says_that_it_is_replayed_and_since_when(kernel, engine, folder):
    first = kernel.run("%%backend --cache --once\nHi")
    again = kernel.run("%%backend --cache --once\nHi")
    assert len(engine.history) == 1
    assert "asked 20" in last_line(first)
    assert last_line(first) == last_line(again)
    assert kernel.run("_.replayed, _.recorded[:2]").result == "(True, '20')"
    assert len([*folder.iterdir()]) == 1


def test_refresh_asks_anew_and_keeps_that(kernel, engine, folder):
    for text in ("old", "new"):
        engine.enqueue(text)
        kernel.run("%%backend --refresh --once\nHi")
    assert kernel.run("%%backend --once --cache\nHi").markdown[-1].startswith("new")
    assert len(engine.history) == 2


def test_the_commands_of_the_cache(kernel, engine, folder):
    assert "the cache is off" in kernel.run("%backend cache").result
    assert "the cache is on: `nb_backend_cache`" in kernel.run("%backend cache on").result
    for _ in range(2):
        kernel.run("%%backend --once\nHi")
    assert len(engine.history) == 1
    assert "answers: 1 (0.0 of 256 MB)" in kernel.run("%backend cache info").result
    assert "deleted answers: 1" in kernel.run("%backend cache clear").result
    assert [*folder.iterdir()] == []
    assert "the cache is off" in kernel.run("%backend cache off").result
    kernel.run("%%backend --once\nHi")
    assert [*folder.iterdir()] == []
    kernel.run("%backend cache on 'my answers'")
    kernel.run("%%backend --once\nHi")
    assert len([*(folder.parent / "my answers").iterdir()]) == 1
    one_line(kernel.run("%backend cache of"), "write on, on FOLDER, off, clear or info")
    one_line(kernel.run("%backend cache clear all"), "write on, on FOLDER, off, clear or info")


def test_the_bound_can_be_set(kernel, folder):
    kernel.run("%config BackendMagics.max_cache_bytes = 2**20")
    assert "of 1 MB" in kernel.run("%backend cache").result
    kernel.run("%config BackendMagics.max_cache_bytes = 256 * 2**20")


def test_an_interrupted_answer_is_asked_again(kernel, engine, folder):
    engine.enqueue("Half", ...)
    stopped = kernel.run_and_interrupt(
        "%%backend --once --cache\nHi", lambda message: "Half" in str(message["content"].get("data"))
    )
    assert stopped.stop is not None
    assert kernel.run("%%backend --once --cache\nHi").markdown[-1].startswith("Hi")
    assert len(engine.history) == 2


def test_an_answer_that_cannot_be_stored_is_shown_and_the_cell_says_so(kernel: Kernel, server: Backend, folder: Path):
    folder.write_text("in the way")
    ran = kernel.run("%%backend --once --cache\nHi")
    assert ran.error is None
    assert ran.markdown[-1].startswith("Hi")
    assert "not cached" in last_line(ran)
