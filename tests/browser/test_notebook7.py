"""Notebook 7: an answer streams into a cell and ends as Markdown, and the panel works."""

from __future__ import annotations

import nbformat
import pytest
from jupyter_page import KERNELSPEC, READY, RUN, Lab
from playwright.sync_api import Page
from serving import Backend


@pytest.fixture(scope="module")
def lab_env(server: Backend) -> dict[str, str]:
    return server.env


def test_an_answer_in_notebook_7(lab: Lab, page: Page, server: Backend) -> None:
    server.engine.enqueue("Some **bold** words", ..., "never")
    cells = [nbformat.v4.new_code_cell(code) for code in ("%load_ext nb_backend", "%%backend gpt-4o\nhi")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNELSPEC), lab.root / "seven.ipynb")
    page.goto(f"{lab.url}/notebooks/seven.ipynb?token={lab.token}")
    page.wait_for_function(READY, timeout=60_000)
    page.locator(".jp-Notebook .jp-Cell .cm-content").first.click()
    page.keyboard.press("Shift+Enter")
    page.locator(".jp-Notebook .jp-Cell.jp-mod-active").filter(has_text="%%backend").wait_for()
    page.keyboard.press("Shift+Enter")
    output = page.locator(".jp-Notebook .jp-Cell").nth(1).locator(".jp-Cell-outputArea")
    output.locator("strong", has_text="bold").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("i")
    page.keyboard.press("i")
    output.get_by_text("stopped").first.wait_for()
    assert output.get_by_text("KeyboardInterrupt").count() == 0
    assert output.locator("strong", has_text="bold").count() == 1
    page.locator(".jp-Notebook .jp-Cell .cm-content").nth(1).click()
    page.keyboard.press("Shift+Enter")  # the second run replaces the stopped turn: Notebook 7 also sends cell ids
    output.get_by_text("on this machine").wait_for()
    assert server.engine.history[-1]["messages"] == [{"role": "user", "content": "hi"}]


def test_the_panel_in_notebook_7(lab: Lab, page: Page, server: Backend) -> None:
    server.engine.__init__()  # type: ignore[misc]
    cells = [
        nbformat.v4.new_code_cell(code) for code in ("from nb_backend import ChatPanel\nChatPanel('seven')", "1 + 1")
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNELSPEC), lab.root / "panel.ipynb")
    page.goto(f"{lab.url}/notebooks/panel.ipynb?token={lab.token}")
    page.wait_for_function(READY, timeout=60_000)
    page.evaluate(RUN, 0)
    panel = page.locator(".nbb-panel")
    box = panel.get_by_role("textbox", name="Message")
    box.click()
    for keys in ("d", "d", "a", "Shift+Enter", "b"):  # Notebook 7 handles keys before the panel does
        page.keyboard.press(keys)
    assert box.input_value() == "dda\nb"
    panel.get_by_role("button", name="Settings").focus()
    for keys in ("d", "d", "a", "b", "x"):
        page.keyboard.press(keys)
    assert page.locator(".jp-Notebook .jp-Cell").count() == 2
    server.engine.enqueue("```python\n1 + 2\n```")
    box.fill("Some code, please")
    box.press("Enter")
    page.locator(".jp-Notebook .jp-Cell .cm-content").nth(1).click()
    panel.get_by_role("button", name="Open beside the notebook").click()
    page.locator("body > .nbb-pane > .nbb-panel").wait_for()
    left = panel.bounding_box()["x"]  # type: ignore[index]
    assert page.locator(".jp-NotebookPanel").bounding_box()["width"] <= left  # type: ignore[index]
    panel.get_by_role("button", name="Insert code").click()
    page.locator(".jp-Notebook .jp-Cell.jp-mod-active", has_text="1 + 2").wait_for()
    assert page.locator(".jp-Notebook .jp-Cell").nth(2).inner_text().endswith("1 + 2")
    page.keyboard.press("Control+Shift+Space")
    assert box.evaluate("node => node === document.activeElement")
    panel.get_by_role("button", name="Back to the cell").click()
    page.locator(".jp-Cell-outputArea .nbb-panel").wait_for()
    page.locator(".jp-Cell-outputArea").get_by_text("Transcript: 1 turn").wait_for()
