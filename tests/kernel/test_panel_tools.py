"""Tools in a panel: the question whether a call may run, the user's thread between cells, stop, and what stays."""

from __future__ import annotations

import json

import pytest
from panel_client import PanelPage, new_subshell, text_of
from scripted_calls import results, tool_call
from test_panel_expressions import until_printed

SETUP = """
import threading, time
from nb_backend import ChatPanel, background, chats
from nb_backend.tools import Tool

ran = []
def work(code):
    ran.append(threading.current_thread() is threading.main_thread())
    return str(eval(code))
async def on_my_thread(code):
    return await background.on_user_thread(lambda: work(code))
mine = Tool("mine", "Evaluate.", {"type": "object", "properties": {}}, on_my_thread, approve=True)
plain = Tool("plain", "Square.", {"type": "object", "properties": {}}, lambda number: number ** 2)
"""
SHOW = "ran.clear()\nchats['main'].tools = [mine, plain]\npanel = ChatPanel('main')\npanel"


@pytest.fixture(scope="module")
def tools(kernel):
    assert kernel.run(SETUP).error is None


@pytest.fixture
def page(kernel, engine, tools):
    kernel.run("for name in list(chats): del chats[name]")
    run = kernel.run(SHOW, cell="p")
    assert run.error is None, run.error
    page = PanelPage(kernel, run).hello()
    yield page
    page.leave()
    kernel.run("panel.close()")


def asked(page):
    """Wait for an open question, and return it."""
    return page.until(lambda: page.shown and page.shown[-1].get("ask"))


def answer(page, ask, approve, **fields):
    return page.ask("consent", question=ask["id"], step=ask["step"], approve=approve, **fields)


def until_kept(page, text):
    """Wait until the transcript has a text: it is written after the items of the page."""
    page.until(lambda: text in page.kernel.run("panel._controller.transcript.markdown").result)


def test_a_call_that_asks_waits_for_the_panel_and_its_steps_stay(page, engine, kernel):
    engine.enqueue("I look. ", tool_call("plain", number=7), tool_call("mine", code="6 * 7"))
    engine.enqueue("It is 42.")
    page.ask("send", text="How much?", images=[])
    ask = asked(page)
    assert ask["tool"] == "mine"
    assert "6 * 7" in "".join(ask["code"])
    assert "waits for your answer" in text_of(page.shown[-1])
    reloaded = PanelPage(kernel, page.panel).hello()
    assert reloaded.shown[-1]["ask"] == ask  # a page that was reloaded can answer
    reloaded.leave()
    for wrong in ({"question": "0" * 32, "step": ask["step"]}, {"question": ask["id"], "step": "other"}):
        assert "no longer open" in page.refused("consent", approve=True, **wrong)
    assert "true or false" in page.refused("consent", question=ask["id"], step=ask["step"], approve="yes")
    assert kernel.run("ran").result == "[]"
    answer(page, ask, True)
    done = page.last()
    assert "no longer open" in page.refused("consent", question=ask["id"], step=ask["step"], approve=True)
    assert kernel.run("ran").result == "[True]"
    assert done["ask"] is None
    first, plain, mine, last = done["content"]
    assert (first, last) == ("<p>I look.</p>", "<p>It is 42.</p>")
    assert "49" in plain
    assert "allowed" in mine
    assert results(engine.history[-1]) == ["49", "42"]
    page.turn("Sure?")  # the calls and their results are sent again
    assert results(engine.history[-1]) == ["49", "42"]
    record = json.loads(b"".join(page.pieces[page.ask("record")["id"]]))
    kept = record["chats"]["main"]["messages"][1]["rounds"][0]
    assert [(one["name"], one["result"], one["approved"]) for one in kept["steps"]] == [
        ("plain", "49", None),
        ("mine", "42", True),
    ]
    until_kept(page, "<summary>⚙ <code>mine")
    kernel.run("new = ChatPanel('other')\nnew", cell="other")
    again = tool_call("mine", code="1")
    again["tool_calls"][0]["id"] = "c" * 2000  # the server's own
    engine.enqueue("Again. ", again)
    engine.enqueue("Without.")
    page.ask("retry", item=page.order[1])
    answer(page, asked(page), False, reason="no\n thanks", always=True)
    assert "the user refused this call: no thanks" in text_of(page.last())
    assert results(engine.history[-1]) == ["Error: the user refused this call: no thanks"]
    kernel.run("new.close()")
    engine.enqueue("Once more. ", tool_call("plain", number=8))
    engine.enqueue({"type": "error", "error": "Broken", "message": "the engine broke"})
    failed = page.turn("And 8?", "failed")  # what a call has done stays visible, also if the answer fails after it
    assert (failed["status"], failed["error"]) == ("failed", "the engine broke")
    assert "64" in text_of(failed)
    until_kept(page, "64")
    assert "And 8?" not in str(kernel.run("chats['main'].messages").result)


def test_it_is_answered_while_a_cell_runs_and_the_code_runs_after_the_cell(page, engine, kernel):
    subshell = new_subshell(kernel)
    other = PanelPage(kernel, page.panel, subshell).hello()
    engine.enqueue(tool_call("mine", code="state"))
    engine.enqueue("Done.")
    if subshell is None:
        page.ask("send", text="Go", images=[])
        asked(other)
    code = "import asyncio\nstate = 'in the cell'\nprint('begun')\n"
    code += "try:\n    while True: await asyncio.sleep(0.01)\nfinally: state = 'after the cell'"
    started = kernel.start(code, cell="busy")
    until_printed(kernel)
    if subshell is None:  # what the page sends arrives after the cell
        ask = asked(other)
        sent = other.send("consent", question=ask["id"], step=ask["step"], approve=True)
    else:
        other.ask("send", text="Go", images=[])
        answer(other, asked(other), True)
        other.until(lambda: "running" in text_of(other.shown[-1]))
    kernel.manager.interrupt_kernel()
    kernel.finish(started)
    assert subshell or other.reply(sent)["ok"]
    assert "after the cell" in text_of(other.last())
    other.leave()


def test_a_stop_ends_the_wait_and_interrupts_what_runs(page, engine, kernel):
    page.subshell = new_subshell(kernel)
    engine.enqueue("I try. ", tool_call("mine", code="print('begun') or time.sleep(60)"))
    page.ask("send", text="Go", images=[])
    ask = asked(page)
    # not `answer`, whose wait for the reply may read the printed text
    page.send("consent", question=ask["id"], step=ask["step"], approve=True)
    until_printed(kernel)
    if page.subshell:
        page.ask("stop")
        assert "stopped by the user" in text_of(page.last("stopped"))
    else:  # a stop would arrive when the function ends; ■ ends the function, and the model hears of it
        kernel.manager.interrupt_kernel()
        assert "interrupted by the user" in text_of(page.last())
    assert "I try." in text_of(page.shown[-1])
    assert kernel.run("1 + 1").result == "2"  # and not only after a minute


def test_a_panel_that_closes_and_a_stop_end_the_question(page, engine, kernel):
    engine.enqueue(tool_call("mine", code="1"))
    page.ask("send", text="Go", images=[])
    ask = asked(page)
    page.ask("stop")
    assert "stopped" in text_of(page.last("stopped"))
    assert "no longer open" in page.refused("consent", question=ask["id"], step=ask["step"], approve=True)
    engine.enqueue(tool_call("mine", code="2"))
    page.ask("send", text="Go", images=[])
    asked(page)
    kernel.run("panel.close()")
    kernel.run("while chats['main'].live: time.sleep(0.01)")
    assert kernel.run("ran").result == "[]"


def test_tools_are_switched(page, engine, kernel):
    on = {one["name"]: one["on"] for one in page.ask("tools")["tools"]}
    assert (on["mine"], on["plain"]) == (True, True)
    page.ask("tool", tool="mine", on=False)
    page.until(lambda: page.state["settings"]["tools"] == ["plain"])
    page.turn("Hi")
    assert [one["function"]["name"] for one in engine.history[-1]["tools"]] == ["plain"]
    assert [on[name] for name in ("look", "cells", "run")] == [False, False, False]
    page.ask("tool", tool="run", on=True)
    engine.enqueue(tool_call("run", code="seen = 5\nprint('hi')\nseen + 1"), tool_call("run", code="seen + 2"))
    engine.enqueue("Done.")
    page.ask("send", text="Run it", images=[])
    answer(page, asked(page), True, always=True)  # until this answer ends
    page.last()
    assert results(engine.history[-1]) == ["hi\nOut: 6", "Out: 7"]
    engine.enqueue(tool_call("run", code="%%backend\nhi"))
    engine.enqueue("Done.")
    page.ask("send", text="And again", images=[])
    answer(page, asked(page), True)
    page.last()
    (refused,) = results(engine.history[-1])[2:]
    assert len(engine.history) == 5
    assert "\n" not in refused, refused
    assert kernel.run("seen").result == "5"
    kernel.run("%config BackendMagics.tools = False")
    assert page.ask("tools")["off"] == "Tools are turned off by %config BackendMagics.tools = False."
    kernel.run("%config BackendMagics.tools = True")
