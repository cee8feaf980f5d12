"""Texts of 35 kB that blocked the page are painted soon: in a cell live and final, reopened, a transcript, the panel.

The CPU time of the page is measured, for all texts of a place together. Many of the texts took more than 20 s each when
they were shown as they are written; now all together take 3 to 8 s.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from html_blocks import html_blocks
from jupyter_page import Lab, Notebook
from panel_page import PanelPage, item
from playwright.sync_api import Page
from slow_texts import SLOW_TEXTS

from nb_backend.chat.answer import Answer
from nb_backend.markdown.safe import safe_markdown
from nb_backend.notebook.cell.notebook_view import CellView
from nb_backend.notebook.panel.transcript_markdown import TranscriptRenderer

MAX_SECONDS = 16  # less than one of the texts took
PER_CELL = 12  # texts; JupyterLab collapses more than 50 outputs
LIVE = 8  # of these texts, the Markdown while the answer grows is shown too
SHOW = """
import json
from IPython.display import display
for bundle in json.load(open("slow.json"))[{0}]:
    display(bundle, raw=True)
"""
END = "\n\nTHEEND $z$"
RENDERED = """count => {
    const shown = [...document.querySelectorAll('.jp-Notebook .jp-RenderedMarkdown')];
    return shown.length === count && shown.every(one => one.firstChild) && shown.at(-1).querySelector('mjx-container');
}"""


def published(text: str) -> list[str]:
    """Return the Markdown of each output of a cell with this answer after its end."""
    bundles: list[dict[str, Any]] = []
    shell: Any = SimpleNamespace(display_pub=SimpleNamespace(publish=lambda data, **_: bundles.append(data)))
    CellView(shell).finish(Answer(text=text), failed=False)
    return [one["text/markdown"] for one in bundles[1:]]


@contextmanager
def cpu_of(page: Page) -> Iterator[list[float]]:
    """Yield a list that gets the seconds of CPU time which the page has used."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def used() -> float:
        metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
        return float(metrics["TaskDuration"])

    begun, seconds = used(), []
    yield seconds
    seconds.append(used() - begun)
    session.detach()


@pytest.fixture(scope="module")
def cells() -> list[list[str]]:
    """The outputs of each cell."""
    texts = [published(text) for text in SLOW_TEXTS.values()]
    groups = [texts[i : i + PER_CELL] for i in range(0, len(texts), PER_CELL)]
    ended = [[one for outputs in group for one in outputs] for group in groups]
    some = list(SLOW_TEXTS.values())[:LIVE]
    live = [Answer(text=text).to_markdown(live=True) for text in some]
    messages = [{"role": role, "content": text} for text in some for role in ("user", "assistant")]
    return [*ended, live, TranscriptRenderer(str).markdown(messages), [safe_markdown("the last") + END]]


def test_slow_texts_in_cells_and_in_a_reopened_notebook(cells: list[list[str]], lab: Lab, page: Page) -> None:
    (lab.root / "slow.json").write_text(json.dumps([[{"text/markdown": one} for one in cell] for cell in cells]))
    notebook = Notebook(lab, page)
    notebook.open(*(SHOW.format(i) for i in range(len(cells))))
    count = sum(map(len, cells))
    with cpu_of(page) as used:
        notebook.run_all()
        notebook.done(len(cells) - 1, timeout=120_000)
        page.wait_for_function(RENDERED, arg=count, timeout=120_000, polling=200)
    assert used[0] < MAX_SECONDS
    live = notebook.output(len(cells) - 3).locator(".jp-RenderedMarkdown").all_inner_texts()
    assert [(text[:5], text[-4:]) for text in live] == [("begin", "ends")] * LIVE
    notebook.save()
    with cpu_of(page) as used:
        notebook.reload()
        page.wait_for_function(RENDERED, arg=count, timeout=120_000, polling=200)
    assert used[0] < MAX_SECONDS
    notebook.close()


def test_slow_texts_in_the_panel(page: Page) -> None:
    items = [item(f"a{i}", "assistant", *html_blocks(text)) for i, text in enumerate(SLOW_TEXTS.values())]
    with PanelPage(page) as panel, cpu_of(page) as used:
        panel.open(*items)
        answers = panel.root.locator(".nbb-answer .nbb-bubble")
        answers.nth(len(items) - 1).get_by_text("ends").first.wait_for()
    assert used[0] < MAX_SECONDS
