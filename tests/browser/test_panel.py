"""The chat panel in a real JupyterLab, on a real kernel and a scripted server."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator

import ipykernel
import nbformat
import pytest
from axe import violations
from jupyter_page import READY, Notebook
from playwright.sync_api import Locator, Page
from png import png
from scripted_calls import tool_call
from serving import Backend

from nb_backend.local.scripted import ScriptedEngine

HEARS_WHILE_BUSY = ipykernel.version_info >= (7,)
PANEL = "from nb_backend import ChatPanel, chats\nChatPanel()"
NOTEBOOK = "[...jupyterapp.shell.widgets('main')].find(widget => widget.content?.activeCell)"
RICH = r"""## Why the sky is blue

Sunlight is **scattered**: $I \propto \lambda^{-4}$.

- [x] short waves
- [ ] long waves

```python
def scattering(wavelength: float) -> float:
    return wavelength**-4  # blue wins
```

| colour | wavelength |
| --- | ---: |
| blue | 450 nm |

$$ \frac{I_{450}}{I_{650}} \approx 4.4 $$

[A source](https://example.org/sky) and ![a picture](https://example.org/sky.png)
"""


@pytest.fixture(scope="module")
def lab_env(server: Backend) -> dict[str, str]:
    return server.env


@pytest.fixture
def requests(page: Page) -> Iterator[list[str]]:
    """The addresses that the page requests."""
    asked: list[str] = []
    note = lambda request: asked.append(request.url)  # noqa: E731
    page.on("request", note)
    yield asked
    page.remove_listener("request", note)


class Panel:
    """A panel in an output of the notebook."""

    def __init__(self, nb: Notebook, cell: int, nth: int = 0) -> None:
        self.node = nb.output(cell).locator(".nbb-panel").nth(nth)
        self.box = self.node.get_by_role("textbox", name="Message")
        self.questions = self.node.locator(".nbb-question")
        self.answers = self.node.locator(".nbb-answer")

    def ask(self, text: str) -> None:
        self.box.fill(text)
        self.box.press("Enter")

    def button(self, name: str) -> Locator:
        return self.node.get_by_role("button", name=name, exact=True)

    def wait(self, text: str | re.Pattern[str]) -> None:
        self.answers.get_by_text(text).first.wait_for()


def opened(nb: Notebook, *cells: str) -> Panel:
    nb.open(PANEL, *cells)
    nb.run(0)
    panel = Panel(nb, 0)
    panel.box.wait_for()
    return panel


def transcript(notebook: nbformat.NotebookNode, cell: int = 0) -> str:
    outputs = notebook.cells[cell].outputs
    return "\n".join(output.data.get("text/markdown", "") for output in outputs if "data" in output)


# -- reading


def test_an_answer_streams_into_the_panel(nb: Notebook, engine: ScriptedEngine) -> None:
    engine.enqueue({"type": "reasoning", "token": "Thinking of Rayleigh."}, "First words", ..., "never")
    panel = opened(nb)
    panel.ask("Why is the sky blue?")
    panel.wait("First words")
    assert panel.questions.inner_text().startswith("Why is the sky blue?")
    panel.button("Stop").click()
    panel.answers.get_by_text("Stopped").first.wait_for()
    assert "First words" in panel.answers.inner_text()
    panel.answers.get_by_text("Reasoning").click()
    panel.wait("Thinking of Rayleigh.")


def test_a_rich_answer_is_rendered_without_requests_to_other_hosts(
    nb: Notebook, engine: ScriptedEngine, requests: list[str]
) -> None:
    engine.enqueue(*[RICH[start : start + 7] for start in range(0, len(RICH), 7)])
    panel = opened(nb)
    panel.ask("Why?")
    panel.wait(re.compile("on this machine"))
    answer = panel.answers
    assert answer.locator("h4", has_text="Why the sky is blue").count() == 1
    answer.locator("mjx-container").nth(1).wait_for()  # JupyterLab has MathJax
    assert answer.locator("math[alttext], .nbb-measure").count() == 0
    assert answer.locator("td").count() == 2
    assert answer.locator(".nbb-task").count() == 2
    assert answer.locator(".nbb-code .k", has_text="def").count() == 1
    assert answer.get_by_role("link", name="A source").get_attribute("rel") == "noopener noreferrer"
    assert "example.org" in answer.locator("a.nbb-remote").inner_text()
    assert not [url for url in requests if "example.org" in url]
    nb.page.route("https://example.org/**", lambda route: route.abort())
    answer.locator("a.nbb-remote").click()
    nb.page.wait_for_function("() => document.querySelector('a.nbb-remote, img.nbb-loaded')")
    assert [url for url in requests if url == "https://example.org/sky.png"]
    nb.page.unroute("https://example.org/**")


def test_code_goes_below_the_active_cell_and_is_not_run(nb: Notebook, engine: ScriptedEngine) -> None:
    """Beside the notebook, in a pane of JupyterLab's dock area, which the next run of the cell keeps."""
    engine.enqueue("```python\nprint('one')\n```\n\n```bash\nls\n```\n\n```\nprint('two')\n```")
    panel = opened(nb, "1 + 1", "2 + 2")
    nb.page.goto(nb.page.url.replace("/doc/tree/", "/lab/tree/"))
    nb.page.wait_for_function(READY, timeout=60_000)
    nb.run(0)
    panel.button("Open beside the notebook").click()
    pane = nb.page.locator(".lm-DockPanel-widget .nbb-pane")
    pane.wait_for()
    panel.node = pane.locator(".nbb-panel")
    panel.box = panel.node.get_by_role("textbox", name="Message")
    panel.ask("Code, please")
    insert = panel.node.get_by_role("button", name="Insert code")
    insert.nth(1).wait_for()
    nb.cell(1).locator(".cm-content").click()
    for at, code in enumerate(("print('one')", "print('two')")):
        insert.nth(at).click()
        nb.page.locator(".jp-Cell.jp-mod-active", has_text=code).wait_for()
    assert insert.count() == 2
    nb.page.keyboard.press("Control+Shift+Space")
    assert panel.box.evaluate("node => node === document.activeElement")
    nb.page.keyboard.press("Escape")
    nb.page.keyboard.press("d")  # in command mode; one key does nothing
    cells = nb.page.evaluate(f"() => {NOTEBOOK}.context.model.sharedModel.cells.map(cell => cell.source)")
    assert cells == [PANEL, "1 + 1", "print('one')", "print('two')", "2 + 2"]
    assert nb.page.evaluate(f"() => {NOTEBOOK}.content.activeCell.model.executionCount") is None
    nb.page.evaluate(
        f"() => {{ jupyterapp.shell.activateById({NOTEBOOK}.id); {NOTEBOOK}.content.activeCellIndex = 0; }}"
    )
    nb.page.evaluate("() => { window.nbbOld = document.querySelector('.nbb-panel'); }")
    nb.page.evaluate("() => { jupyterapp.commands.execute('notebook:run-cell'); }")
    nb.page.wait_for_function("() => ![null, nbbOld].includes(document.querySelector('.nbb-pane > .nbb-panel'))")
    assert nb.page.locator(".nbb-pane, .nbb-away").count() == 2
    nb.page.get_by_role("button", name="Show it here").click()
    nb.output(0).locator(".nbb-panel").wait_for()
    assert pane.count() == 0
    nb.page.evaluate(f"() => jupyterapp.shell.activateById({NOTEBOOK}.id)")


# -- with the magic


def test_cells_and_panels_show_the_turns_of_the_same_chat(nb: Notebook, engine: ScriptedEngine) -> None:
    panel = opened(nb, "%load_ext nb_backend", "%%backend\nfrom the cell", "ChatPanel()")
    panel.ask("from the panel")
    panel.wait("from the panel")
    panel.wait(re.compile("on this machine"))
    nb.run(1)
    engine.enqueue("Half", ..., "never")
    nb.run(2, wait=False)
    panel.wait("Half")
    assert engine.history[-1]["messages"][0]["content"] == "from the panel"
    if HEARS_WHILE_BUSY:
        panel.button("Stop").click()
    else:
        nb.interrupt()
    nb.done(2)
    assert "stopped" in nb.out(2)
    nb.run(3)
    other = Panel(nb, 3)
    other.wait("Half")
    assert other.questions.count() == panel.questions.count() == 2


# -- keys


def test_keys_do_not_reach_the_notebook(nb: Notebook) -> None:
    panel = opened(nb, "1 + 1")
    panel.box.click()
    for keys in ("d", "d", "a", "b", "Shift+Enter", "x"):
        nb.page.keyboard.press(keys)
    assert panel.box.input_value() == "ddab\nx"
    panel.button("Settings").focus()
    for keys in ("d", "d", "a", "b", "x", "Shift+Enter"):
        nb.page.keyboard.press(keys)
    assert nb.page.locator(".jp-Notebook .jp-Cell").count() == 2
    assert nb.page.evaluate("() => jupyterapp.shell.currentWidget.content.widgets[0].model.executionCount") == 1


# -- images


PASTE = """(node, files) => {
    const data = new DataTransfer();
    for (const [name, base64] of files) {
        const bytes = Uint8Array.from(atob(base64), sign => sign.charCodeAt(0));
        data.items.add(new File([bytes], name, { type: 'image/png' }));
    }
    node.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }));
}"""


def sent_images(engine: ScriptedEngine) -> list[bytes]:
    return [base64.b64decode(uri.partition(",")[2]) for uri, *_ in engine.history[-1]["media"]]


def test_eight_images_pasted_at_once_all_arrive(nb: Notebook, engine: ScriptedEngine) -> None:
    images = [png(64, 64, seed=seed) for seed in range(8)]
    panel = opened(nb)
    files = [[f"{at}.png", base64.b64encode(image).decode()] for at, image in enumerate(images)]
    panel.box.evaluate(PASTE, files)
    tiles = panel.node.locator(".nbb-images li")
    nb.page.wait_for_function("() => document.querySelectorAll('.nbb-images li').length === 8")
    nb.page.wait_for_function("() => !document.querySelector('.nbb-images progress')")
    assert "0.png" in tiles.first.inner_text()
    panel.ask("What is there?")
    panel.wait(re.compile("on this machine"))
    digests = {hashlib.sha256(image).hexdigest() for image in images}
    assert {hashlib.sha256(image).hexdigest() for image in sent_images(engine)} == digests
    assert panel.questions.locator("img").count() == 8
    nb.page.wait_for_function("() => document.querySelector('.nbb-question img').naturalWidth === 64")


def test_an_image_larger_than_one_message_arrives(nb: Notebook, engine: ScriptedEngine) -> None:
    image = png(2000, 2000, seed=1)
    assert len(image) > 11e6
    panel = opened(nb)
    nb.run(0)
    panel.box.evaluate(PASTE, [["large.png", base64.b64encode(image).decode()]])
    panel.node.locator(".nbb-images li", has_text="large.png").wait_for()
    nb.page.wait_for_function("() => !document.querySelector('.nbb-images progress')", timeout=60_000)
    panel.ask("What is there?")
    panel.wait(re.compile("on this machine"))
    assert len(sent_images(engine)) == 1
    assert "large.png" in panel.questions.locator("img").get_attribute("alt")


def test_a_figure_of_a_recent_cell_is_attached_from_the_menu(nb: Notebook, engine: ScriptedEngine) -> None:
    draw = "%load_ext nb_backend\nfrom IPython.display import Image, display\nimport base64\n"
    draw += f"display(Image(base64.b64decode('{base64.b64encode(png(64, 64, seed=3)).decode()}')))"
    nb.open(draw, PANEL)
    nb.run(0)
    nb.run(1)
    panel = Panel(nb, 1)
    panel.button("Attach an image").click()
    panel.node.get_by_role("menuitem", name=re.compile(r"In \[1\]")).click()
    panel.node.locator(".nbb-images li").wait_for()
    panel.ask("What is it?")
    panel.wait(re.compile("on this machine"))
    assert sent_images(engine) == [png(64, 64, seed=3)]


# -- stop while a cell runs


def test_while_a_cell_runs_the_answer_streams_and_stop_works_or_a_note_says_why_not(
    nb: Notebook, engine: ScriptedEngine
) -> None:
    engine.enqueue(*(step for word in range(300) for step in (f"word{word} ", 0.1)))
    panel = opened(
        nb, "import time\nfor _ in range(300):\n    time.sleep(0.1)", "import ipykernel\nipykernel.__version__"
    )
    panel.ask("Go on and on")
    panel.wait("word2")
    nb.run(1, wait=False)
    panel.wait(re.compile("word2.* word20"))
    panel.button("Stop").click()
    if not HEARS_WHILE_BUSY:
        panel.node.locator(".nbb-note", has_text="ipykernel 7.3 or newer answers").wait_for()
        nb.interrupt()
        panel.answers.get_by_text("Stopped").first.wait_for()
        return
    panel.answers.get_by_text("Stopped").first.wait_for(timeout=10_000)
    assert nb.page.evaluate("() => jupyterapp.shell.currentWidget.content.widgets[1].model.executionState") == "running"
    nb.interrupt()
    nb.done(1)


def test_a_call_is_allowed_while_a_cell_runs_and_the_step_is_in_the_notebook(
    nb: Notebook, engine: ScriptedEngine
) -> None:
    engine.enqueue("I look at x. ", tool_call("run", code="print(x)\nx + 1"))
    engine.enqueue("It is 42.")
    panel = opened(nb, "import time\nprint('begun')\nfor _ in range(600):\n    time.sleep(0.1)", "x = 41")
    nb.run(2)
    panel.button("Settings").click()
    panel.node.locator("label", has=nb.page.get_by_text("run", exact=True)).get_by_role("switch").check()
    nb.page.keyboard.press("Escape")
    if HEARS_WHILE_BUSY:
        nb.run(1, wait=False)
        nb.output(1).get_by_text("begun").wait_for()
    panel.ask("How much is x?")
    question = panel.node.get_by_role("group", name="Allow this call of run?")
    question.wait_for()
    nb.page.wait_for_function("document.activeElement.matches('.nbb-ask')")
    if HEARS_WHILE_BUSY:
        panel.answers.get_by_text("waits for your answer").wait_for()
    nb.page.wait_for_function("!document.querySelector('.nbb-ask button:disabled')")  # Tab passes by what is disabled
    nb.page.keyboard.press("Tab")
    assert nb.page.evaluate("document.activeElement.title") == "Allow"
    assert violations(nb.page, ".nbb-panel") == []
    if HEARS_WHILE_BUSY:
        nb.page.keyboard.press("Enter")
        panel.answers.get_by_text("running").first.wait_for()
    else:
        nb.run(1, wait=False)
        nb.output(1).get_by_text("begun").wait_for()
        panel.button("Allow").press("Enter")
        panel.node.locator(".nbb-note", has_text="answers the panel when the cell ends").wait_for()
    nb.interrupt()  # ends the cell, and then the code runs
    panel.wait("It is 42.")
    step = panel.answers.locator(".nbb-step")
    step.locator("summary").click()
    step.get_by_text("Out:").wait_for()
    nb.output(0).get_by_text(re.compile("Transcript")).wait_for()
    saved = transcript(nb.save())
    assert "<summary>⚙ <code>run" in saved
    assert "It is 42." in saved


# -- the transcript


def test_the_transcript_stays_in_the_saved_notebook(nb: Notebook, engine: ScriptedEngine) -> None:
    engine.enqueue("First answer")
    panel = opened(nb)
    panel.ask("First question")
    panel.wait(re.compile("on this machine"))
    nb.output(0).get_by_text(re.compile("Transcript")).wait_for()
    saved = transcript(nb.save())
    assert "First question" in saved
    assert "First answer" in saved
    assert '<details class="nbb-saved" open>' in saved


def test_an_untrusted_copy_of_the_notebook_shows_the_transcript_with_its_images(
    nb: Notebook, engine: ScriptedEngine
) -> None:
    uri = "data:image/png;base64," + base64.b64encode(png(64, 64, seed=5)).decode()
    engine.enqueue(f"A **bold** answer <script>window.nbRan = 1</script> ![a dot]({uri})")
    panel = opened(nb)
    panel.ask("First question")
    panel.wait(re.compile("on this machine"))
    nb.output(0).get_by_text(re.compile("Transcript")).wait_for()
    saved = nb.save()
    nbformat.validate(saved)
    saved.metadata.pop("signature", None)
    saved.cells[0].source += "\n"  # an untrusted notebook, and no kernel has its panel
    nb.close()
    nbformat.write(saved, nb.lab.root / "reopened.ipynb")
    nb.page.goto(nb.lab.address("reopened.ipynb"))
    output = nb.output(0)
    output.locator("summary", has_text="Transcript: 1 turn").wait_for()
    output.get_by_text("First question").wait_for()  # without a panel above it, the transcript is open
    assert output.locator("strong", has_text="bold").count() == 1
    nb.page.wait_for_function("() => document.querySelector('.jp-OutputArea img')?.naturalWidth === 64")
    assert "This was a chat panel" in output.inner_text()
    assert nb.page.evaluate("() => window.nbRan") is None
    exported = subprocess.run(
        [sys.executable, "-m", "nbconvert", "--to", "html", "--stdout", str(nb.lab.root / "reopened.ipynb")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "First question" in exported
    assert "<script>window.nbRan" not in exported
    nb.path = nb.lab.root / "reopened.ipynb"  # the notebook that is closed, with its kernel, at the end of the test


def test_finish_replaces_the_panel_by_the_open_transcript(nb: Notebook, engine: ScriptedEngine) -> None:
    engine.enqueue("First answer")
    panel = opened(nb)
    panel.ask("First question")
    panel.wait(re.compile("on this machine"))
    panel.button("More").click()
    finish = panel.node.get_by_role("menuitem", name=re.compile("Close the panel"))
    finish.click()
    panel.node.get_by_role("menuitem", name="Really close?").click()
    panel.node.wait_for(state="detached")
    nb.output(0).get_by_text("First answer").wait_for()
    saved = nb.save()
    assert "First answer" in transcript(saved)
    assert "<details" not in transcript(saved)
    assert "widget-view" not in str(saved.cells[0].outputs)
    nb.reload()
    nb.output(0).get_by_text("First answer").wait_for()


NOTE_KEPT_DRAFTS = """() => {
    const asked = new Set();
    jupyterapp.shell.currentWidget.context.sessionContext.session.kernel.anyMessage.connect((_, { msg, direction }) => {
        const { type, id, text } = msg.content.data?.content ?? {};
        if (direction === 'send' && type === 'draft' && text === 'a draft') asked.add(id);
        if (direction === 'recv' && type === 'reply' && asked.has(id)) window.nbKept = true;
    });
}"""


def test_after_a_reload_the_panel_and_its_transcript_continue(nb: Notebook, engine: ScriptedEngine) -> None:
    panel = opened(nb)
    panel.ask("one")
    panel.wait(re.compile("on this machine"))
    nb.page.evaluate(NOTE_KEPT_DRAFTS)
    panel.box.fill("a draft")
    nb.page.wait_for_function("() => window.nbKept")
    nb.output(0).get_by_text(re.compile("Transcript")).wait_for()
    nb.save()
    nb.reload()
    panel.wait("one")
    nb.page.wait_for_function("() => document.querySelector('.nbb-panel textarea').value === 'a draft'")
    engine.enqueue("Second answer")
    panel.ask("two")
    panel.wait("Second answer")
    nb.page.wait_for_function(
        "() => JSON.stringify(jupyterapp.shell.currentWidget.context.model.toJSON()).includes('Second answer')"
    )
    assert "Second answer" in transcript(nb.save())


def test_a_cell_that_runs_again_restores_history_draft_and_focus(nb: Notebook) -> None:
    panel = opened(nb)
    panel.ask("one")
    panel.wait(re.compile("on this machine"))
    panel.box.fill("a draft")
    panel.box.evaluate("node => node.setSelectionRange(2, 5)")
    nb.run(0)
    nb.page.wait_for_function("() => document.querySelectorAll('.nbb-panel').length === 1")
    panel.wait("one")
    nb.page.wait_for_function("() => document.querySelector('.nbb-panel textarea')?.value === 'a draft'")
    nb.page.wait_for_function("() => document.activeElement.matches('.nbb-panel textarea')")
    assert panel.box.evaluate("node => [node.selectionStart, node.selectionEnd]") == [2, 5]


# -- failures


def test_an_error_in_the_middle_keeps_the_text_and_offers_retry(nb: Notebook, engine: ScriptedEngine) -> None:
    engine.enqueue("Half an answer", {"type": "error", "error": "Boom", "message": "the model fell over"})
    panel = opened(nb)
    panel.ask("Why?")
    panel.answers.get_by_text(re.compile("the model fell over")).wait_for()
    assert "Half an answer" in panel.answers.inner_text()
    engine.enqueue("A whole answer")
    panel.answers.get_by_role("button", name="Retry").click()
    panel.wait("A whole answer")
    assert panel.questions.count() == panel.answers.count() == 1


def test_a_note_reports_a_restarted_kernel_and_the_messages_stay(nb: Notebook) -> None:
    panel = opened(nb)
    panel.ask("one")
    panel.wait(re.compile("on this machine"))
    panel.box.fill("a draft")
    nb.page.evaluate("() => jupyterapp.shell.currentWidget.context.sessionContext.session.kernel.restart()")
    panel.node.locator(".nbb-note", has_text="The kernel was restarted").wait_for()
    assert "one" in panel.questions.inner_text()
    assert panel.box.input_value() == "a draft"
    nb.run(0)
    panel = Panel(nb, 0)
    nb.page.wait_for_function("() => document.querySelector('.nbb-panel textarea')?.value === 'a draft'")
    panel.ask("again")
    panel.wait("again")
