"""The notebooks run as they are, on the embedded backend, and are committed with their outputs."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from nb_backend.notebook.commands import COMMANDS
from nb_backend.notebook.magics import BackendMagics

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()
    answers = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "seconds" in output.get("metadata", {}).get("nb_backend", {})
    ]
    assert answers
    for answer in answers:
        assert answer.data["text/plain"].strip()
        assert "on this machine" in answer.data.get("text/markdown", answer.data["text/plain"])


def test_a_panels_transcript_is_in_the_notebook_that_was_run() -> None:
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
    assert "<details>" in shown[1]
    assert "<details>" not in finished[0]
    assert not finished[1]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_with_its_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        fails = any(output.output_type == "error" for output in cell.outputs)
        assert fails == ("raises-exception" in cell.metadata.get("tags", [])), cell.source
    assert any("nb_backend" in output.get("metadata", {}) for cell in code for output in cell.outputs)


def test_every_option_and_every_command_is_shown() -> None:
    cells = nbformat.read(NOTEBOOKS[0].with_name("conversations.ipynb"), as_version=4).cells
    lines = [line for cell in cells for line in cell.source.splitlines() if "%backend" in line]
    words = {word.partition("=")[0] for line in lines for word in line.split()}
    for option in BackendMagics.backend.parser._actions:
        assert not option.option_strings or words & set(option.option_strings), option.option_strings
    verbs = {line.removeprefix("%backend").split(" ")[1] for line in lines if line.startswith("%backend ")}
    assert verbs == {*filter(None, COMMANDS), "ask", "fix"}
    assert "%backend" in lines
