"""Writing in the panel's page: Enter, recalled prompts, drafts, and failures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from panel_page import QUESTION, SETTINGS, P, PanelPage, item
from playwright.sync_api import Page


@pytest.fixture
def panel(page: Page) -> Iterator[PanelPage]:
    with PanelPage(page) as panel:
        yield panel


def answering(**fields: object) -> dict[str, object]:
    return item("a1", "assistant", P, status="streaming", can=[]) | fields


def test_enter_sends_and_the_turn_replaces_the_prompt_being_sent(panel: PanelPage) -> None:
    panel.open()
    panel.box.fill("Why is the sky blue?")
    panel.box.press("Enter")
    request = panel.asked("send")
    assert (request["text"], request["images"]) == ("Why is the sky blue?", [])
    panel.settle()
    assert panel.box.input_value() == ""
    assert panel.root.locator(".nbb-sending").inner_text() == "Why is the sky blue?"
    panel.items(["q1"], QUESTION)
    panel.reply(request)
    assert panel.root.locator("article").count() == 1
    assert panel.root.locator(".nbb-sending").count() == 0


def test_shift_enter_breaks_the_line(panel: PanelPage) -> None:
    panel.open()
    panel.box.press_sequentially("one")
    panel.box.press("Shift+Enter")
    panel.box.press_sequentially("two")
    assert panel.box.input_value() == "one\ntwo"
    assert panel.requests("send") == []


@pytest.mark.parametrize("keys", ["Control+Enter", "Shift+Enter"])
def test_enter_breaks_the_line_if_the_setting_says_so(panel: PanelPage, keys: str) -> None:
    panel.open(settings=SETTINGS | {"enter_sends": False})
    panel.box.press_sequentially("one")
    panel.box.press("Enter")
    panel.box.press_sequentially("two")
    assert panel.requests("send") == []
    panel.box.press(keys)
    assert panel.asked("send")["text"] == "one\ntwo"


def test_an_input_method_keeps_its_enter(panel: PanelPage) -> None:
    panel.open(draft="に")
    for event in ("{key: 'Enter', isComposing: true}", "{key: 'Enter', keyCode: 229}"):
        panel.box.evaluate(f"box => box.dispatchEvent(new KeyboardEvent('keydown', {{bubbles: true, ...{event}}}))")
    panel.settle()
    assert panel.requests("send") == []


def test_an_empty_prompt_is_not_sent(panel: PanelPage) -> None:
    panel.open()
    panel.box.fill("  \n ")
    panel.box.press("Enter")
    assert panel.button("Send").is_disabled()
    assert panel.requests("send") == []


def test_the_box_grows_and_then_scrolls(panel: PanelPage) -> None:
    panel.open()
    low = panel.box.bounding_box()
    panel.box.fill("line\n" * 6)
    high = panel.box.bounding_box()
    panel.box.fill("line\n" * 100)
    top = panel.box.bounding_box()
    assert low
    assert high
    assert top
    assert low["height"] < high["height"] < top["height"]
    assert top["height"] < 0.45 * 0.7 * 900
    assert panel.box.evaluate("box => box.scrollHeight > box.clientHeight")


def test_earlier_prompts_are_recalled(panel: PanelPage) -> None:
    panel.open(QUESTION, item("a1"), QUESTION | {"id": "q2"}, item("a2"))
    panel.run("kernel.answers.text = request => ({text: 'text of ' + request.item})")
    value = "document.querySelector('.nbb-frame textarea').value === given"
    walk = (("Up", "text of q2"), ("Up", "text of q1"), ("Up", "text of q1"), ("Down", "text of q2"), ("Down", ""))
    for key, text in walk:
        panel.box.press(f"Arrow{key}")
        panel.until(value, text)
        panel.settle()
    panel.box.press_sequentially("mine")
    panel.box.press("ArrowUp")
    panel.settle()
    assert panel.box.input_value() == "mine"


def test_keys_stay_in_the_panel(panel: PanelPage) -> None:
    panel.open(QUESTION)
    panel.box.press("d")
    panel.box.press("Shift+Enter")
    panel.button("Settings").focus()
    panel.page.keyboard.press("d")
    assert panel.run("return kernel.escaped") == []
    assert panel.button("Settings").get_attribute("data-lm-suppress-shortcuts") == "true"


def test_braces_that_cannot_be_evaluated_can_be_sent_as_typed(panel: PanelPage) -> None:
    panel.open()
    panel.box.fill("Here is {{ df }}")
    panel.box.press("Enter")
    panel.reply(panel.asked("send"), error="{{ df }}: df is not defined", as_typed=True)
    assert panel.box.input_value() == "Here is {{ df }}"
    assert "{{ df }}: df is not defined" in panel.notes()
    panel.button("Send as typed").click()
    panel.settle()
    assert panel.run("return document.activeElement.matches('.nbb-frame textarea')")
    request = panel.asked("send", 1)
    assert (request["text"], request["raw"]) == ("Here is {{ df }}", True)
    panel.reply(request, error="{{ df }}: df is not defined", as_typed=True)
    panel.box.press_sequentially("2")
    panel.settle()
    assert panel.notes() == ""  # it was said of another text


def test_the_edit_box_has_the_question_as_typed_without_the_images_of_its_braces(panel: PanelPage) -> None:
    pictures = [
        {"key": key, "name": f"{key}.png", "type": "image/png", "size": 5, "width": 2, "height": 2, "note": ""}
        for key in "kl"
    ]
    pictures[0]["filled"] = True
    panel.open(QUESTION | {"images": pictures}, item("a1"))
    panel.answers("text", text="Here is [image: k.png]", typed="Here is {{ fig }}", filled=1)
    panel.root.locator("article").first.hover()
    panel.button("Edit").first.click()
    area = panel.root.get_by_role("textbox", name="Edit the question")
    area.wait_for()
    assert area.input_value() == "Here is {{ fig }}"
    panel.button("Save and ask").click()
    assert panel.asked("edit")["images"] == ["l"]


def test_the_send_button_is_a_stop_button_and_escape_stops(panel: PanelPage) -> None:
    panel.open(QUESTION, answering())
    assert panel.button("Send").count() == 0
    panel.button("Stop").click()
    panel.box.press("Escape")
    panel.asked("stop", 1)
    panel.say("meta", item="a1", meta={"status": "stopped", "can": ["retry"]})
    panel.settle()
    assert panel.button("Send").count() == 1
    assert "Stopped" in panel.root.locator(".nbb-answer").inner_text()


def test_a_refused_prompt_returns_to_the_box_with_the_reason_and_can_be_sent_again(panel: PanelPage) -> None:
    panel.open()
    panel.box.fill("one")
    panel.box.press("Enter")
    panel.box.press_sequentially("two")
    panel.reply(panel.asked("send"), error="no model of this name")
    assert panel.box.input_value() == "one\n\ntwo"
    assert "no model of this name" in panel.notes()
    panel.button("Retry").click()
    assert panel.asked("send", 1)["text"] == "one\n\ntwo"


def test_when_the_kernel_is_gone_the_prompt_returns_to_the_box_with_the_reason(panel: PanelPage) -> None:
    panel.open(QUESTION)
    panel.box.fill("one")
    panel.box.press("Enter")
    panel.asked("send")
    panel.run("kernel.fire('comm:close')")
    panel.settle()
    assert panel.box.input_value() == "one"
    assert panel.box.get_attribute("readonly") is not None
    assert "The kernel was restarted. Run this cell again" in panel.notes()
    assert panel.root.locator(".nbb-question").inner_text().startswith("Why is the sky blue?")


def test_a_send_that_throws_means_that_the_kernel_is_gone(panel: PanelPage) -> None:
    panel.open(draft="one")
    panel.run("kernel.hear = () => { throw new Error('Cannot send'); }; kernel.broken = true")
    panel.box.press("Enter")
    panel.settle()
    assert panel.box.input_value() == "one"
    assert "The kernel was restarted" in panel.notes()


@pytest.mark.parametrize(
    ("subshells", "line"), [(False, "answers the panel when the cell ends"), (True, "Waiting for the kernel")]
)
def test_a_note_reports_a_busy_kernel(panel: PanelPage, subshells: bool, line: str) -> None:
    panel.open(draft="one", subshells=subshells)
    panel.box.press("Enter")
    panel.root.locator(".nbb-note", has_text=line).wait_for()
    panel.run("kernel.status(given, 'busy')", panel.asked("send")["id"])
    panel.settle()
    assert panel.notes() == ""


def test_a_kernel_without_the_panel_is_detected(panel: PanelPage) -> None:
    panel.open(draft="one")
    panel.box.press("Enter")
    panel.run("kernel.status(given, 'busy'); kernel.status(given, 'idle')", panel.asked("send")["id"])
    panel.run("kernel.status(given, 'busy'); kernel.status(given, 'idle')", panel.asked("hello", 1)["id"])
    panel.root.locator(".nbb-note", has_text="The kernel was restarted").wait_for()
    assert panel.box.input_value() == "one"


def test_the_draft_is_sent_to_the_kernel_and_shared_by_the_views(panel: PanelPage) -> None:
    panel.open()
    panel.run("kernel.view()")
    boxes = panel.page.get_by_role("textbox", name="Message")
    boxes.first.fill("a draft")
    assert panel.asked("draft")["text"] == "a draft"
    assert boxes.nth(1).input_value() == "a draft"


def test_a_cell_that_runs_again_restores_draft_selection_and_focus(panel: PanelPage) -> None:
    panel.open()
    panel.box.fill("a draft")
    panel.box.evaluate("box => box.setSelectionRange(2, 5)")
    panel.page.keyboard.press("Shift")
    panel.run("kernel.cleanups.pop()(); kernel.end(); kernel.layout = {}; await kernel.load(given)", panel.source())
    panel.run("kernel.state(given)", panel.state(draft="older"))
    panel.until("document.activeElement.matches('.nbb-frame textarea')")
    assert panel.box.input_value() == "a draft"
    assert panel.box.evaluate("box => [box.selectionStart, box.selectionEnd]") == [2, 5]


def test_the_focus_is_not_taken_from_another_text_field(panel: PanelPage) -> None:
    panel.open()
    panel.box.focus()
    panel.run("document.body.append(Object.assign(document.createElement('textarea'), {id: 'cell'})); cell.focus()")
    panel.run("kernel.cleanups.pop()(); kernel.end(); kernel.layout = {}; await kernel.load(given)", panel.source())
    panel.run("kernel.state(given)", panel.state())
    panel.settle()
    assert panel.run("return document.activeElement.id") == "cell"


def test_a_prompt_sent_before_the_kernel_answers_is_sent_when_it_does(panel: PanelPage) -> None:
    panel.load()
    panel.box.fill("Early")
    panel.box.press("Enter")
    assert panel.requests("send") == []
    panel.greet(draft="an older draft")
    assert panel.asked("send")["text"] == "Early"


def test_a_draft_written_before_the_kernel_answers_stays(panel: PanelPage) -> None:
    panel.load()
    panel.box.fill("Early")
    panel.greet(draft="an older draft")
    assert panel.box.input_value() == "Early"
    assert panel.requests("send") == []


def test_a_key_right_after_enter_belongs_to_the_next_prompt(panel: PanelPage) -> None:
    panel.open()
    panel.box.fill("one")
    press = "new KeyboardEvent('keydown', {key: 'Enter', bubbles: true, cancelable: true})"
    enter = f"const box = panel.querySelector('textarea'); box.dispatchEvent({press}); return box.value;"
    assert panel.run(enter) == ""
    assert panel.asked("send")["text"] == "one"
