"""The panel's page in a notebook: beside it, code for its cells, and the way between a cell and the message box.

The notebook is a few elements with the classes and the model that JupyterLab and Notebook 7 have.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe import violations
from panel_page import ANSWER, CODE, QUESTION, P, PanelPage, item
from playwright.sync_api import Page

MANAGER = """{context: {path: 'a.ipynb', model: {sharedModel: {
    cells: [],
    insertCell(at, {source}) {
        const node = document.createElement('div');
        node.className = 'jp-Cell';
        node.tabIndex = -1;
        node.append(Object.assign(document.createElement('textarea'), {value: source, ariaLabel: 'Code'}));
        node.addEventListener('focusin', () => {
            document.querySelector('.jp-mod-active')?.classList.remove('jp-mod-active');
            node.classList.add('jp-mod-active');
        });
        this.cells.splice(at, 0, {id: `cell${Math.random()}`, source});
        const notebook = document.querySelector('.jp-Notebook');
        notebook.insertBefore(node, notebook.children[at] ?? null);
        [...notebook.children].forEach((cell, k) => cell.setAttribute('data-windowed-list-index', k));
        return node;
    },
}}}}"""
NOTEBOOK = """
    const main = document.querySelector('main');
    main.id = 'main';
    main.style.cssText = 'position: absolute; inset: 0; overflow: auto';
    main.classList.add('jp-Notebook');
    const {sharedModel} = kernel.manager.context.model;
    const cells = ['ChatPanel()', 'x = 1', 'x'].map((source, at) => sharedModel.insertCell(at, {source}));
    kernel.view = () => kernel.cleanups.push(kernel.module.render({model: kernel.proxy(), el: cells[0]}));
"""


@pytest.fixture
def panel(page: Page) -> Iterator[PanelPage]:
    """A panel in the first of three cells, without messages."""
    with PanelPage(page) as panel:
        panel.manager = MANAGER
        panel.load(width=900, before=NOTEBOOK)
        yield panel


def cells(panel: PanelPage) -> list[str]:
    found: list[str] = panel.run("return kernel.manager.context.model.sharedModel.cells.map(cell => cell.source)")
    return found


def cell(panel: PanelPage, at: int) -> str:
    return f"document.activeElement === document.querySelectorAll('.jp-Cell')[{at}]"


def test_code_goes_below_the_active_cell_in_order_and_is_selected(panel: PanelPage) -> None:
    code = [CODE.replace("numpy", name) for name in ("first", "second")]
    panel.greet(QUESTION, item("a1", "assistant", *code))
    insert = panel.root.get_by_role("button", name="Insert code")
    panel.page.locator(".jp-Cell textarea").nth(-2).focus()  # the user works in the second cell
    for at, name in enumerate(("first", "second"), 2):
        insert.nth(at - 2).click()
        assert "Inserted below." in panel.notes()
        panel.until(cell(panel, at))
        assert f"import {name} as np" in cells(panel)[at]
    assert [source[:6] for source in cells(panel)] == ["ChatPa", "x = 1", "import", "import", "x"]
    panel.page.locator(".jp-Cell > textarea").first.focus()  # that of the panel
    insert.first.click()
    panel.until(cell(panel, 1))


def test_code_of_an_answer_in_a_cell_is_copied(panel: PanelPage) -> None:
    panel.greet(QUESTION)
    panel.run("""
        const outputs = at => ({length: 1, get: () => ({metadata: at === 1 ? {nb_backend: {}} : {}})});
        kernel.manager.context.model.cells = {get: at => ({outputs: outputs(at)})};
        for (const cell of [...document.querySelectorAll('.jp-Cell')].slice(1))
            cell.insertAdjacentHTML('beforeend',
                '<div class=jp-RenderedMarkdown><pre><code>a = 1\\nb = 2\\n</code></pre></div>');
        document.addEventListener('copy', () => { window.copied = document.activeElement.value; })""")
    panel.page.locator("pre").nth(1).hover()  # of another program
    copy = panel.page.get_by_role("button", name="Copy", exact=True).and_(panel.page.locator("body > *"))
    assert copy.count() == 0
    panel.page.locator("pre").nth(0).hover()
    assert violations(panel.page, ".nbb-copies") == []
    copy.click()
    panel.page.get_by_role("button", name="Copied").wait_for()
    assert panel.run("return copied") == "a = 1\nb = 2"
    panel.box.hover()
    assert panel.page.locator(".nbb-copies").count() == 0


def test_the_keyboard_leads_from_a_cell_to_the_box_and_back(panel: PanelPage) -> None:
    """Ctrl+Shift+Space: to the message box. Escape: stops the answer, closes what is open, or back to the cell."""
    panel.greet(QUESTION, item("a1", "assistant", P, status="streaming", can=[]))
    area = panel.page.locator(".jp-Cell > textarea").nth(2)
    area.focus()
    in_box = "document.activeElement.ariaLabel === 'Message'"
    panel.page.keyboard.press("Control+Shift+Space")
    panel.until(in_box)
    panel.page.keyboard.press("Escape")
    panel.asked("stop")
    panel.say("meta", item="a1", meta={"status": "stopped", "can": ["delete"]})
    panel.settle()
    panel.button("More").press("Enter")
    panel.root.get_by_role("menuitem").first.wait_for()
    panel.page.keyboard.press("Escape")
    panel.root.get_by_role("menuitem").first.wait_for(state="hidden")
    panel.page.keyboard.press("Escape")
    assert area.evaluate("node => node === document.activeElement")
    for _ in range(2):
        panel.page.keyboard.press("Control+Shift+Space")  # there and back
    assert area.evaluate("node => node === document.activeElement")
    area.blur()
    panel.box.click()
    panel.page.keyboard.press("Escape")
    assert panel.run(f"return {cell(panel, 2)}")  # the active cell
    assert len(panel.requests("stop")) == 1


def test_in_a_narrow_window_the_pane_covers_the_notebook(panel: PanelPage) -> None:
    panel.greet(QUESTION)
    panel.page.set_viewport_size({"width": 376, "height": 700})
    panel.button("Open beside the notebook").click()
    assert panel.root.bounding_box()["width"] == 375  # type: ignore[index]
    panel.button("Back to the cell").click()
    panel.page.set_viewport_size({"width": 1200, "height": 900})
    assert panel.page.locator(".jp-Cell .nbb-panel").count() == 1


def test_the_panel_opens_beside_the_notebook_and_comes_back(panel: PanelPage) -> None:
    panel.greet(QUESTION, ANSWER, item("q2", "user", P), item("a2", "assistant", *[P] * 20))
    size = (
        "const box = panel.getBoundingClientRect(), {right} = document.querySelector('#main').getBoundingClientRect();"
    )
    size += "return [Math.round(box.left - right), innerHeight - box.height, innerWidth - box.right]"
    panel.run("panel.querySelector('.nbb-scroller').scrollTop = 50")
    panel.settle()
    panel.button("Open beside the notebook").click()
    panel.settle()
    assert panel.run(size) == [1, 0, 0]  # a line of one pixel is between them
    assert panel.box.evaluate("node => innerHeight - node.getBoundingClientRect().bottom < 80")  # always in view
    assert panel.box.evaluate("node => node === document.activeElement")
    assert 0 < panel.run("return panel.querySelector('.nbb-scroller').scrollTop") < 300  # neither the start nor the end
    assert panel.page.get_by_text("The chat is open beside the notebook.").is_visible()
    assert violations(panel.page, ".nbb-pane") == violations(panel.page, ".nbb-away") == []
    sash = panel.page.get_by_role("separator", name="Width of the chat")
    before = panel.root.bounding_box()["width"]  # type: ignore[index]
    sash.press("ArrowLeft")
    assert panel.root.bounding_box()["width"] == before + 32  # type: ignore[index]
    assert panel.run(size) == [1, 0, 0]
    panel.page.get_by_role("button", name="Show it here").click()
    panel.settle()
    assert panel.page.locator(".jp-Cell .nbb-panel").count() == 1
    assert panel.page.locator(".nbb-pane, .nbb-away").count() == 0
    assert panel.run("return document.querySelector('#main').style.right") == ""


def test_the_next_run_of_the_cell_takes_over_the_pane(panel: PanelPage) -> None:
    panel.greet(QUESTION)
    panel.button("Open beside the notebook").click()
    panel.run("kernel.manager.context.model.sharedModel.insertCell(0, {source: 'above'})")
    panel.run("for (const close of kernel.cleanups.splice(0)) close(); kernel.view()")
    panel.page.locator(".nbb-pane .nbb-panel").wait_for()
    assert panel.page.locator(".nbb-pane, .nbb-panel, .nbb-away").count() == 3
    panel.button("Back to the cell").click()
    panel.settle()
    assert panel.page.locator(".jp-Cell .nbb-panel").count() == 1


def test_a_second_panel_takes_the_place_beside_the_notebook(panel: PanelPage) -> None:
    panel.greet(QUESTION)
    panel.button("Open beside the notebook").click()
    panel.run("kernel.view()")
    panel.page.locator(".jp-Cell .nbb-panel").get_by_role("button", name="Open beside the notebook").click()
    assert panel.page.locator(".nbb-pane .nbb-panel").count() == 1
    assert panel.page.locator(".jp-Cell .nbb-panel").count() == 1
    panel.page.locator(".nbb-pane").get_by_role("button", name="Back to the cell").click()
    assert panel.page.locator(".jp-Cell .nbb-panel").count() == 2
    assert panel.run("return document.querySelector('#main').style.right") == ""


def test_a_pane_that_was_closed_between_two_runs_is_not_taken_over(panel: PanelPage) -> None:
    panel.greet(QUESTION)
    panel.button("Open beside the notebook").click()
    panel.run("for (const close of kernel.cleanups.splice(0)) close(); document.querySelector('.nbb-pane').remove()")
    panel.run("kernel.view()")
    panel.page.locator(".jp-Cell .nbb-panel").wait_for()
    panel.settle()
    assert panel.root.is_visible()


def test_the_pane_closes_with_the_last_panel(panel: PanelPage) -> None:
    panel.greet(QUESTION)
    panel.button("Open beside the notebook").click()
    panel.page.clock.install()
    panel.run("for (const close of kernel.cleanups.splice(0)) close()")
    assert panel.page.locator(".nbb-pane").count() == 1
    panel.page.clock.run_for(3001)
    assert panel.page.locator(".nbb-pane").count() == 0


def test_the_wheel_scrolls_the_notebook_if_the_messages_do_not_scroll(panel: PanelPage) -> None:
    contain = "return getComputedStyle(panel.querySelector('.nbb-scroller')).overscrollBehaviorY"
    panel.greet(QUESTION)
    assert panel.run(contain) == "auto"
    panel.items(["q1", "a1"], item("a1", "assistant", *[P] * 30))
    panel.settle()
    panel.until("document.querySelector('.nbb-scrolls')")
    assert panel.run(contain) == "contain"
