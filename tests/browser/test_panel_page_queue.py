"""The queue in the panel's page: questions that are typed while an answer is written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from panel_page import QUESTION, SETTINGS, P, PanelPage, item
from playwright.sync_api import Page


@pytest.fixture
def panel(page: Page) -> Iterator[PanelPage]:
    with PanelPage(page) as panel:
        yield panel


def answering() -> dict[str, object]:
    return item("a1", "assistant", P, status="streaming", can=[])


def waiting(key: str, text: str, **fields: object) -> dict[str, object]:
    return {"id": key, "text": text, "images": [], "error": ""} | fields


def test_while_an_answer_streams_a_question_is_queued(panel: PanelPage) -> None:
    panel.open(QUESTION, answering())
    panel.box.fill("next")
    panel.box.press("Enter")
    assert panel.asked("queue")["text"] == "next"
    assert panel.requests("send") == []
    panel.settle()
    assert panel.box.input_value() == ""
    assert panel.root.locator(".nbb-sending").count() == 0
    queued = {"prompts": [waiting("1", "next"), waiting("2", "and then")], "waits": "answer"}
    panel.say("settings", chat="chat", chats=["chat"], settings=SETTINGS, queue=queued)
    panel.settle()
    queue = panel.root.get_by_role("list", name="Queued questions")
    assert [entry.strip() for entry in queue.locator(".nbb-prompt").all_inner_texts()] == ["next", "and then"]
    assert "Sent when the answer ends" in panel.root.locator(".nbb-queue").inner_text()
    assert not panel.button("Send now").is_visible()
    panel.say("meta", item="a1", meta={"status": "done"})
    panel.settle()
    panel.box.fill("the third")
    panel.button("Queue").click()  # the others go first
    assert panel.asked("queue", 1)["text"] == "the third"


def test_a_refused_question_for_the_queue_returns_to_the_box(panel: PanelPage) -> None:
    panel.open(QUESTION, answering())
    panel.box.fill("next")
    panel.button("Queue").click()
    panel.reply(panel.asked("queue"), error="too many")
    assert panel.box.input_value() == "next"
    assert "too many" in panel.notes()


def test_a_queued_question_is_edited_at_its_place_and_removed(panel: PanelPage) -> None:
    prompts = [waiting("1", "one"), waiting("2", "two")]
    panel.open(QUESTION, answering(), queue={"prompts": prompts, "waits": "answer"})
    panel.answers("unqueue", text="one")
    queue = panel.root.get_by_role("list", name="Queued questions")
    queue.get_by_role("button", name="Edit").first.click()
    panel.until("document.activeElement.matches('.nbb-frame textarea') && document.activeElement.value === 'one'")
    request = panel.asked("unqueue")
    assert (request["prompt"], request["edit"]) == ("1", True)
    panel.page.keyboard.press("Enter")
    request = panel.asked("queue")
    assert (request["text"], request["before"]) == ("one", "2")
    queue.get_by_role("button", name="Remove").first.click()
    assert panel.asked("unqueue", 1)["edit"] is False
    panel.until("document.activeElement.matches('.nbb-frame textarea')")
    assert panel.box.input_value() == ""


def test_the_buttons_of_the_queue_keep_the_focus_when_something_else_changes(panel: PanelPage) -> None:
    queue = {"prompts": [waiting("1", "one")], "waits": "answer"}
    panel.open(QUESTION, answering(), queue=queue)
    panel.root.locator(".nbb-queue").get_by_role("button", name="Remove").focus()
    panel.say("settings", chat="chat", title="chat", settings=SETTINGS | {"model": "other"}, queue=queue)
    panel.settle()
    assert panel.run("return document.activeElement.title") == "Remove"


@pytest.mark.parametrize(
    ("reason", "said"), [("stopped", "was stopped"), ("failed", "failed"), ("error", "could not be sent")]
)
def test_a_held_queue_says_why_and_is_sent_by_a_button(panel: PanelPage, reason: str, said: str) -> None:
    prompt = waiting("1", "one", error="df is not defined" if reason == "error" else "")
    panel.open(QUESTION, queue={"prompts": [prompt], "waits": reason})
    queue = panel.root.locator(".nbb-queue")
    assert said in queue.inner_text()
    assert str(prompt["error"]) in queue.inner_text()
    panel.box.fill("before them")
    panel.box.press("Enter")
    assert panel.asked("send")["text"] == "before them"
    panel.button("Send now").click()
    panel.asked("resume")
    assert panel.run("return document.activeElement.matches('.nbb-frame textarea')")


def test_the_queue_returns_to_the_box_when_the_kernel_is_gone(panel: PanelPage) -> None:
    prompts = [waiting("1", "one"), waiting("2", "two")]
    panel.open(QUESTION, answering(), draft="three", queue={"prompts": prompts, "waits": "answer"})
    panel.run("kernel.fire('comm:close')")
    panel.settle()
    assert panel.box.input_value() == "one\n\ntwo\n\nthree"
    assert panel.root.locator(".nbb-queue").is_hidden()
