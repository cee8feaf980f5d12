"""Hostile answers in the cells of a real JupyterLab, just run, reopened, untrusted and converted: nothing acts."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hostile import HOSTILE
from hostile_page import PREFIXES, WATCH, converted, hostile_sources, missing_words, new_page, requests_of
from jupyter_page import Lab, Notebook
from playwright.sync_api import Page

from nb_backend.chat.answer import Answer
from nb_backend.chat.tool_rounds import step_event
from nb_backend.events import RawResponse
from nb_backend.notebook.cell.notebook_view import CellView
from nb_backend.providers.tool_calls import ToolCall
from nb_backend.tools.step import ToolStep

PER_CELL = 45  # outputs; JupyterLab collapses more than 50
SHOW = """
import json
from IPython.display import display
for bundle in json.load(open("bundles.json"))[{0}]:
    display(bundle, raw=True)
"""
HINT = "OPENAI_API_KEY is set: `%%backend openai:MODEL` asks OpenAI"
END = "\n\nTHEEND"
FORMULA = " $z$"  # added to some outputs and to the last one: when it is typeset, all output is rendered
TYPESET = """([i, formulas]) => {
    const outputs = jupyterapp.shell.currentWidget.content.widgets[i].node.querySelectorAll('.jp-RenderedMarkdown');
    return formulas.length === outputs.length
        && formulas.every((formula, k) => outputs[k].querySelector(formula ? 'mjx-container' : 'p:last-child'));
}"""
# Deletes some cells, as a reopened notebook renders what was rendered before.
DELETE = """cells => {
    const {sharedModel} = jupyterapp.shell.currentWidget.context.model;
    sharedModel.transact(() => cells.reverse().forEach(i => sharedModel.deleteCell(i)));
}"""
TRUSTED = "() => jupyterapp.shell.currentWidget.content.widgets.every(one => one.model.trusted)"
LOADED = "count => window.jupyterapp?.shell.currentWidget?.content?.widgets?.length === count"
SHOWN = (Path(__file__).parent / "shown.js").read_text()
# the elements in plain-text outputs that are not text
PLAIN = """() => [...document.querySelectorAll('.jp-OutputArea-output:not(.jp-RenderedMarkdown)')].flatMap(output =>
    [...output.querySelectorAll('*')].filter(element => element.tagName !== 'PRE' || element.attributes.length))
    .map(element => element.outerHTML.slice(0, 200))"""


def published(answer: Answer, format: str) -> dict[str, Any]:
    """Return what a cell shows of an answer that has ended."""
    bundles: list[dict[str, Any]] = []
    shell: Any = SimpleNamespace(display_pub=SimpleNamespace(publish=lambda data, **_: bundles.append(data)))
    CellView(shell, format, hints=lambda: [HINT]).finish(answer, failed=False)
    return bundles[-1]


def shown_at_prefixes() -> dict[str, str]:
    """Return each Markdown that a cell shows of streaming hostile answers, with the answer so far."""
    shown: dict[str, str] = {}
    for text in PREFIXES:
        for live in (True, False):
            shown.setdefault(Answer(text=text).to_markdown(live=live), text)
    return shown


def shown_at_the_end() -> dict[str, str]:
    """Return each Markdown that a cell shows of ended hostile answers of a server whose other texts are hostile too."""
    shown: dict[str, str] = {}
    for number, text in enumerate(HOSTILE):
        everywhere = Answer(text=text, reasoning=text, provider={"label": text, "model": text}, finish_reason=text)
        call = ToolCall(text, text, {text: text})
        steps = [ToolStep(call, text), ToolStep(call, error=text), ToolStep(call, status="asking")]
        everywhere.add(step_event(0, 0, steps[number % len(steps)]))
        everywhere.add(RawResponse(type="sources", sources=hostile_sources(text)))
        shown[published(everywhere, "markdown")["text/markdown"]] = text
        shown[published(Answer(text=f'"{text}'), "json")["text/markdown"]] = text
    return shown


def in_cells(markdown: list[str]) -> list[list[str]]:
    return [markdown[start : start + PER_CELL] for start in range(0, len(markdown), PER_CELL)]


AT_PREFIXES, AT_THE_END = shown_at_prefixes(), shown_at_the_end()
CELLS = [*in_cells([*AT_PREFIXES]), *in_cells([*AT_THE_END])]
SOME = [*range(0, len(in_cells([*AT_PREFIXES])), 6), *range(len(in_cells([*AT_PREFIXES])), len(CELLS))]
PLAIN_TEXTS = [published(Answer(text=text, provider={"label": text}), "text") for text in HOSTILE]


def has_formula(cell: list[str], at: int) -> bool:
    return at == len(cell) - 1 or re.search(r"\$.*\$", cell[at], re.DOTALL) is not None


@dataclass
class Seen:
    """Findings about outputs: forbidden elements and visible text of each, scripts that ran, requests."""

    wrong: dict[str, list[str]]
    read: dict[str, str]
    hits: list[str]
    asked: list[str]

    def nothing_acts(self) -> None:
        assert self.wrong == {}
        assert self.hits == []
        assert self.asked == []


def seen_of(cells: list[list[str]], outputs: list[dict[str, Any]], page: Page, asked: list[str]) -> Seen:
    """Combine the findings about the outputs of several cells."""
    named = list(zip([markdown for cell in cells for markdown in cell], outputs, strict=True))
    wrong = {markdown: output["wrong"] for markdown, output in named if output["wrong"]}
    return Seen(wrong, {one: output["text"] for one, output in named}, page.evaluate("() => window.hits"), asked)


def look(page: Page, cells: list[list[str]], asked: list[str]) -> Seen:
    """Wait until all outputs of a notebook are rendered, and examine each."""
    outputs = []
    for i, cell in enumerate(cells):
        formulas = [has_formula(cell, at) for at in range(len(cell))]
        page.wait_for_function(TYPESET, arg=[i, formulas], timeout=120_000)
        outputs += page.evaluate(SHOWN, [i])
    seen = seen_of(cells, outputs, page, asked)
    if plain := page.evaluate(PLAIN):
        seen.wrong["plain text"] = plain
    return seen


@pytest.fixture(scope="module")
def just_run(lab: Lab, page: Page) -> tuple[Seen, Path]:
    """The findings about all outputs of cells that have just run, and the notebook saved with some of them."""
    bundles = [
        [{"text/markdown": one + END + FORMULA * has_formula(cell, at)} for at, one in enumerate(cell)]
        for cell in CELLS
    ]
    bundles += [PLAIN_TEXTS[start : start + PER_CELL] for start in range(0, len(PLAIN_TEXTS), PER_CELL)]
    (lab.root / "bundles.json").write_text(json.dumps(bundles))
    notebook = Notebook(lab, page)
    notebook.open(*map(SHOW.format, range(len(bundles))))
    page.evaluate(WATCH)
    with requests_of(page, lab.url) as asked:
        notebook.run_all()
        for i in range(len(bundles)):  # each has its time, as thousands of outputs take minutes on a busy machine
            notebook.done(i, timeout=120_000)
        seen = look(page, CELLS, asked)
    page.evaluate(DELETE, sorted({*range(len(CELLS))} - {*SOME}))
    notebook.save()
    path = notebook.path
    assert path is not None
    notebook.close()
    return seen, path


def reopened(lab: Lab, page: Page, path: Path, *, trusted: bool) -> Seen:
    """Open a saved notebook in a new page without running a cell."""
    with new_page(page, lab.url) as (fresh, asked):
        fresh.goto(lab.address(path.name))
        fresh.wait_for_function(LOADED, arg=len(json.loads(path.read_text())["cells"]), timeout=60_000)
        seen = look(fresh, [CELLS[i] for i in SOME], asked)
        assert fresh.evaluate(TRUSTED) is trusted
        fresh.evaluate("() => jupyterapp.shell.currentWidget.context.sessionContext.shutdown()")
    return seen


def test_nothing_acts_in_cells_just_run(just_run: tuple[Seen, Path]) -> None:
    just_run[0].nothing_acts()


def test_harmless_text_is_readable(just_run: tuple[Seen, Path]) -> None:
    read = just_run[0].read
    missing = {text: missing_words(text, read[markdown]) for markdown, text in (AT_PREFIXES | AT_THE_END).items()}
    assert {text: words for text, words in missing.items() if words} == {}
    assert [text for markdown, text in AT_THE_END.items() if HINT.replace("`", "") not in read[markdown]] == []


def test_nothing_acts_when_the_notebook_is_reopened(just_run: tuple[Seen, Path], lab: Lab, page: Page) -> None:
    reopened(lab, page, just_run[1], trusted=True).nothing_acts()


@pytest.fixture(scope="module")
def of_a_stranger(just_run: tuple[Seen, Path], lab: Lab) -> Path:
    """An untrusted notebook with the same cells."""
    return lab.of_a_stranger(just_run[1], range(len(SOME)))


def test_nothing_acts_in_an_untrusted_copy(of_a_stranger: Path, lab: Lab, page: Page) -> None:
    reopened(lab, page, of_a_stranger, trusted=False).nothing_acts()


def test_nothing_acts_when_the_notebook_is_converted(of_a_stranger: Path, page: Page) -> None:
    with converted(page, of_a_stranger) as (fresh, asked):
        seen_of([CELLS[i] for i in SOME], fresh.evaluate(SHOWN, [None]), fresh, asked).nothing_acts()
