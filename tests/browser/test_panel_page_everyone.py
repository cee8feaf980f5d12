"""Accessibility of the panel's page: keyboard, screen readers, small widths, both directions, light and dark."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe import violations
from panel_page import ANSWER, CODE, QUESTION, SETTINGS, P, PanelPage, item
from playwright.sync_api import Page


@pytest.fixture
def panel(page: Page) -> Iterator[PanelPage]:
    with PanelPage(page) as panel:
        yield panel


THUMBNAIL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
IMAGE = {
    "id": "i",
    "name": "plot.png",
    "type": "image/png",
    "size": 5000,
    "width": 64,
    "height": 48,
    "thumbnail": THUMBNAIL,
    "note": "",
}
LINES = "<p>" + "\n".join(f"line {number}" for number in range(30)) + "</p>"
FIXES = [{"label": "Did you mean gpt-4o?", "model": "gpt-4o"}, {"label": "Enter a key", "model": ""}]
SPOKEN = '<p><audio controls data-picture="k" aria-label="Spoken answer"></audio></p>'
QUEUE = {
    "waits": "error",
    "prompts": [
        {"id": "1", "text": "Here is {{ df }}", "images": [], "error": "df is not defined"},
        {"id": "2", "text": "What is this? " * 20, "images": [IMAGE], "error": ""},
    ],
}
STATES = {
    "empty": ((), {}),
    "streaming": ((QUESTION, item("a1", "assistant", P, status="streaming", can=[], reasoning=[P])), {}),
    "waiting": ((QUESTION, item("a1", status="waiting", can=[], progress="waiting 2 s, the server is busy")), {}),
    "spoken": ((QUESTION, item("a1", "assistant", P, SPOKEN)), {}),
    "long": ((item("q1", "user", LINES), ANSWER), {}),
    "failed": ((QUESTION, item("a1", "assistant", P, status="failed", error="It fell over.", fixes=FIXES)), {}),
    "stopped": ((QUESTION, item("a1", "assistant", P, status="stopped")), {"queue": QUEUE}),
    "incomplete": ((QUESTION, item("a1", "assistant", P, status="incomplete", error="Incomplete: cut off.")), {}),
    "images": (
        (QUESTION, ANSWER),
        {"images": [IMAGE], "settings": SETTINGS | {"vision": False, "vision_model": "eyes"}},
    ),
}


@pytest.mark.parametrize("width", [720, 280])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing(panel: PanelPage, state: str, theme: str, width: int) -> None:
    items, fields = STATES[state]
    panel.open(*items, theme=theme, width=width, **fields)
    assert violations(panel.page, ".nbb-panel") == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["Settings", "gpt-4o", "More", "Attach an image", "chat"])
def test_axe_finds_nothing_in_menus_and_dialogs(panel: PanelPage, name: str, theme: str) -> None:
    panel.open(QUESTION, ANSWER, theme=theme)
    model = {"name": "m", "provider": "p", "label": "M", "vision": True, "service": ""}
    grouped = [model | {"name": f"{name.lower()}:m", "vision": None, "service": name} for name in ("Groq", "Mistral")]
    panel.answers("models", models=[model, *grouped], notes=["Gemini: it refused the key"])
    chat = {
        "name": "chat 2",
        "title": "Why?",
        "length": "1 turn",
        "time": 1_795_000_000_000,
        "found": ["a ", "b", " c"],
    }
    panel.answers("chats", chats=[chat, chat | {"name": "chat", "title": "chat", "time": None, "found": None}], more=0)
    panel.answers("figures", figures=[IMAGE | {"key": "k", "cell": "In [3]"}])
    panel.button(name).click()
    panel.settle()
    assert violations(panel.page, ".nbb-panel") == []


NAME = "(document.activeElement.ariaLabel || document.activeElement.innerText.trim().split('\\n')[0])"


def test_every_control_is_reached_by_tab_in_order(panel: PanelPage) -> None:
    """The messages are one stop, however many there are; a table or code in view that is too wide is another."""
    panel.open(QUESTION, ANSWER, item("q2", "user", P), item("a2", "assistant", P, CODE), draft="x")
    reached = []
    for _ in range(9):
        panel.page.keyboard.press("Tab")
        reached.append(panel.run(f"return {NAME}"))
    stops = ["chat", "New chat", "More", "Answer", "Message", "Attach an image", "gpt-4o", "Settings", "Send"]
    assert reached == stops


def test_arrow_keys_move_between_messages_and_between_their_controls(panel: PanelPage) -> None:
    panel.open(QUESTION, item("a1", "assistant", P, CODE), item("q2", "user", P), item("a2", "assistant", P))
    for _ in range(4):
        panel.page.keyboard.press("Tab")
    keys = (
        ("ArrowUp", "Question"),
        ("ArrowUp", "Answer"),
        *(("ArrowRight", name) for name in ("Copy", "Retry", "Delete", "Copy", "Copy")),
        ("ArrowLeft", "Copy"),
        ("ArrowLeft", "Delete"),
        ("ArrowDown", "Question"),
        ("ArrowLeft", "Delete"),
        ("Home", "Question"),
        ("ArrowUp", "Question"),
        ("End", "Answer"),
    )
    for key, name in keys:
        panel.page.keyboard.press(key)
        assert panel.run(f"return {NAME}") == name, key
    panel.page.keyboard.press("Shift+Tab")
    panel.page.keyboard.press("Tab")
    assert panel.run("return document.activeElement.matches('article:last-child')")
    panel.page.keyboard.press("ArrowRight")
    panel.page.keyboard.press("Enter")
    assert panel.asked("text")["item"] == "a2"


def test_arrow_keys_scroll_a_message_that_is_longer_than_the_view(panel: PanelPage) -> None:
    panel.open(QUESTION, item("a1", "assistant", *[P] * 40))
    panel.root.locator("article").last.focus()
    panel.run("panel.querySelector('.nbb-scroller').scrollTop = 300")
    panel.settle()
    for key, way in (("ArrowDown", ">"), ("ArrowUp", "<")):
        top = panel.run("return panel.querySelector('.nbb-scroller').scrollTop")
        panel.page.keyboard.press(key)
        panel.until(f"document.querySelector('.nbb-scroller').scrollTop {way} given", top)
        assert panel.run(f"return {NAME}") == "Answer"


def test_the_focus_is_visible(panel: PanelPage) -> None:
    panel.open(QUESTION)
    panel.page.keyboard.press("Tab")
    assert panel.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_arrow_keys_move_in_a_menu_and_escape_closes_it(panel: PanelPage) -> None:
    panel.open(QUESTION)
    panel.button("More").focus()
    panel.page.keyboard.press("Enter")
    focused = "document.activeElement.textContent === given"
    panel.until(focused, "Export as Markdown")
    panel.page.keyboard.press("ArrowDown")
    panel.until(focused, "Export as notebook")
    panel.page.keyboard.press("ArrowUp")
    panel.page.keyboard.press("ArrowUp")
    panel.until(focused, "Close the panel, keep the transcript")
    panel.page.keyboard.press("Escape")
    panel.until(focused, "More")
    assert not panel.root.get_by_role("menu", name="More").is_visible()


def test_actions_appear_with_the_focus(panel: PanelPage) -> None:
    panel.open(QUESTION, ANSWER)
    acts = panel.root.locator(".nbb-question .nbb-acts")
    assert acts.evaluate("node => getComputedStyle(node).opacity") == "0"
    acts.get_by_role("button", name="Edit").focus()
    assert acts.evaluate("node => getComputedStyle(node).opacity") == "1"


def test_whole_sentences_are_read_out(panel: PanelPage) -> None:
    panel.open(QUESTION, item("a1", "assistant", status="streaming", can=[]))
    live = panel.root.locator("[aria-live=polite]")
    panel.run("""window.said = []; new MutationObserver(records => {
        for (const {addedNodes} of records) for (const node of addedNodes) said.push(node.textContent);
    }).observe(panel.querySelector('[aria-live]'), {childList: true})""")
    text = "<p>The first one. The second"
    panel.say("text", item="a1", part="content", **{"from": 0}, keep=0, blocks=[text + "</p>"])
    for word in (" goes", " on", " and"):
        panel.say("text", item="a1", part="content", **{"from": 0}, keep=len(text), blocks=[word + "</p>"])
        text += word
        panel.settle()
    panel.say("text", item="a1", part="content", **{"from": 0}, keep=len(text), blocks=[" ends.</p>"])
    panel.say("meta", item="a1", meta={"status": "done"})
    panel.settle()
    said = panel.run("return said")
    assert "".join(" ".join(said).split()) == "Thefirstone.Thesecondgoesonandends.Theanswerisdone."
    assert len(said) <= 3
    assert live.count() == 1


@pytest.mark.parametrize("status", ["done", "incomplete", "failed"])
def test_the_end_of_a_fast_answer_is_read_out_once_it_is_there(panel: PanelPage, status: str) -> None:
    panel.open(QUESTION, item("a1", "assistant", P))
    panel.box.fill("Again?")
    panel.box.press("Enter")
    panel.reply(panel.asked("send"))
    live = panel.root.locator("[aria-live=polite]")
    assert live.text_content() == ""
    error = "" if status == "done" else "Cut off."
    answer = item("a2", "assistant", "<p>Yes.</p>", status=status, error=error)
    panel.items(["q1", "a1", "q2", "a2"], item("q2", "user", "<p>Again?</p>"), answer)
    live.locator("p").nth(1).wait_for(state="attached")
    assert live.locator("p").all_text_contents() == ["Yes.", error or "The answer is done."]


def test_only_one_of_two_views_speaks(panel: PanelPage) -> None:
    panel.open(QUESTION)
    panel.run("kernel.view()")
    panel.run("kernel.fire('comm:close')")
    panel.settle()
    assert panel.page.locator("[aria-live=polite]:not(:empty)").count() == 1


@pytest.mark.parametrize("width", [280, 400])
def test_nothing_overflows_a_narrow_panel(panel: PanelPage, width: int) -> None:
    panel.open(QUESTION, ANSWER, width=width, images=[IMAGE], draft="x")
    out = panel.run("""
        const {right} = panel.getBoundingClientRect();
        return [...panel.querySelectorAll('button, textarea, .nbb-bubble, .nbb-code, .nbb-table, .nbb-tile')]
            .filter(node => node.checkVisibility() && node.getBoundingClientRect().right > right + 1)
            .map(node => node.className);""")
    assert out == []
    assert panel.run("const s = panel.querySelector('.nbb-scroller'); return s.scrollWidth <= s.clientWidth")


def test_text_from_right_to_left(panel: PanelPage) -> None:
    panel.open(item("q1", "user", "<p>لماذا السماء زرقاء؟</p>"), ANSWER, draft="مرحبا")
    direction = "node => getComputedStyle(node).direction"
    assert panel.root.locator(".nbb-question .nbb-block").evaluate(direction) == "rtl"
    assert panel.root.locator(".nbb-answer .nbb-block").nth(1).evaluate(direction) == "ltr"
    assert panel.box.evaluate(direction) == "rtl"


def test_reduced_motion_stops_the_animation(panel: PanelPage) -> None:
    panel.page.emulate_media(reduced_motion="reduce")
    panel.open(QUESTION, item("a1", status="waiting", can=[]))
    assert panel.root.locator(".nbb-pulse").evaluate("node => getComputedStyle(node).animationName") == "none"
    panel.page.emulate_media(reduced_motion="no-preference")


@pytest.mark.parametrize(("scheme", "back"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(27, 27, 29)")])
def test_without_a_theme_it_follows_the_system(panel: PanelPage, scheme: str, back: str) -> None:
    panel.page.emulate_media(color_scheme=scheme)
    panel.open(QUESTION, theme="none")
    assert panel.root.evaluate("node => getComputedStyle(node).backgroundColor") == back
    panel.page.emulate_media(color_scheme="light")


def test_the_panel_sends_no_network_requests(panel: PanelPage) -> None:
    asked: list[str] = []
    note = lambda request: asked.append(request.url)  # noqa: E731
    panel.page.on("request", note)
    panel.open(QUESTION, ANSWER, images=[IMAGE])
    panel.page.remove_listener("request", note)
    assert [url for url in asked if not url.startswith(("blob:", "data:", "about:"))] == []


FOCUSED = "() => document.activeElement.getAttribute('aria-label')"


@pytest.mark.parametrize("gone", [["q1"], []])
def test_the_focus_moves_to_the_box_if_its_element_is_removed(panel: PanelPage, gone: list[str]) -> None:
    panel.open(QUESTION, ANSWER)
    panel.root.locator("article").nth(1).get_by_role("button", name="Retry").focus()
    panel.items(gone)
    panel.settle()
    assert panel.page.evaluate(FOCUSED) == "Message"


def test_the_focus_moves_to_the_box_after_the_send_button(panel: PanelPage) -> None:
    panel.open(QUESTION, ANSWER)
    panel.box.fill("Why?")
    panel.button("Send").press("Enter")
    panel.reply(panel.asked("send"))
    assert panel.page.evaluate(FOCUSED) == "Message"
