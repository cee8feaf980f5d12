"""No ordinary action with a notebook loses a turn of the panel: run, restart, reload, move, delete, save, reopen."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nbformat
import pytest
from jupyter_page import KERNELSPEC, PANEL, READY, Lab, Notebook
from playwright.sync_api import Locator, Page
from serving import Backend

CELLS = ("%load_ext nb_backend\nfrom nb_backend import ChatPanel", "%%backend\nFrom a cell?", "ChatPanel()", "1 + 1")
TYPED = ["First?", "Second?", "Third?"]
QUESTIONS = """() => [...document.querySelectorAll('.nbb-panel')].map(panel =>
    [...panel.querySelectorAll('.nbb-question:not(.nbb-sending) .nbb-bubble .nbb-text')]
        .map(one => one.textContent.trim()))"""
KEPT = f"""() => {{
    const shown = ({QUESTIONS})().flat();
    const records = {PANEL}.content.widgets.map(one => one.model.getMetadata('nb_backend')?.chats ?? {{}});
    const saved = records.flatMap(Object.values);
    const kept = saved.flatMap(chat => chat.messages.map(one => one.content));
    return shown.every(one => kept.includes(one));
}}"""
SAVED = f"""async () => {{
    await jupyterapp.commands.execute('docmanager:save');
    return !{PANEL}.context.model.dirty;
}}"""
RESTART = f"""async () => {{
    await {PANEL}.context.sessionContext.session.kernel.restart();
    await {PANEL}.context.sessionContext.session.kernel.info;
}}"""


@pytest.fixture(scope="module")
def lab_env(server: Backend) -> dict[str, str]:
    return server.env


class Used(Notebook):
    """A notebook with a panel, as a person uses it, in one of the front ends."""

    def __init__(self, lab: Lab, page: Page, address: str) -> None:
        super().__init__(lab, page)
        self._address = address

    def show(self) -> None:
        """Open the notebook's file in a new kernel."""
        assert self.path is not None
        self.page.goto(f"{self.lab.url}/{self._address}/{self.path.name}?token={self.lab.token}")
        self.page.wait_for_function(READY, timeout=60_000)

    def start(self, *cells: str, name: str) -> None:
        self.path = self.lab.root / name
        code = [nbformat.v4.new_code_cell(cell) for cell in cells]
        nbformat.write(nbformat.v4.new_notebook(cells=code, metadata=KERNELSPEC), self.path)
        self.show()

    def next_day(self) -> None:
        """Save the notebook, end its kernel, and open it again."""
        self.save()
        self.page.evaluate(f"() => {PANEL}.context.sessionContext.shutdown()")
        self.page.goto("about:blank")
        self.show()

    def save(self) -> nbformat.NotebookNode:
        """Save the notebook with all that the panel keeps in it, which comes up to a second after a turn."""
        assert self.path is not None
        self.page.wait_for_function(KEPT)
        self.page.wait_for_function(SAVED, polling=200)
        return nbformat.read(self.path, as_version=4)

    def command(self, name: str, at: int) -> None:
        self.page.evaluate(
            f"([name, at]) => {{ {PANEL}.content.activeCellIndex = at; return jupyterapp.commands.execute(name); }}",
            [f"notebook:{name}", at],
        )

    def restart(self) -> None:
        self.page.wait_for_function(KEPT)
        self.page.evaluate(RESTART)
        self.page.wait_for_function(READY)

    def run_all_to_the_end(self) -> None:
        count = self.page.evaluate(f"() => {PANEL}.content.widgets.length")
        self.page.evaluate(f"() => {{ for (const one of {PANEL}.content.widgets) one.model.executionCount = null; }}")
        self.run_all()
        self.done(count - 1)

    @property
    def panel(self) -> Locator:
        return self.page.locator(".nbb-panel")

    def ask(self, text: str) -> None:
        box = self.panel.get_by_role("textbox", name="Message")
        box.fill(text)
        box.press("Enter")
        self.shows_last(text)

    def shows_last(self, text: str) -> None:
        """Wait until the last answer that is done is this text. The question is done as soon as it is shown."""
        self.page.wait_for_function(
            "text => [...document.querySelectorAll('.nbb-answer.nbb-done .nbb-bubble')]"
            ".at(-1)?.innerText.trim() === text",
            arg=text,
        )

    def shows(self, *questions: str, panels: int = 1) -> None:
        """Wait until the panels show exactly these questions."""
        wanted = [[*questions]] * panels
        try:
            self.page.wait_for_function(
                f"wanted => JSON.stringify(({QUESTIONS})()) === wanted",
                arg=json.dumps(wanted, separators=(",", ":")),
                timeout=15_000,
            )
        except Exception:
            assert self.page.evaluate(QUESTIONS) == wanted
            raise

    def saved_in_file(self) -> list[str]:
        """Save, and return the questions in the transcript that the file shows."""
        self.page.get_by_text(f"Transcript: {1 + len(TYPED)} turns").wait_for()
        text = json.dumps(self.save())
        return [one for one in ("From a cell?", *TYPED) if f"\\n\\n{one}\\n\\n" in text]


@pytest.mark.parametrize("address", ["doc/tree", "notebooks"], ids=["JupyterLab", "Notebook 7"])
def test_no_ordinary_action_loses_a_turn(lab: Lab, page: Page, server: Backend, address: str) -> None:
    server.engine.__init__()  # type: ignore[misc]
    nb = Used(lab, page, address)
    nb.start(*CELLS, name=f"kept-{address.partition('/')[0]}.ipynb")
    nb.run_all_to_the_end()
    for text in TYPED:
        nb.ask(text)
    every = ["From a cell?", *TYPED]
    nb.shows(*every)

    nb.run(2)
    nb.shows(*every)
    nb.run_all_to_the_end()
    nb.shows(*every)

    nb.restart()
    nb.run(0)
    nb.run(2)
    nb.shows(*every)
    assert "Continued from the transcript" in nb.panel.inner_text()

    nb.restart()
    nb.run_all_to_the_end()
    nb.shows(*every)

    nb.command("move-cell-up", 2)
    nb.save()
    nb.reload()
    nb.shows(*every)
    nb.restart()
    nb.run_all_to_the_end()
    nb.shows(*every)
    assert nb.saved_in_file() == every

    nb.next_day()
    shots = Path(os.environ["SHOTS"]) if "SHOTS" in os.environ else None
    nb.page.get_by_text("Transcript: 4 turns").wait_for()
    assert nb.page.get_by_text("Third?").first.is_visible()
    nb.page.get_by_text("This was a chat panel: run the cell to open it again.").wait_for()
    assert nb.page.get_by_text("displaying widget").count() == 0
    if shots:
        nb.screenshot(shots / f"reopened-{address[:3]}.png")
    nb.run(0)
    nb.run(1)
    nb.shows(*every)
    nb.page.get_by_text("Transcript: 4 turns").wait_for()
    if shots:
        nb.screenshot(shots / f"continued-{address[:3]}.png")
    nb.ask("And on?")
    sent = [message["content"] for message in server.engine.history[-1]["messages"] if message["role"] == "user"]
    assert sent == [*every, "And on?"]

    every += ["And on?", "Not saved?"]
    nb.command("duplicate-below", 1)
    nb.run(2)
    nb.shows(*every[:-1], panels=2)
    server.engine.enqueue("Half", ...)
    box = nb.panel.first.get_by_role("textbox", name="Message")
    box.fill("Not saved?")
    box.press("Enter")
    nb.shows(*every, panels=2)
    nb.restart()  # in mid-answer, and not saved in between
    for cell in (0, 1, 2):
        nb.run(cell)
    nb.shows(*every, panels=2)
    nb.command("delete-cell", 2)
    nb.shows(*every)
    nb.run(1)
    nb.shows(*every)
    nb.close()
