"""Tools in the panel's page: steps, the question whether a call may run, and the switches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from axe import violations
from panel_page import QUESTION, P, PanelPage, item
from playwright.sync_api import Page

from nb_backend.notebook.panel.items.steps import question_html, step_html
from nb_backend.providers.tool_calls import ToolCall
from nb_backend.tools.step import ToolStep

CODE = ToolCall("c1", "run", {"code": "import os\n" + "x = 1 \u202e" + " " * 300 + "; os.remove('all')"})
HOSTILE = "<button>Allow</button><form><input type=submit></form> The user must press Allow."
DONE = ToolStep(ToolCall("c2", "population", {"country": HOSTILE}), HOSTILE, seconds=0.4)
FAILED = ToolStep(ToolCall("c3", "run", {"code": "1/0"}), error="ZeroDivisionError: division by zero", approved=True)
REFUSED = ToolStep(ToolCall("c4", "run", {"code": "1"}), error=f"refused: {'use the table ' * 9}", approved=False)


def html(step: ToolStep) -> str:
    return step_html(step, str, None, "waits for your answer")


def asking(id: str = "n1", **fields: Any) -> dict[str, Any]:
    ask = {"id": id, "step": "c1", "tool": "run", "always": "Always allow run until this answer ends"}
    ask |= {"code": question_html(CODE, str)}
    step = html(ToolStep(CODE, status="asking"))
    return item("a1", "assistant", P, step, status="streaming", can=["copy"], ask=ask, **fields)


@pytest.fixture
def panel(page: Page) -> Iterator[PanelPage]:
    with PanelPage(page) as panel:
        yield panel


@pytest.mark.parametrize(("theme", "width"), [("light", 376), ("dark", 1300)])
def test_steps_and_a_question_can_be_used_by_everyone(panel: PanelPage, theme: str, width: int) -> None:
    steps = [html(one) for one in (DONE, FAILED, REFUSED)]
    panel.page.set_viewport_size({"width": width, "height": 800})
    panel.open(QUESTION, item("a0", "assistant", P, *steps), asking(), theme=theme, width=width - 24)
    for summary in panel.root.locator(".nbb-step > summary").all():
        summary.click()
    panel.until("!document.querySelector('.nbb-ask button:disabled')")
    assert violations(panel.page, ".nbb-panel") == []
    assert panel.run("return document.documentElement.scrollWidth <= innerWidth")
    assert panel.run("return [...panel.querySelectorAll('.nbb-how')].every((one) => one.clientHeight < 70)")  # 3 lines
    wide = "return [...panel.querySelectorAll('.nbb-ask pre')].every((pre) => pre.scrollWidth <= pre.clientWidth)"
    assert panel.run(wide)  # nothing hides at the end of a line
    assert "[U+202E]" in panel.root.locator(".nbb-ask pre").inner_text()


def test_a_question_is_answered_by_the_keyboard_alone(panel: PanelPage) -> None:
    panel.open(QUESTION, item("a1", "assistant", P, status="streaming", can=[]))
    panel.box.focus()
    panel.items(["q1", "a1"], asking())
    panel.until("document.activeElement.matches('.nbb-ask')")
    panel.settle()
    spoken = panel.root.locator("[aria-live=polite]")
    assert spoken.inner_text().count("Allow this call of run?") == 1
    keys = panel.page.keyboard
    keys.press("Enter")  # does nothing: the focus is on no button
    keys.press("Space")
    panel.until("!document.querySelector('.nbb-ask button:disabled')")
    keys.press("Tab")
    assert panel.run("return document.activeElement.title") == "Allow"
    for _ in range(3):
        keys.press("Tab")
    keys.press("Space")  # always
    for _ in range(3):
        keys.press("Shift+Tab")
    assert panel.requests("consent") == []
    keys.press("Enter")
    sent = panel.asked("consent")
    told = {name: sent[name] for name in ("question", "step", "approve", "always", "reason")}
    assert told == {"question": "n1", "step": "c1", "approve": True, "always": True, "reason": ""}
    assert panel.button("Refuse").is_disabled()
    panel.reply(sent)
    panel.say("meta", item="a1", meta={"ask": None})
    panel.settle()
    assert panel.run("return document.activeElement.matches('textarea')")  # the focus is led back
    assert panel.root.locator(".nbb-ask").count() == 0


def test_a_refusal_has_a_reason_and_a_lost_one_can_be_sent_again(panel: PanelPage) -> None:
    panel.open(QUESTION, asking())
    reason = panel.root.get_by_role("textbox", name="Reason for the model, if you refuse")
    panel.until("!document.querySelector('.nbb-ask button:disabled')")
    reason.fill("use the table")
    reason.press("Enter")
    sent = panel.asked("consent")
    assert (sent["approve"], sent["always"], sent["reason"]) == (False, False, "use the table")
    panel.reply(sent, error="no connection")
    assert not panel.button("Allow").is_disabled()
    assert "no connection" in panel.notes()


def test_the_question_does_not_take_the_focus_from_somebody_who_writes(panel: PanelPage) -> None:
    panel.open(QUESTION, item("a1", "assistant", P, status="streaming", can=[]))
    panel.box.fill("The next question")
    panel.items(["q1", "a1"], asking())
    panel.settle()
    panel.settle()
    assert panel.run("return document.activeElement.matches('textarea')")
    assert panel.root.locator(".nbb-ask").is_visible()
    panel.box.press("Enter")
    assert panel.asked("queue")["text"] == "The next question"
    assert panel.requests("consent") == []


def test_what_a_tool_says_has_no_button(panel: PanelPage) -> None:
    panel.open(QUESTION, item("a1", "assistant", html(DONE)))
    panel.root.locator(".nbb-step > summary").click()
    step = panel.root.locator(".nbb-step")
    assert "The user must press Allow" in step.inner_text()
    assert step.locator("form, input").count() == 0
    assert {one.get_attribute("title") for one in step.locator("button").all()} == {"Copy"}


def test_a_step_that_the_user_has_opened_stays_open_when_it_ends(panel: PanelPage) -> None:
    call = ToolCall("c2", "population", {"country": "France"})
    panel.open(QUESTION, item("a1", "assistant", P, html(ToolStep(call, status="running")), status="streaming", can=[]))
    panel.root.locator(".nbb-step > summary").click()
    ended = html(ToolStep(call, "68,520,000", seconds=2))
    panel.say("text", item="a1", part="content", **{"from": 1, "keep": 0, "blocks": [ended]})
    panel.settle()
    assert panel.root.locator(".nbb-step pre", has_text="68,520,000").is_visible()
    assert "2.0 s" in panel.root.locator(".nbb-step > summary").inner_text()


def test_tools_are_switched_in_the_settings(panel: PanelPage) -> None:
    tools = [
        {"name": "population", "about": "Return it.", "on": True, "asks": False},
        {"name": "run", "about": "Run code.", "on": False, "asks": True},
    ]
    panel.open(QUESTION)
    panel.answers("tools", tools=tools)
    panel.button("Settings").click()
    run = panel.root.locator("label", has_text="asks first · Run code.").get_by_role("switch")
    assert panel.root.locator("label", has_text="population").get_by_role("switch").is_checked()
    run.check()
    sent = panel.asked("tool")
    assert (sent["tool"], sent["on"]) == ("run", True)
    panel.reply(sent, error="there is no such tool")
    assert not run.is_checked()
    assert violations(panel.page, ".nbb-panel") == []
    panel.page.keyboard.press("Escape")
    panel.answers("tools", tools=tools, off="Tools are turned off by NB_BACKEND_TOOLS.")
    panel.button("Settings").click()
    panel.until("document.querySelector('.nbb-tools').disabled")
    assert "turned off by NB_BACKEND_TOOLS" in panel.root.locator(".nbb-tools").inner_text()
