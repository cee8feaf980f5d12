"""Several answers in a real JupyterLab: side by side or below each other, and none affects another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe import violations
from by_model import ByModel
from hostile import HOSTILE
from hostile_page import PREFIXES, WATCH, converted, hostile_sources, missing_words, new_page, requests_of
from jupyter_page import Lab, Notebook
from playwright.sync_api import Page
from serving import Backend, serving
from test_hostile_cell import END, FORMULA, LOADED, PER_CELL, SHOW, SHOWN, TYPESET, has_formula

from nb_backend.chat.answer import Answer
from nb_backend.errors import ServerError
from nb_backend.events import RawResponse
from nb_backend.notebook.cell.columns import side_by_side
from nb_backend.notebook.cell.section import AnswerSection

ASK = "%%backend llama gpt-4o\nWhy is the sky blue?"
BROKEN = {"type": "error", "error": "x", "message": "it broke"}
WIDE, NARROW = {"width": 1200, "height": 900}, {"width": 400, "height": 900}
LONG = f"""## Words

```python
{"name = value; " * 20}
```

|{"a column | " * 12}
|{"--- | " * 12}
|{"a-word-that-cannot-be-broken | " * 12}

{"unbroken" * 60}

- an item
"""
BOXES = """output => {
    const box = element => element.getBoundingClientRect().toJSON();
    const grid = output.querySelector('.jp-RenderedMarkdown > div');
    return {output: box(output), columns: [...grid.children].map(box), wider: output.scrollWidth - output.clientWidth};
}"""
# Turns each column in the outputs of cell i, or of a converted page, into an output of its own. Returns the columns
# that were not laid out as expected.
APART = """([i, count]) => {
    const root = i === null ? document : jupyterapp.shell.currentWidget.content.widgets[i].node, wrong = [];
    for (const output of root.querySelectorAll('.jp-RenderedMarkdown')) {
        const [grid, end, ...rest] = output.children, columns = [...(grid?.children ?? [])];
        const whole = grid?.tagName === 'DIV' && getComputedStyle(grid).display === 'grid' && columns.length === count
            && end?.tagName === 'P' && end.textContent.startsWith('THEEND') && !rest.length
            && columns.every(column => column.tagName === 'DIV' && getComputedStyle(column).overflowX === 'auto');
        if (!whole) wrong.push(output.innerHTML.slice(0, 500));
        for (const column of columns) {
            if (!column.querySelector(':scope > p:first-child > strong:first-child')) wrong.push(column.outerHTML);
            for (const failure of column.querySelectorAll(':scope > div')) {
                if (getComputedStyle(failure).borderLeftWidth !== '3px') continue;
                const shown = document.createElement('p');
                shown.append(...failure.childNodes);
                failure.replaceWith(shown);
            }
            const alone = document.createElement('div');
            alone.className = 'jp-RenderedMarkdown';
            alone.append(...column.childNodes);
            output.before(alone);
        }
        output.remove();
    }
    return wrong;
}"""


@pytest.fixture(scope="module")
def server() -> Iterator[Backend]:
    with serving(ByModel()) as running:
        yield running


@pytest.fixture(scope="module")
def lab_env(server: Backend) -> dict[str, str]:
    return server.env


@pytest.fixture
def asked(nb: Notebook) -> Iterator[Notebook]:
    """A notebook that loads the extension and has one cell with a prompt."""
    nb.open("%load_ext nb_backend", ASK)
    nb.run(0)
    yield nb
    nb.page.set_viewport_size(WIDE)
    nb.theme(dark=False)


def boxes(nb: Notebook, size: Any) -> Any:
    nb.page.set_viewport_size(size)
    nb.page.wait_for_function("width => innerWidth === width", arg=size["width"])
    return nb.output(1).evaluate(BOXES)


def stands_well(nb: Notebook) -> None:
    """Check that columns are side by side in a wide page, below each other in a narrow one, and hold wide content."""
    wide = boxes(nb, WIDE)
    first, second = wide["columns"]
    assert first["top"] == second["top"]
    assert first["right"] < second["left"]
    assert second["right"] <= wide["output"]["right"]
    assert abs((first["right"] - first["left"]) - (second["right"] - second["left"])) < 1
    narrow = boxes(nb, NARROW)
    first, second = narrow["columns"]
    assert first["left"] == second["left"]
    assert first["bottom"] <= second["top"]
    assert max(first["right"], second["right"]) <= narrow["output"]["right"]
    assert (wide["wider"], narrow["wider"]) == (0, 0)


def test_the_columns_are_laid_out_in_light_and_dark(asked: Notebook, engine: ByModel) -> None:
    engine.scripts = {"llama": (LONG,), "gpt-4o": ("Short.", BROKEN)}
    asked.run(1)
    asked.output(1).get_by_text("it broke").wait_for()
    for dark in (False, True):
        asked.theme(dark=dark)
        stands_well(asked)
        boxes(asked, WIDE)
        assert [one for one in violations(asked.page, ".jp-RenderedMarkdown") if "color-contrast" in one] == []


def test_each_answer_has_its_own_status_line_and_failure(asked: Notebook, engine: ByModel) -> None:
    engine.scripts = {"llama": ("Half", BROKEN), "gpt-4o": ("Whole.",)}
    asked.run(1)
    broken, whole = asked.output(1).locator(".jp-RenderedMarkdown > div > div").all_inner_texts()
    assert "ServerError: it broke" in broken
    assert "broke off" in broken
    assert "on this machine" in whole
    assert "broke" not in whole
    assert asked.output(1).locator(".jp-OutputArea-output").count() == 1  # the cell has not failed


def test_answers_stream_side_by_side(asked: Notebook, engine: ByModel) -> None:
    engine.scripts = {"llama": ("First words", ...), "gpt-4o": ("```python\nunfinished", ...)}
    asked.run(1, wait=False)
    asked.output(1).get_by_text("First words").wait_for()
    asked.output(1).get_by_text("unfinished").wait_for()
    stands_well(asked)
    asked.interrupt()
    asked.done(1)
    stopped = asked.output(1).locator(".jp-RenderedMarkdown > div > div").all_inner_texts()
    assert [text.count("stopped") for text in stopped] == [1, 1]


def test_an_untrusted_copy_without_a_kernel_shows_the_same(asked: Notebook, engine: ByModel) -> None:
    engine.scripts = {"llama": (LONG,), "gpt-4o": ("Short.",)}
    asked.run(1)
    saved = asked.save()
    saved.metadata.kernelspec = {"name": "gone", "display_name": "Gone"}
    for cell in saved.cells:
        cell.metadata = {}
    saved.cells[1].source += " "  # an untrusted notebook
    path = asked.lab.root / "of-a-stranger-who-asks-two.ipynb"
    path.write_text(json.dumps(saved))
    asked.page.goto(asked.lab.address(path.name))
    asked.output(1).get_by_text("Short.").wait_for()
    if (dialog := asked.page.locator(".jp-Dialog button", has_text="No Kernel")).count():
        dialog.click()
    stands_well(asked)
    assert asked.page.evaluate("() => jupyterapp.shell.currentWidget.content.widgets[1].model.trusted") is False


def test_without_styles_the_answers_follow_each_other(asked: Notebook, engine: ByModel) -> None:
    engine.scripts = {"llama": ("- an item", BROKEN), "gpt-4o": ("1. another",)}
    asked.run(1)
    asked.output(1).get_by_text("another").wait_for()
    asked.page.evaluate(
        "() => document.querySelectorAll('.jp-RenderedMarkdown [style]').forEach(e => e.removeAttribute('style'))"
    )
    lines = [line for line in asked.out(1).split("\n") if line.strip()]
    assert [line for line in lines if not line.startswith(("scripted", "broke"))] == [
        *("llama", "an item", "ServerError: it broke", "gpt-4o", "another"),
    ]


def formulas_of(pairs: list[tuple[str, str]]) -> list[bool]:
    """Return which outputs end with a formula: when that is typeset, all output is rendered."""
    return [*(has_formula([*pair, ""], 0) or has_formula([*pair, ""], 1) for pair in pairs[:-1]), True]


def columns_of(pairs: list[tuple[str, str]]) -> list[str]:
    """Return the Markdown of outputs that show two hostile pieces side by side."""
    return [
        side_by_side([(two.strip() or "a", one + END), ("b", two + END)]) + END + FORMULA * formula
        for (one, two), formula in zip(pairs, formulas_of(pairs), strict=True)
    ]


def ended(text: str) -> str:
    """Return what a column shows of an interrupted answer if all texts of the server are hostile."""
    section = AnswerSection(name=text)
    answer = Answer(text=text, reasoning=text, provider={"label": text, "model": text}, finish_reason=text)
    answer.add(RawResponse(type="sources", sources=hostile_sources(text)))
    section.end(answer, True, ServerError(text))
    return section.markdown(live=False)


def in_cells(pairs: list[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    return [pairs[start : start + PER_CELL] for start in range(0, len(pairs), PER_CELL)]


def paired(texts: list[str]) -> list[tuple[str, str]]:
    """Pair each text with another one."""
    half = len(texts) // 2
    return [*zip(texts, texts[half:] + texts[:half], strict=True)]


BEGUN = PREFIXES[::8]  # test_hostile_cell shows all of them, each in one output
AT_PREFIXES = paired([Answer(text=text).to_markdown(live=True) for text in BEGUN])
AT_THE_END = paired([ended(text) for text in HOSTILE])
PAIRS = [*in_cells(AT_PREFIXES), *in_cells(AT_THE_END)]
READ = dict(zip((one for one, _ in AT_PREFIXES), BEGUN, strict=True))
CELLS = [*map(columns_of, PAIRS)]
SOME = [*range(0, len(in_cells(AT_PREFIXES)), 2), *range(len(in_cells(AT_PREFIXES)), len(CELLS))]


def look(page: Page, cells: list[int]) -> tuple[list[Any], dict[str, str]]:
    """Wait until all outputs are rendered; return the forbidden elements, and the visible text of each piece."""
    wrong, read = [], {}
    for i, cell in enumerate(cells):
        pairs = PAIRS[cell]
        page.wait_for_function(TYPESET, arg=[i, formulas_of(pairs)], timeout=120_000)
        wrong += page.evaluate(APART, [i, 2])
        shown = page.evaluate(SHOWN, [i])
        wrong += [one["wrong"] for one in shown if one["wrong"]]
        pieces = [piece for pair in pairs for piece in pair]
        read |= {piece: one["text"] for piece, one in zip(pieces, shown, strict=True)}
    return wrong + page.evaluate("() => window.hits"), read


@pytest.fixture(scope="module")
def just_run(lab: Lab, page: Page) -> tuple[list[Any], dict[str, str], Path]:
    """The findings about all pairs in cells that have just run, and the saved notebook."""
    bundles = [[{"text/markdown": markdown} for markdown in cell] for cell in CELLS]
    (lab.root / "bundles.json").write_text(json.dumps(bundles))
    notebook = Notebook(lab, page)
    notebook.open(*map(SHOW.format, range(len(bundles))))
    page.evaluate(WATCH)
    with requests_of(page, lab.url) as requested:
        notebook.run_all()
        notebook.done(len(bundles) - 1, timeout=240_000)
        notebook.save()
        wrong, read = look(page, [*range(len(CELLS))])
    path = notebook.path
    assert path is not None
    notebook.close()
    return [*wrong, *requested], read, path


def test_no_hostile_answer_acts_or_leaves_its_column(just_run: tuple[list[Any], dict[str, str], Path]) -> None:
    assert just_run[0] == []


def test_harmless_text_is_readable_in_both_columns(just_run: tuple[list[Any], dict[str, str], Path]) -> None:
    missing = {text: missing_words(text, just_run[1][markdown]) for markdown, text in READ.items()}
    assert {text: words for text, words in missing.items() if words} == {}


@pytest.fixture(scope="module")
def of_a_stranger(just_run: tuple[list[Any], dict[str, str], Path], lab: Lab) -> Path:
    return lab.of_a_stranger(just_run[2], SOME)


def test_nothing_acts_in_an_untrusted_copy_with_columns(of_a_stranger: Path, lab: Lab, page: Page) -> None:
    with new_page(page, lab.url) as (fresh, requested):
        fresh.goto(lab.address(of_a_stranger.name))
        fresh.wait_for_function(LOADED, arg=len(SOME), timeout=60_000)
        wrong, _ = look(fresh, SOME)
        fresh.evaluate("() => jupyterapp.shell.currentWidget.context.sessionContext.shutdown()")
    assert [*wrong, *requested] == []


def test_nothing_acts_in_converted_columns(of_a_stranger: Path, page: Page) -> None:
    with converted(page, of_a_stranger) as (fresh, requested):
        wrong = fresh.evaluate(APART, [None, 2])
        shown = fresh.evaluate(SHOWN, [None])
        hits = fresh.evaluate("() => window.hits")
    assert len(shown) == 2 * sum(len(CELLS[i]) for i in SOME)
    assert [*wrong, *(one["wrong"] for one in shown if one["wrong"]), *hits, *requested] == []
