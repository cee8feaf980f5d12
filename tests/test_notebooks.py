"""Every notebook runs, on the embedded backend or from stored answers, and is committed with its outputs."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from nb_backend.notebook.magic.commands import known_verbs
from nb_backend.notebook.magic.options import declared

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))

ANSWERS = NOTEBOOKS[0].with_name("answers")
REPLAYED = [path for path in NOTEBOOKS if path.stem in ("batch", "compare")]


def run(path: Path, **env: str) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources)
    client.execute(env={**os.environ, **env})
    return notebook


def stored_answers() -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in ANSWERS.iterdir()}


@pytest.fixture(scope="module")
def replayed() -> dict[str, nbformat.NotebookNode]:
    """The notebooks with stored answers, run without a server. The time of the answers that they use is set."""
    before = stored_answers()
    for file in ANSWERS.iterdir():
        os.utime(file, (0, 0))
    notebooks = {path.stem: run(path, NB_BACKEND_CACHE_ONLY="1") for path in REPLAYED}
    assert stored_answers() == before
    return notebooks


@pytest.mark.parametrize("path", REPLAYED, ids=lambda path: path.stem)
def test_a_notebook_is_replayed_from_the_stored_answers_with_the_same_outputs(
    path: Path, replayed: dict[str, nbformat.NotebookNode]
) -> None:
    committed = nbformat.read(path, as_version=4)
    for cell, committed_cell in zip(replayed[path.stem].cells, committed.cells, strict=True):
        assert cell.get("outputs") == committed_cell.get("outputs"), cell.source


@pytest.mark.usefixtures("replayed")
def test_every_stored_answer_is_used() -> None:
    assert [file.name for file in ANSWERS.iterdir() if not file.stat().st_mtime] == []


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path not in REPLAYED], ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path) -> None:
    notebook = run(path)
    answers = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "seconds" in output.get("metadata", {}).get("nb_backend", {})
    ]
    assert answers
    for answer in answers:
        if answer["metadata"]["nb_backend"].get("failed"):
            continue
        assert answer.data["text/plain"].strip()
        assert "on this machine" in answer.data.get("text/markdown", answer.data["text/plain"])


def test_the_transcript_of_a_panel_is_in_the_executed_notebook() -> None:
    cells = nbformat.read(NOTEBOOKS[0].with_name("panel.ipynb"), as_version=4).cells
    notebook = nbformat.v4.new_notebook(cells=[cell for cell in cells if cell.cell_type == "code"])
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    shown, finished = (
        [output.data.get("text/markdown", "") for output in cell.outputs if "data" in output]
        for cell in notebook.cells
        if "ChatPanel(" in cell.source
    )
    for text in (shown[1], finished[0]):
        assert text.count("**You**") == text.count("on this machine") == 2
    assert '<details class="nbb-saved" open>' in shown[1]  # the page folds it while the panel is there
    assert "<details" not in finished[0]
    assert not finished[1]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_with_its_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        fails = any(output.output_type == "error" for output in cell.outputs)
        assert fails == ("raises-exception" in cell.metadata.get("tags", [])), cell.source
    shown = any("nb_backend" in output.get("metadata", {}) for cell in code for output in cell.outputs)
    assert shown or path.stem == "batch"  # its answers are in tables


def test_every_option_and_every_command_is_shown() -> None:
    cells = [cell for path in NOTEBOOKS for cell in nbformat.read(path, as_version=4).cells]
    lines = [line for cell in cells for line in cell.source.splitlines() if "%backend" in line]
    words = {word.partition("=")[0] for line in lines for word in line.split()}
    for option in declared():
        assert not option.flags or words & set(option.flags), option.flags
    verbs = {line.removeprefix("%backend").split(" ")[1] for line in lines if line.startswith("%backend ")}
    assert verbs == {*known_verbs()}
    assert "%backend" in lines
