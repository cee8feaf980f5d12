"""``{{ expression }}`` in the panel: evaluated in the kernel as in a cell, between cells, and kept as typed."""

from __future__ import annotations

import pytest
from panel_client import PanelPage, new_subshell, text_of

SHOW = "from nb_backend import ChatPanel, chats\npanel = ChatPanel('main')\npanel"
FIGURE = """from nb_backend import attach
import matplotlib.pyplot as plt
n = 3
def figure():
    fig, axes = plt.subplots(figsize=(1, 1)); axes.plot([n]); return fig"""


@pytest.fixture
def page(kernel, engine):
    code = "from nb_backend.notebook.panel.panel_state import *\ndrafts.clear(), last_code_settings.clear()"
    kernel.run(f"from nb_backend import chats\nfor name in list(chats): del chats[name]\n{code}")
    run = kernel.run(SHOW, cell="p")
    assert run.error is None, run.error
    page = PanelPage(kernel, run).hello()
    yield page
    page.leave()
    kernel.run("panel.close()")


def ask_again(page, type, **fields):
    """Send a request that asks the last question again, and wait for the end of the new answer."""
    before = page.order[-1]
    page.ask(type, **fields)
    page.until(lambda: page.order[-1] != before)
    page.last()


def until_printed(kernel):
    """Wait until the running code has printed something."""
    while kernel.client.get_iopub_msg(timeout=10)["msg_type"] != "stream":
        pass


def sent(engine):
    return [one["messages"][-1]["content"] for one in engine.history]


def test_a_value_is_sent_and_shown_and_kept_as_typed(page, engine, kernel):
    kernel.run("n, text = 3, 'three'")
    page.turn("{{ n + 1 }} or {{ text }}, \\{{ n }}?")
    assert sent(engine)[-1] == "4 or three, {{ n }}?"
    assert text_of(page.shown[0]) == "<p>4 or three, {{ n }}?</p>"
    typed = {"text": "4 or three, {{ n }}?", "typed": "{{ n + 1 }} or {{ text }}, \\{{ n }}?"}
    assert page.ask("text", item=page.order[0]).items() >= typed.items()
    kernel.run("n = 7")
    ask_again(page, "retry", item=page.order[1])  # sends what was sent
    assert sent(engine)[-1] == sent(engine)[0]
    assert page.ask("text", item=page.order[0]).items() >= typed.items()
    ask_again(page, "edit", item=page.order[0], text="{{ n }}", images=[])  # sends the value of now
    assert sent(engine)[-1] == "7"
    assert "typed" in kernel.run("chats['main']._transcript().about[0]").result


def test_what_cannot_be_evaluated_is_not_sent(page, engine, kernel):
    assert page.refused("send", text="{{ missing }}", images=[]).startswith("{{ missing }}: missing is not defined")
    refusal = page.refused("send", text="{{ 1 / 0 }}", images=[])
    assert (
        refusal == "{{ 1 / 0 }} raised ZeroDivisionError: division by zero: correct it, or put \\ before the "
        "braces to send them as typed"
    )
    assert [reply["as_typed"] for reply in page.replies.values() if not reply["ok"]] == [True, True]
    kernel.run("class Panic(BaseException): pass\ndef panic(): raise Panic('in Rust')")
    assert page.refused("send", text="{{ panic() }}", images=[]).endswith("Panic: in Rust")
    assert engine.history == []
    assert page.shown == []
    page.ask("send", text="{{ missing }}", images=[], raw=True)
    page.last()
    assert sent(engine) == ["{{ missing }}"]
    page.turn("{{#if x}} {0} {{{x}}}")  # no expressions
    assert sent(engine)[-1] == "{{#if x}} {0} {{{x}}}"


def test_an_interrupt_ends_an_expression_and_after_one_of_a_cell_the_next_is_evaluated(page, engine, kernel):
    begun = "{{ print('begun') or __import__('time').sleep(60) }}"
    id = page.send("send", text=begun, images=[])
    until_printed(kernel)
    kernel.manager.interrupt_kernel()
    assert page.reply(id)["error"] == "stopped; nothing was sent"
    wait = "import asyncio\nprint('begun')\nwhile True: await asyncio.sleep(0.05)"
    kernel.run_and_interrupt(wait, lambda message: message["msg_type"] == "stream")
    page.turn("{{ 1 + 1 }}")
    assert sent(engine) == ["2"]


def test_a_figure_is_attached_and_not_shown_below_the_next_cell(page, engine, kernel):
    assert kernel.run("%matplotlib inline\n" + FIGURE).error is None
    page.turn("What is {{ figure() }}?")
    assert sent(engine)[-1] == "What is [image: image.png]?"
    assert [name for _, name in engine.history[-1]["media"]] == ["image.png"]
    images = page.shown[0]["images"]
    assert [(one["name"], one["filled"]) for one in images] == [("image.png", True)]
    assert kernel.run("plt.get_fignums()").result == "[]"
    ask_again(page, "edit", item=page.order[0], text="And {{ figure() }}?", images=[])
    assert [name for _, name in engine.history[-1]["media"]] == ["image.png"]


def test_while_a_cell_runs_a_prompt_with_an_expression_waits_for_its_end(page, engine, kernel):
    if (subshell := new_subshell(kernel)) is None:
        return  # the page's messages arrive after the cell
    other = PanelPage(kernel, page.panel, subshell).hello()
    queue = "panel._controller.draft.queue"
    code = f"import asyncio\nn = 1\nprint('begun')\nwhile len({queue}) < 3: await asyncio.sleep(0.01)\nn = 2"
    started = kernel.start(code, cell="busy")
    until_printed(kernel)
    assert other.ask("send", text="{{ n }}", images=[])["queued"] is True
    assert other.refused("edit", item="i0", text="x", images=[]) == "this message is no longer in the chat"
    other.until(lambda: other.state["queue"]["waits"] == "cell")
    other.ask("queue", text="{{ gone }}", images=[])
    assert engine.history == []
    other.ask("queue", text="last", images=[])
    kernel.finish(started)
    other.until(lambda: other.state["queue"]["waits"] == "error")
    assert [(one["text"], one["error"][:40]) for one in other.state["queue"]["prompts"]] == [
        ("{{ gone }}", "{{ gone }}: gone is not defined: define "),
        ("last", ""),
    ]
    assert sent(engine) == ["2"]
    other.ask("unqueue", prompt=other.state["queue"]["prompts"][0]["id"], edit=False)
    other.ask("resume")
    other.until(lambda: other.state["queue"]["prompts"] == [])
    other.until(lambda: len(engine.history) == 2)
    assert sent(engine) == ["2", "last"]
    other.last()
    other.leave()
