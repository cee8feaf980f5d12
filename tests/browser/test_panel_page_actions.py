"""Actions in the panel's page: on a turn, on the chat, on the model and the settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from axe import violations
from panel_page import ANSWER, QUESTION, SETTINGS, P, PanelPage, item
from playwright.sync_api import Page

from nb_backend.providers.common_fields import EFFORTS


@pytest.fixture
def panel(page: Page) -> Iterator[PanelPage]:
    with PanelPage(page) as panel:
        yield panel


MODELS = [
    {"name": "gpt-4o", "provider": "OpenaiChat", "label": "GPT-4o", "vision": True, "service": ""},
    {"name": "smollm2", "provider": "", "label": "SmolLM2 135M", "vision": None, "service": ""},
]


def press_in_item(panel: PanelPage, at: int, name: str) -> None:
    entry = panel.root.locator("article").nth(at)
    entry.hover()
    entry.locator(".nbb-foot").get_by_role("button", name=name, exact=True).click()


def test_retry(panel: PanelPage) -> None:
    panel.open(QUESTION, ANSWER)
    press_in_item(panel, 1, "Retry")
    assert panel.asked("retry")["item"] == "a1"


def test_a_failed_answer_keeps_its_text_and_offers_retry(panel: PanelPage) -> None:
    panel.open(QUESTION, item("a1", "assistant", P, status="failed", error="The model fell over."))
    answer = panel.root.locator(".nbb-answer")
    assert "The model fell over." in answer.inner_text()
    assert "Sunlight" in answer.inner_text()
    answer.get_by_role("button", name="Retry").click()
    assert panel.asked("retry")["item"] == "a1"


def test_the_last_answer_can_be_continued_if_it_was_cut_off(panel: PanelPage) -> None:
    cut = {"status": "incomplete", "error": "Incomplete: cut off at the token limit."}
    cut |= {"can": ["retry", "delete", "copy", "continue"]}
    panel.open(QUESTION, item("a1", "assistant", P, **cut), QUESTION | {"id": "q2"}, item("a2", "assistant", P, **cut))
    assert panel.root.get_by_role("button", name="Continue").count() == 1
    panel.root.get_by_role("button", name="Continue").click()
    assert panel.asked("continue")["item"] == "a2"


def test_only_possible_actions_are_offered(panel: PanelPage) -> None:
    panel.open(QUESTION | {"can": []}, ANSWER | {"can": ["copy"]})
    assert panel.root.locator(".nbb-question .nbb-foot button").count() == 0
    assert panel.root.locator(".nbb-answer .nbb-foot button").all_inner_texts() == ["Copy"]


def test_delete_asks_for_confirmation(panel: PanelPage) -> None:
    panel.open(QUESTION, ANSWER)
    press_in_item(panel, 0, "Delete")
    assert panel.requests("delete") == []
    panel.page.keyboard.press("Escape")
    assert panel.button("Really delete?").count() == 0
    press_in_item(panel, 0, "Delete")
    panel.box.focus()
    assert panel.button("Really delete?").count() == 0
    press_in_item(panel, 0, "Delete")
    press_in_item(panel, 0, "Really delete?")
    assert panel.asked("delete")["item"] == "q1"
    panel.items([])
    panel.settle()
    assert panel.root.locator("article").count() == 0


def failed(*fixes: tuple[str, str]) -> dict[str, Any]:
    given = [{"label": label, "model": model} for label, model in fixes]
    return item("a1", status="failed", error="It failed.", can=["retry", "delete"], fixes=given)


def test_a_failed_question_is_asked_again_with_the_model_of_a_button(panel: PanelPage) -> None:
    panel.open(QUESTION, failed(("Did you mean gpt-4o?", "gpt-4o"), ("Did you mean gpt-4?", "gpt-4")))
    panel.button("Did you mean gpt-4o?").click()
    request = panel.asked("set")
    assert request["model"] == "gpt-4o"
    assert panel.requests("retry") == []
    panel.reply(request)
    assert panel.asked("retry")["item"] == "a1"


def test_a_key_is_entered_and_leaves_the_page(panel: PanelPage) -> None:
    panel.open(QUESTION, failed(("Enter a key", "")), settings=SETTINGS | {"server": "models.example"})
    panel.button("Enter a key").click()
    field = panel.root.get_by_label("Key for models.example")
    panel.until("document.activeElement.type === 'password'")
    assert violations(panel.page, ".nbb-panel") == []
    panel.page.keyboard.type("the-secret")
    panel.page.keyboard.press("Enter")
    request = panel.asked("key")
    assert request["key"] == "the-secret"
    assert field.input_value() == ""
    panel.reply(request)
    assert panel.asked("retry")["item"] == "a1"
    assert "the-secret" not in panel.root.evaluate("panel => panel.outerHTML")


def test_a_model_that_sees_is_offered_while_images_are_attached(panel: PanelPage) -> None:
    dot = {"id": "i1", "name": "a.png", "type": "image/png", "size": 5, "width": 2, "height": 2, "thumbnail": ""}
    panel.open(images=[dot], settings=SETTINGS | {"model": "text-1", "vision": False, "vision_model": "eyes-2"})
    assert "text-1 does not accept images" in panel.notes()
    panel.button("Switch to eyes-2").click()
    assert panel.asked("set")["model"] == "eyes-2"
    panel.button("Remove a.png").click()
    panel.settle()
    assert panel.notes() == ""


def test_copy_copies_the_markdown(panel: PanelPage) -> None:
    panel.open(QUESTION, ANSWER)
    panel.run("document.addEventListener('copy', () => { window.copied = document.activeElement.value; })")
    panel.answers("text", text="**Markdown**")
    press_in_item(panel, 1, "Copy")
    panel.root.locator(".nbb-note", has_text="Copied.").wait_for()
    assert panel.run("return copied") == "**Markdown**"


def test_a_question_is_edited_in_place(panel: PanelPage) -> None:
    pictures = [
        {"key": key, "name": f"{key}.png", "type": "image/png", "size": 5, "width": 2, "height": 2, "note": ""}
        for key in "kl"
    ]
    panel.open(QUESTION | {"images": pictures}, ANSWER)
    panel.answers("text", text="Why is *the sky* blue?")
    press_in_item(panel, 0, "Edit")
    area = panel.root.get_by_role("textbox", name="Edit the question")
    assert area.input_value() == "Why is *the sky* blue?"
    area.press("Escape")
    assert area.count() == 0
    assert panel.requests("edit") == []
    press_in_item(panel, 0, "Edit")
    area.fill("Why is the sea blue?")
    panel.say("meta", item="a1", meta={"who": "somebody"})
    panel.settle()
    assert not panel.root.locator(".nbb-question .nbb-bubble").is_visible()
    panel.button("Remove k.png").click()
    panel.button("Save and ask").click()
    request = panel.asked("edit")
    assert (request["item"], request["text"], request["images"]) == ("q1", "Why is the sea blue?", ["l"])
    panel.reply(request, error="an answer is under way")
    assert area.input_value() == "Why is the sea blue?"
    assert "an answer is under way" in panel.notes()
    panel.button("Save and ask").click()
    panel.reply(panel.asked("edit", 1))
    area.wait_for(state="detached")


@pytest.mark.parametrize(
    ("enter_sends", "breaks", "saves"), [(True, "Shift+Enter", "Enter"), (False, "Enter", "Control+Enter")]
)
def test_enter_means_the_same_in_the_edit_box(panel: PanelPage, enter_sends: bool, breaks: str, saves: str) -> None:
    panel.open(QUESTION, ANSWER, settings=SETTINGS | {"enter_sends": enter_sends})
    panel.answers("text", text="one")
    press_in_item(panel, 0, "Edit")
    area = panel.root.get_by_role("textbox", name="Edit the question")
    area.press(breaks)
    area.press_sequentially("two")
    area.press(saves)
    assert panel.asked("edit")["text"] == "one\ntwo"


def choose_from_menu(panel: PanelPage, name: str) -> None:
    if not panel.root.get_by_role("menu", name="More").is_visible():
        panel.button("More").click()
    panel.root.get_by_role("menuitem", name=name).click()


def test_clear_asks_for_confirmation(panel: PanelPage) -> None:
    panel.open(QUESTION, ANSWER)
    choose_from_menu(panel, "Delete all messages")
    assert panel.requests("clear") == []
    choose_from_menu(panel, "Really delete all?")
    panel.asked("clear")


@pytest.mark.parametrize(("name", "kind"), [("Export as Markdown", "md"), ("Export as notebook", "ipynb")])
def test_a_note_says_where_the_export_is(panel: PanelPage, name: str, kind: str) -> None:
    panel.open(QUESTION, ANSWER)
    choose_from_menu(panel, name)
    request = panel.asked("export")
    assert request["format"] == kind
    panel.reply(request, path=f"chat.{kind}")
    assert f"The chat was written to chat.{kind}" in panel.notes()


def test_finish_asks_for_confirmation(panel: PanelPage) -> None:
    panel.open(QUESTION, ANSWER)
    choose_from_menu(panel, "Close the panel, keep the transcript")
    assert not panel.requests("finish")
    choose_from_menu(panel, "Really close?")
    assert panel.asked("finish")


CHATS = [
    {"name": "chat 2", "title": "Why is the sea blue?", "length": "2 turns", "time": 1_795_000_000_000, "found": None},
    {"name": "main", "title": "main", "length": "0 turns", "time": None, "found": None},
]


def test_a_new_chat_and_a_switch_of_chats(panel: PanelPage) -> None:
    panel.open(QUESTION, chat="main", title="main", draft="of the first")
    panel.answers("chats", chats=CHATS, more=0)
    panel.button("New chat").click()
    panel.asked("new")
    panel.button("main").click()
    listed = panel.root.get_by_role("dialog", name="Chats")
    assert listed.locator("[aria-pressed=true]").inner_text().startswith("main")
    listed.get_by_role("button", name="Why is the sea blue? chat 2 · 2 turns").click()
    assert panel.asked("switch")["chat"] == "chat 2"
    given = {"settings": SETTINGS, "images": []}
    panel.say("settings", chat="chat 2", title="Why is the sea blue?", draft="of the other", **given)
    panel.items([])
    panel.settle()
    assert panel.root.locator(".nbb-chat").get_attribute("title") == "Why is the sea blue? (chat 2)"
    assert panel.box.input_value() == "of the other"
    panel.say("settings", chat="main", title="main", draft="", **given)
    panel.settle()
    assert panel.box.input_value() == "of the first"


def test_chats_are_found_renamed_and_deleted_by_keyboard(panel: PanelPage) -> None:
    panel.open(QUESTION, chat="main", title="main")
    panel.answers("chats", chats=CHATS, more=3)
    panel.button("main").press("Enter")
    focused = "document.activeElement.title === given || document.activeElement.innerText?.startsWith(given)"
    panel.until("document.activeElement.matches('[type=search]') && kernel.sent.some(one => one.type === 'chats')")
    panel.settle()
    assert "Type to find 3 more." in panel.root.get_by_role("dialog", name="Chats").inner_text()
    panel.page.keyboard.type("sea")
    panel.until("kernel.sent.some(one => one.query === 'sea')")
    keys = (("ArrowDown", "Why is"), ("ArrowDown", "main"), ("ArrowUp", "Why is"), ("ArrowRight", "Rename Why"))
    for key, at in (*keys, ("ArrowRight", "Delete Why"), ("ArrowLeft", "Rename Why"), ("ArrowLeft", "Why is")):
        panel.page.keyboard.press(key)
        panel.until(f"document.activeElement.title.startsWith(given) || {focused}", at)
    panel.page.keyboard.press("ArrowRight")
    for end in ("Escape", "Enter"):
        panel.button("Rename Why is the sea blue?").press("Enter")
        panel.page.keyboard.type("The sea")
        panel.page.keyboard.press(end)
        panel.until("document.activeElement.matches('[type=search]')") if end == "Escape" else None
    request = panel.asked("rename")
    assert (request["chat"], request["title"]) == ("chat 2", "The sea")
    assert len(panel.requests("rename")) == 1
    panel.reply(request)
    panel.answers("delete_chat")
    panel.button("Delete Why is the sea blue?").press("Enter")
    assert panel.asked("delete_chat")["chat"] == "chat 2"
    panel.button("Undo").click()
    panel.asked("undelete_chat")


def test_a_chat_that_was_found_shows_the_place_and_enter_takes_it(panel: PanelPage) -> None:
    panel.open(QUESTION, chat="main", title="main")
    panel.answers("chats", chats=[CHATS[0] | {"found": ["…the ", "<i>waves</i>", " are…"]}], more=0)
    # The focus is in the box at once, so that no key is lost.
    assert panel.button("main").evaluate("node => (node.click(), document.activeElement.type)") == "search"
    panel.root.locator("mark", has_text="<i>waves</i>").wait_for()
    panel.page.keyboard.press("Enter")
    assert panel.asked("switch")["chat"] == "chat 2"
    assert panel.page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "Message"
    panel.answers("chats", chats=[], more=0)
    panel.button("main").click()
    panel.root.get_by_role("searchbox").fill("x")
    panel.root.get_by_text("No chat contains this.").wait_for()


def test_a_model_is_chosen_from_the_list(panel: PanelPage) -> None:
    panel.open()
    panel.button("gpt-4o").click()
    picker = panel.root.get_by_role("dialog", name="Model")
    assert "Loading the list of models" in picker.inner_text()
    panel.reply(panel.asked("models"), models=MODELS)
    assert "accepts images · OpenaiChat" in picker.inner_text()
    assert picker.locator("[aria-pressed=true]").inner_text().startswith("GPT-4o")
    panel.page.keyboard.type("smol")
    assert picker.locator(".nbb-choice").count() == 2
    picker.get_by_text("SmolLM2 135M").click()
    assert panel.asked("set")["model"] == "smollm2"
    panel.settings(model="smollm2")
    panel.settle()
    assert panel.button("smollm2").is_visible()


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ({"error": "the server is away"}, "The list could not be loaded: the server is away"),
        ({"models": []}, "The server does not list its models: type a name."),
    ],
)
def test_any_model_name_can_be_typed(panel: PanelPage, reply: dict[str, Any], said: str) -> None:
    panel.open()
    panel.button("gpt-4o").click()
    panel.reply(panel.asked("models"), **reply)
    picker = panel.root.get_by_role("dialog", name="Model")
    assert said in picker.inner_text()
    panel.page.keyboard.type("my-own")
    panel.page.keyboard.press("Enter")
    assert panel.asked("set")["model"] == "my-own"


@pytest.mark.parametrize(
    ("typed", "chosen"), [("smol", "smollm2"), ("gpt-4o", "gpt-4o"), ("GPT-4", "gpt-4o-mini"), ("gpt-5", "gpt-5")]
)
def test_enter_takes_the_first_model_that_fits_or_the_name_as_typed(panel: PanelPage, typed: str, chosen: str) -> None:
    models = [{"name": "gpt-4o-mini", "provider": "", "label": "", "vision": None, "service": ""}, *MODELS]
    panel.open()
    panel.answers("models", models=models)
    panel.button("gpt-4o").click()
    panel.root.get_by_text("SmolLM2 135M").wait_for()
    panel.page.keyboard.type(typed)
    panel.page.keyboard.press("Enter")
    assert panel.asked("set")["model"] == chosen
    panel.page.keyboard.type("next")
    assert panel.box.input_value() == "next"  # the focus is back in the box


def of_service(service: str, *names: str) -> list[dict[str, Any]]:
    prefix = service.lower()
    return [
        {"name": f"{prefix}:{name}", "provider": "", "label": name, "vision": None, "service": service}
        for name in names
    ]


def test_the_models_of_services_stand_in_groups_until_something_is_typed(panel: PanelPage) -> None:
    many = of_service("OpenRouter", *(f"model-{number}" for number in range(60)))
    listed = [*MODELS, *of_service("Anthropic", "claude-sonnet-5", "claude-haiku-4-5"), *many]
    panel.open()
    panel.answers("models", models=listed, notes=["Groq: it refused the key"])
    panel.button("gpt-4o").click()
    picker = panel.root.get_by_role("dialog", name="Model")
    picker.get_by_text("Anthropic", exact=True).wait_for()
    assert picker.locator(".nbb-group").all_inner_texts() == ["Anthropic", "OpenRouter"]
    assert picker.locator(".nbb-choice").count() == 1 + 2 + 2 + 25
    said = picker.get_by_role("status").inner_text()
    assert said == "Groq: it refused the key. Type to find 35 more."
    panel.page.keyboard.type("claude")
    assert picker.locator(".nbb-group").count() == 0
    assert picker.locator(".nbb-choice").first.inner_text() == "claude-sonnet-5\nAnthropic"
    panel.page.keyboard.press("Enter")
    assert panel.asked("set")["model"] == "anthropic:claude-sonnet-5"


def test_enter_in_an_empty_picker_changes_nothing(panel: PanelPage) -> None:
    panel.open(settings=SETTINGS | {"model": ""})
    panel.answers("models", models=MODELS)
    panel.button("Default model").click()
    panel.page.keyboard.press("Enter")
    panel.button("Default model").click()
    panel.page.keyboard.press("Escape")
    panel.until("document.activeElement.matches('.nbb-frame textarea')")
    assert panel.requests("set") == []


def test_the_list_of_models_can_be_loaded_again(panel: PanelPage) -> None:
    panel.open()
    panel.answers("models", models=MODELS)
    panel.button("gpt-4o").click()
    panel.button("Load again").click()
    assert panel.asked("models", 1)["refresh"] is True


def test_settings_are_set_one_by_one(panel: PanelPage) -> None:
    panel.open(settings=SETTINGS | {"temperature": 0.5, "system": "Be brief.", "effort": "low"})
    panel.button("Settings").click()
    form = panel.root.get_by_role("dialog", name="Settings")
    assert form.get_by_label("System prompt").input_value() == "Be brief."
    changes = (
        ("System prompt", "Be kind.", {"system": "Be kind."}),
        ("Temperature", "", {"temperature": None}),
        ("Maximum tokens", "200", {"max_tokens": 200}),
    )
    for name, text, sent in changes:
        form.get_by_label(name).fill(text)
        form.get_by_label(name).blur()
        request = panel.requests("set")[-1]
        assert sent.items() <= request.items()
    effort = form.get_by_label("Effort")
    assert effort.locator("option").all_inner_texts() == ["not set", *EFFORTS]
    assert effort.input_value() == "low"
    for label, value in (("high", "high"), ("not set", "")):
        effort.select_option(label=label)
        assert panel.requests("set")[-1]["effort"] == value
    form.get_by_label("Enter sends").uncheck()
    assert panel.requests("set")[-1]["enter_sends"] is False
    form.get_by_label("Temperature").fill("7")
    form.get_by_label("Temperature").blur()
    assert len(panel.requests("set")) == 6


def version(panel: PanelPage, at: int, name: str) -> Any:
    return panel.root.locator("article").nth(at).get_by_role("button", name=name)


def test_versions_are_chosen_with_two_buttons_that_keep_the_focus(panel: PanelPage) -> None:
    panel.open(QUESTION | {"version": [2, 3]}, ANSWER)
    group = panel.root.get_by_role("group", name="Versions")
    assert group.get_by_text("2 of 3").is_visible()
    version(panel, 0, "Next version").click()
    request = panel.asked("version")
    assert (request["item"], request["number"]) == ("q1", 3)
    panel.items(["q3", "a3"], QUESTION | {"id": "q3", "version": [3, 3]}, ANSWER | {"id": "a3"})
    panel.reply(request)
    assert group.get_by_text("3 of 3").is_visible()
    assert version(panel, 0, "Next version").is_disabled()
    assert panel.run("return document.activeElement.title") == "Previous version"


def test_what_was_taken_back_is_folded_below_a_line_and_is_put_back(panel: PanelPage) -> None:
    text = "1 turn taken back when cell [3] ran again"
    line = item("r", "removal", who=text, can=["undo"], fold="x", time=None)
    gone = [QUESTION | {"id": "q2", "fold": "x", "can": ["copy"]}, ANSWER | {"id": "a2", "fold": "x", "can": ["copy"]}]
    panel.open(QUESTION, ANSWER, line, *gone, removal={"id": "x", "text": text})
    assert panel.root.locator("article:visible").count() == 3
    toggle = panel.button(text)
    toggle.click()
    panel.settle()
    assert panel.root.locator("article:visible").count() == 5
    assert toggle.get_attribute("aria-expanded") == "true"
    toggle.click()
    panel.settle()
    assert panel.root.locator("article:visible").count() == 3
    panel.button("Put back").click()
    assert panel.asked("undo")["removal"] == "x"


def test_the_last_removal_is_offered_for_undo_until_it_no_longer_applies(panel: PanelPage) -> None:
    panel.open(QUESTION, ANSWER)
    panel.items([])
    panel.settings(removal=None)
    state: dict[str, Any] = {"chat": "chat", "title": "", "settings": SETTINGS}
    panel.say("settings", **state, removal={"id": "d", "text": "1 turn deleted"})
    panel.settle()
    assert "1 turn deleted." in panel.notes()
    panel.button("Undo").click()
    assert panel.asked("undo")["removal"] == "d"
    panel.say("settings", **state, removal={"id": "e", "text": "2 turns deleted"})
    panel.settle()
    assert "2 turns deleted." in panel.notes()
    panel.say("settings", **state, removal=None)
    panel.settle()
    assert panel.notes() == ""
