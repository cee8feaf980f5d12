"""An answer that grows in the panel's page: nothing around it moves, and the page follows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from panel_page import ANSWER, QUESTION, P, PanelPage, item
from playwright.sync_api import Page

AT_END = "(s => s.scrollHeight - s.clientHeight - s.scrollTop < 2)(document.querySelector('.nbb-scroller'))"


@pytest.fixture
def panel(page: Page) -> Iterator[PanelPage]:
    with PanelPage(page) as panel:
        yield panel


def growing(*content: str, **fields: Any) -> dict[str, Any]:
    return item("a1", "assistant", *content, **{"status": "streaming", "can": [], "time": None, **fields})


class TestTheComposerStaysWhereItIs:
    @pytest.mark.parametrize("width", [720, 376])
    def test_from_an_empty_panel_to_a_long_answer(self, panel: PanelPage, width: int) -> None:
        panel.open(width=width)
        boxes = [panel.box.bounding_box()]
        panel.items(["q1", "a1"], QUESTION, growing(status="waiting"))
        for at in range(12):
            panel.say("text", item="a1", part="content", **{"from": at}, keep=0, blocks=[P])
            panel.settle()
            boxes.append(panel.box.bounding_box())
        panel.say("meta", item="a1", meta={"status": "done", "who": "gpt-4o · 12 tokens", "can": ["retry"]})
        panel.settle()
        assert all(box == boxes[0] for box in [*boxes, panel.box.bounding_box()])

    def test_a_height_set_by_hand_stays(self, panel: PanelPage) -> None:
        panel.open(QUESTION)
        panel.run("panel.style.height = '700px'")
        panel.items(["q1", "a1"], growing(*[P] * 40))
        panel.settle()
        box = panel.root.bounding_box()
        assert box
        assert box["height"] == 700


class TestThePageFollowsANewAnswer:
    def test_after_retry(self, panel: PanelPage) -> None:
        panel.open(QUESTION, ANSWER, *[item(f"n{at}", "assistant", P, P, P) for at in range(9)])
        self.scroll_up(panel)
        panel.root.locator("article").nth(1).get_by_role("button", name="Retry").click()
        self.answer(panel, "retry")

    def test_after_save_and_ask(self, panel: PanelPage) -> None:
        panel.open(QUESTION, ANSWER, *[item(f"n{at}", "assistant", P, P, P) for at in range(9)])
        panel.answers("text", text="Why?")
        self.scroll_up(panel)
        panel.root.locator(".nbb-question").get_by_role("button", name="Edit").click()
        panel.button("Save and ask").click()
        self.answer(panel, "edit")

    def scroll_up(self, panel: PanelPage) -> None:
        panel.until(AT_END)
        panel.root.locator(".nbb-scroller").hover()
        panel.page.mouse.wheel(0, -20_000)
        panel.button("Jump to the end").wait_for()

    def answer(self, panel: PanelPage, request: str) -> None:
        panel.items(["q1", "a1"], growing(*[P] * 30))
        panel.reply(panel.asked(request))
        panel.until(AT_END)
        panel.say("text", item="a1", part="content", **{"from": 30}, keep=0, blocks=[P] * 5)
        panel.until(f"{AT_END} && document.querySelectorAll('.nbb-answer .nbb-block').length === 35")
        assert not panel.button("Jump to the end").is_visible()
