"""An answer in a real JupyterLab: it streams, ends as Markdown, can be stopped, and is there after a reload."""

from __future__ import annotations

from itertools import pairwise

import pytest
from axe import violations
from jupyter_page import READY, Lab, Notebook
from scripted_calls import tool_call
from serving import Backend

from nb_backend.local.scripted import ScriptedEngine

ASK = "%%backend gpt-3.5-turbo\nWhy is the sky blue?"
RICH = r"""## Why the sky is blue

Sunlight is **scattered** by the molecules of the air:

1. short waves more than long ones,
2. by the *fourth power* of the wavelength: $I \propto \lambda^{-4}$.

```python
def scattering(wavelength: float) -> float:
    return wavelength**-4  # blue wins
```

| colour | wavelength |
| --- | ---: |
| blue | 450 nm |
| red | 650 nm |

$$ \frac{I_{450}}{I_{650}} = \left(\frac{650}{450}\right)^4 \approx 4.4 $$
"""


@pytest.fixture(scope="module")
def lab_env(server: Backend) -> dict[str, str]:
    return server.env


def test_the_text_grows_while_it_streams(nb: Notebook, engine: ScriptedEngine) -> None:
    engine.enqueue("First words", ..., "never")
    nb.open("%load_ext nb_backend", ASK, "print('after')")
    nb.run_all()
    nb.output(1).get_by_text("First words").wait_for()
    nb.interrupt()
    nb.done(1)
    nb.output(1).get_by_text("stopped").wait_for()
    assert "First words" in nb.out(1)
    assert nb.out(1).count("stopped") == 1
    assert nb.output(1).locator(".jp-OutputArea-output").count() == 1  # no error in red below the status line
    assert nb.out(2) == ""  # but "Run all" has ended


def test_the_answer_is_markdown_and_survives_save_and_reopen(nb: Notebook, engine: ScriptedEngine) -> None:
    engine.enqueue(*[RICH[start : start + 7] for start in range(0, len(RICH), 7)])
    nb.open("%load_ext nb_backend", ASK)
    nb.run(0)
    nb.run(1)
    for _ in range(2):
        output = nb.output(1)
        output.locator("h2", has_text="Why the sky is blue").wait_for()
        assert output.locator("ol li").count() == 2
        assert output.locator("table td", has_text="650 nm").count() == 1
        output.locator("pre code span, pre span").first.wait_for()  # highlighted code is in spans
        output.locator("mjx-container").nth(1).wait_for()  # both formulas are typeset
        assert "scripted, on this machine" in nb.out(1)
        nb.save()
        nb.reload()


def test_the_saved_notebook_holds_one_plain_output(nb: Notebook, engine: ScriptedEngine) -> None:
    engine.enqueue("An ", 0.3, "answer.")
    nb.open("%load_ext nb_backend", ASK)
    nb.run(0)
    nb.run(1)
    (output,) = nb.save().cells[1].outputs
    assert output.output_type == "display_data"
    assert output.data["text/markdown"].startswith("An answer.")
    assert output.data["text/plain"] == "An answer."
    assert output.metadata["nb_backend"]["usage"]["completion_tokens"] == 2


def test_reasoning_is_collapsed(nb: Notebook, engine: ScriptedEngine) -> None:
    engine.enqueue({"type": "reasoning", "token": "Hidden thoughts"}, "The answer.")
    nb.open("%load_ext nb_backend", ASK)
    nb.run(0)
    nb.run(1)
    thoughts = nb.output(1).get_by_text("Hidden thoughts")
    thoughts.wait_for(state="hidden")
    nb.output(1).get_by_text("Reasoning").click()
    thoughts.wait_for(state="visible")


TOOLS = """%load_ext nb_backend
def weather(city: str) -> str:
    "Return the weather of a city."
    return f"rain in {city}, " + '<img src=x onerror="document.title = 1"> </details> ```' + "\\n# big $x$" * 500
"""


def test_steps_are_folded_at_their_place_also_in_a_strangers_notebook(
    nb: Notebook, engine: ScriptedEngine, lab: Lab
) -> None:
    calls = [
        {"id": f"c{n}", "index": n, "function": {"name": "weather", "arguments": f'{{"city": "City {n}"}}'}}
        for n in range(12)
    ]
    engine.enqueue("Let me look.", {"type": "tool_calls", "tool_calls": calls})
    engine.enqueue("It **rains**", 0.3, " everywhere.")
    nb.open(TOOLS, "%%backend gpt-3.5-turbo -T weather\nWhat is the weather?")
    nb.run(0)
    nb.run(1)
    for _ in range(2):  # just run, and opened by somebody who does not trust it
        output = nb.output(1)
        output.get_by_text("12 tool calls").wait_for()
        folds = output.locator("details")
        assert folds.count() == 12
        shown = nb.out(1)
        assert shown.index("Let me look.") < shown.index("weather(city='City 0')") < shown.index("It rains everywhere.")
        result = folds.first.locator("pre").last
        assert not result.is_visible()
        folds.first.locator("summary").focus()
        nb.page.keyboard.press("Space")
        result.wait_for(state="visible")
        assert "rain in City 0, <img src=x" in result.inner_text()
        assert "characters left out" in result.inner_text()
        assert output.locator("img, mjx-container, h1").count() == 0
        assert violations(nb.page, ".jp-Notebook .jp-Cell:nth-of-type(2) .jp-Cell-outputArea") == []
        saved = nb.save()
        kept = saved.cells[1].outputs[-1].metadata["nb_backend"]["rounds"]
        assert [step["name"] for step in kept[0]["steps"]] == ["weather"] * 12
        assert nb.path is not None
        nb.page.goto(lab.address(lab.of_a_stranger(nb.path, [0, 1]).name))
        nb.page.wait_for_function(READY, timeout=60_000)
    assert nb.page.title() != "1"


def test_run_all_stops_at_a_failure(nb: Notebook, engine: ScriptedEngine) -> None:
    engine.enqueue("Half an answer", {"type": "error", "error": "Broken", "message": "the engine broke"})
    nb.open("%load_ext nb_backend", ASK, "print('ran')")
    nb.run_all()
    nb.output(1).get_by_text("ServerError: the engine broke").wait_for()
    assert "Half an answer" in nb.out(1)
    nb.cell(2).locator(".jp-InputPrompt", has_text="[ ]").wait_for()  # no longer queued: it will not run
    assert nb.save().cells[2].execution_count is None


HOSTILE = """Readable words. <script>document.title = "ran"</script>
<img src="x" onerror="document.title = 'ran'">

<iframe srcdoc="<script>parent.document.title = 'ran'</script>"></iframe>

![a picture](https://foreign.example/pixel.png) and [a link](javascript:document.title='ran') end."""


def test_a_hostile_answer_never_acts(nb: Notebook, engine: ScriptedEngine) -> None:
    foreign = []
    nb.page.on("request", lambda request: foreign.append(request.url) if "foreign.example" in request.url else None)
    engine.enqueue(*[step for start in range(0, len(HOSTILE), 5) for step in (HOSTILE[start : start + 5], 0.02)])
    nb.open("%load_ext nb_backend", ASK)
    nb.run(0)
    nb.run(1)
    nb.output(1).get_by_text("on this machine").wait_for()
    assert "ran" not in nb.page.title().split()
    assert foreign == []
    assert nb.output(1).locator("iframe, script, img").count() == 0
    assert nb.output(1).locator("a[href^='javascript']").count() == 0
    for words in ("Readable words.", "<script>", "onerror=", "a picture", "a link", "end."):
        assert words in nb.out(1)


SELECT = """() => {
    const range = document.createRange();
    range.selectNodeContents(document.querySelector('.jp-OutputArea-output h2'));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
}"""
SELECTED = "() => String(getSelection()).trim()"


def test_a_selection_stays_while_the_answer_grows(nb: Notebook, engine: ScriptedEngine) -> None:
    text = RICH + "And so on, at great length. " * 200
    pieces = [text[start : start + 100] for start in range(0, len(text), 100)]
    second = ["\n\n## The second part\n\nhas begun", *[" and goes on"] * 30, " to its end"]
    engine.enqueue(*pieces, *[step for piece in second for step in (piece, 0.1)], ..., "never")
    nb.open("%load_ext nb_backend", ASK)
    nb.run(0)
    nb.run(1, wait=False)
    nb.output(1).get_by_text("has begun").wait_for()
    nb.page.evaluate(SELECT)
    nb.output(1).get_by_text("to its end").wait_for()
    assert nb.page.evaluate(SELECTED) == "Why the sky is blue"
    nb.interrupt()
    nb.done(1)
    assert nb.output(1).locator("h2").count() == 2
    (output,) = [one for one in nb.save().cells[1].outputs if one.output_type == "display_data"]
    assert output.data["text/plain"] == text + "".join(second)


def test_a_long_answer_is_one_text_when_it_is_opened_again(nb: Notebook, engine: ScriptedEngine) -> None:
    text = "".join(f"## Part {number}\n\n{RICH}\n" for number in range(40))
    pieces = [text[start : start + 500] for start in range(0, len(text), 500)]
    engine.enqueue(*[step for piece in pieces for step in (piece, 0.01)])
    nb.open("%load_ext nb_backend", ASK)
    nb.run(0)
    nb.run(1)
    for _ in range(2):
        nb.output(1).get_by_text("scripted, on this machine").wait_for()
        assert nb.output(1).locator("h2").all_inner_texts()[::2] == [f"Part {number}" for number in range(40)]
        assert nb.output(1).locator("table").count() == 40
        outputs = nb.save().cells[1].outputs
        assert 4 < len(outputs) < 10
        assert "".join(output.data["text/plain"] for output in outputs) == text
        nb.reload()


WIDGETS = (
    "%load_ext nb_backend\nimport ipywidgets\nfrom IPython.display import clear_output\n"
    "def ask(text): return get_ipython().run_cell_magic('backend', '--once', text)",
    "out, button = ipywidgets.Output(), ipywidgets.Button(description='Ask')\n"
    "@button.on_click\ndef clicked(_):\n    with out:\n        clear_output(wait=True)\n        ask('clicked')\n"
    "ipywidgets.VBox([button, out])",
    "@ipywidgets.interact(n=(0, 9))\ndef f(n=3):\n    return ask(f'Say {n}')",
)


def test_an_answer_in_an_output_widget_streams_without_flicker_and_ends(nb: Notebook, engine: ScriptedEngine) -> None:
    nb.open(*WIDGETS)
    nb.run(0)
    nb.run(1)
    button = nb.output(1).locator("button")
    for word in ("one", "two"):
        engine.enqueue(f"{word} **begins**\n\n", *(part for _ in range(8) for part in (0.1, "and goes on\n\n")), "ends")
        button.click()
        nb.output(1).locator("p", has_text=f"{word} begins").wait_for()
        nb.page.evaluate(
            "area => { window.heights = []; window.noted = 0; const note = () => {"
            " heights.push(area.getBoundingClientRect().height); noted = requestAnimationFrame(note); }; note(); }",
            nb.output(1).element_handle(),
        )
        nb.output(1).get_by_text("on this machine").wait_for()
        heights = nb.page.evaluate("() => { cancelAnimationFrame(noted); return heights; }")
        assert all(after > before - 3 for before, after in pairwise(heights))
        shown = nb.out(1)
        assert shown.count(f"{word} begins") == shown.count("on this machine") == 1
        assert shown.count("and goes on") == 8
        assert "begins" not in shown.partition("on this machine")[2]
    engine.enqueue("the ", 0.1, "answer of three")
    nb.run(2)
    nb.output(2).get_by_text("the answer of three").wait_for()
    engine.enqueue("the ", 0.3, "answer of four")
    nb.output(2).locator("[role=slider]").press("ArrowRight")
    nb.output(2).get_by_text("the answer of four").wait_for()
    nb.output(2).get_by_text("on this machine").wait_for()
    assert nb.out(2).count("the") == 1
    assert engine.history[-1]["messages"][-1]["content"] == "Say 4"


def test_a_call_is_asked_about_and_answered_with_the_keyboard_only(nb: Notebook, engine: ScriptedEngine) -> None:
    engine.enqueue("I look first. ", tool_call("run", code="print(6 * 7)\nprint('done')"))
    engine.enqueue("It is **42**.")
    tool = "from nb_backend.tools import Tool\nrun = Tool('run', '', {}, lambda code: '42', approve=True, scope='cell')"
    nb.open(f"%load_ext nb_backend\n{tool}", "%%backend -T run\nWhat is six times seven?")
    nb.run(0)
    nb.run(1, wait=False)
    nb.output(1).locator("input:focus").wait_for()
    block = nb.output(1).locator("pre", has_text="print(6 * 7)")
    assert "print('done')" in block.inner_text()
    assert block.locator("span").count() > 0  # it is highlighted
    nb.page.keyboard.type("yes")
    nb.page.keyboard.press("Enter")
    nb.done(1)
    nb.output(1).locator("strong", has_text="42").wait_for()
    assert nb.output(1).locator("details:not([open])", has_text="run(").count() == 1
