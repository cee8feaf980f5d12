"""An answer that grows in the panel's page: nothing around it moves, and the page follows it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from html_blocks import html_blocks
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


class TestNewTextAppearsGradually:
    """An update appears until the next one is expected: after as long as between the last two, and a quarter."""

    @pytest.fixture
    def begun(self, panel: PanelPage) -> Iterator[PanelPage]:
        """A panel with an answer that began 400 ms ago. The time stands still until the test calls `later`."""
        panel.open(QUESTION, growing("<p>It</p>"))
        panel.run("kernel.step = 0; kernel.now += 5000;")
        self.send(panel, "<p>It is</p>")
        panel.run("kernel.now += 400;")
        yield panel
        panel.page.emulate_media(reduced_motion="no-preference")

    def later(self, panel: PanelPage, milliseconds: int) -> None:
        panel.run("kernel.now += given", milliseconds)
        panel.settle()

    def send(self, panel: PanelPage, *blocks: str, at: int = 0) -> None:
        panel.say("text", item="a1", part="content", **{"from": at}, keep=0, blocks=list(blocks))
        panel.settle()

    def shown(self, panel: PanelPage) -> str:
        return panel.root.locator(".nbb-answer .nbb-text").last.inner_text()

    def test_over_the_time_until_the_next_update(self, begun: PanelPage) -> None:
        self.send(begun, f"<p>It is <em>{'x' * 50}</em>{'y' * 49}</p>")
        lengths = [len(self.shown(begun))]
        for _ in range(5):
            self.later(begun, 100)
            lengths.append(len(self.shown(begun)))
        assert lengths == [5, 25, 45, 65, 85, 105]

    def test_what_was_not_shown_before_the_next_update_appears_with_it(self, begun: PanelPage) -> None:
        self.send(begun, f"<p>It is{'x' * 100}</p>")
        self.later(begun, 400)
        self.send(begun, f"<p>It is{'x' * 100}</p>", f"<p>{'y' * 80}</p>")
        assert self.shown(begun) == "It is" + "x" * 80
        self.later(begun, 250)
        assert self.shown(begun).replace("\n", "") == "It is" + "x" * 100 + "y" * 30
        self.later(begun, 250)
        assert self.shown(begun).replace("\n", "") == "It is" + "x" * 100 + "y" * 80

    def test_a_row_and_a_formula_appear_whole_and_in_order(self, begun: PanelPage) -> None:
        row = "<tr><td>one</td><td>two</td></tr>"
        table = f'<div class="nbb-table"><table><tbody>{row}{row}</tbody></table></div>'
        self.send(begun, "<p>It is here:</p>", table, "<p>so <math><mn>2</mn></math> too</p>")
        seen = [self.shown(begun).split()]
        for _ in range(10):
            self.later(begun, 50)
            seen.append(self.shown(begun).split())
        whole = ["It", "is", "here:", "one", "two", "one", "two", "so", "2", "too"]
        assert seen[-1] == whole
        assert all(words[:-1] == whole[: len(words) - 1] for words in seen)
        assert any(words == whole[:5] for words in seen)
        assert not any(words == whole[:4] for words in seen)

    def test_a_character_of_several_units_is_not_cut(self, begun: PanelPage) -> None:
        astronaut = "👩‍🚀e\u0301" * 20
        self.send(begun, f"<p>It is{astronaut}</p>")
        for _ in range(10):
            self.later(begun, 47)
            assert re.fullmatch("It is(👩‍🚀e\u0301)*(👩‍🚀)?(👩‍)?", self.shown(begun))

    @pytest.mark.parametrize("how", ["ended", "stopped", "still", "paused"])
    def test_at_once(self, begun: PanelPage, how: str) -> None:
        if how == "still":
            begun.page.emulate_media(reduced_motion="reduce")
        if how == "paused":
            begun.run("kernel.now += 2000")
        self.send(begun, "<p>It is blue.</p>")
        if how in ("ended", "stopped"):
            assert self.shown(begun) == "It is"
            begun.say("meta", item="a1", meta={"status": {"ended": "done"}.get(how, how)})
            begun.settle()
        assert self.shown(begun) == "It is blue."

    def test_the_first_text_appears_at_once(self, panel: PanelPage) -> None:
        panel.open(QUESTION, growing(status="waiting"))
        panel.run("kernel.step = 0; kernel.now += 400;")
        panel.say("meta", item="a1", meta={"status": "streaming"})
        panel.settle()
        self.send(panel, "<p>It is blue.</p>")
        assert self.shown(panel) == "It is blue."

    def test_a_selection_stays(self, begun: PanelPage) -> None:
        begun.run("getSelection().selectAllChildren(panel.querySelector('.nbb-answer p'))")
        begun.run(
            "const s = getSelection(); s.setBaseAndExtent(s.anchorNode.firstChild, 1, s.anchorNode.firstChild, 5)"
        )
        for end in range(1, 9):
            self.send(begun, f"<p>It is{' blue' * end}</p>")
            self.later(begun, 90)
        assert begun.run("return getSelection().toString()") == "t is"

    def test_code_is_copied_and_read_out_with_what_is_not_shown_yet(self, begun: PanelPage) -> None:
        begun.run("document.addEventListener('copy', () => { window.copied = document.activeElement.value; })")
        begun.run("kernel.now += 600")  # the screen reader gets a text at most every two seconds
        figure = "<figure class=nbb-code><figcaption>python</figcaption><pre><code>1 + 1\n</code></pre></figure>"
        self.send(begun, "<p>It is blue. Yes.</p>", figure)
        assert self.shown(begun).split()[:2] == ["It", "is"]
        assert "blue" not in self.shown(begun)
        self.later(begun, 800)
        assert "1 + 1" not in self.shown(begun)
        begun.root.locator(".nbb-code").get_by_role("button", name="Copy").click()
        begun.until("window.copied === '1 + 1'")
        begun.run("kernel.now += 300")
        self.send(begun, "<p>It is blue. Yes.</p>", figure, "<p>Also this. And</p>")
        assert "Also" not in self.shown(begun)
        assert "It is blue. Yes. (code) Also this." in begun.root.locator("> .nbb-hidden").inner_text()

    def test_the_caret_is_after_what_is_shown_while_the_answer_grows(self, begun: PanelPage) -> None:
        caret = begun.root.locator(".nbb-caret")
        assert caret.inner_text() == "It is"
        self.send(begun, "<p>It is</p>", "<ul><li>one</li><li>two <b>three</b></li></ul>")
        at = [caret.inner_text()]
        for _ in range(5):
            self.later(begun, 100)
            at.append(caret.inner_text())
        assert [at[0], at[-1]] == ["It is", "three"]
        assert begun.run("return getComputedStyle(panel.querySelector('.nbb-caret'), '::after').position") == "absolute"
        begun.say("meta", item="a1", meta={"status": "done"})
        begun.settle()
        assert caret.count() == 0

    def test_every_answer_ends_as_if_it_had_come_at_once(self, panel: PanelPage) -> None:
        steps = [html_blocks(ANSWERED[:end]) for end in range(3, len(ANSWERED), 7)] + [html_blocks(ANSWERED)]
        panel.open(QUESTION, growing(*steps[0]))
        panel.run("""
            kernel.step = 13;
            for (const [at, blocks] of given.entries()) {
                kernel.say({type: 'text', item: 'a1', part: 'content', from: 0, keep: 0, blocks});
                for (let frame = 0; frame < 1 + at % 5; frame++) await new Promise(requestAnimationFrame);
            }
            kernel.step = 1000;
            await new Promise(requestAnimationFrame);
            kernel.view();""", steps)  # fmt: skip
        panel.settle()
        grown, fresh = panel.run("""
            const texts = [...document.querySelectorAll('.nbb-answer .nbb-bubble .nbb-text')];
            const caret = / class="(nbb-caret)?"| nbb-caret(?=")| style=""/g;
            return texts.map(text => {
                const parsed = document.createElement('div');
                parsed.innerHTML = text.innerHTML.replace(caret, '');
                for (const node of parsed.querySelectorAll('*'))
                    for (const {name, value} of [...node.attributes].sort((a, b) => (a.name < b.name ? -1 : 1)))
                        node.removeAttribute(name), node.setAttribute(name, value);
                return parsed.innerHTML;
            });""")
        assert grown == fresh
        assert "The end." in grown


ANSWERED = """# Why is the sky **blue**?

Short waves are *scattered* more, see `scatter` and [this](https://example.org/a): about $1/\\lambda^4$ of 😀 them.

- one
- two **bold
  text** and `code`
  1. nested

| colour | nm |
| --- | ---: |
| blue | 450 |
| *red* | 650 |

```python
def share(wave: float) -> float:
    "formula"
    return wave**-4  # blue wins
```

$$x^2 + y^2$$

> A quote with ![an image](https://example.org/sky.png).

The end."""


class TestSilence:
    def line(self, panel: PanelPage) -> str:
        return panel.root.locator(".nbb-answer .nbb-state").inner_text() if self.is_shown(panel) else ""

    def is_shown(self, panel: PanelPage) -> bool:
        return panel.root.locator(".nbb-answer .nbb-state").is_visible()

    def after(self, panel: PanelPage, seconds: float) -> str:
        panel.run("kernel.pass(given)", seconds)
        return self.line(panel)

    def test_before_the_first_text(self, panel: PanelPage) -> None:
        panel.open(QUESTION, growing(status="waiting"))
        assert self.line(panel) == "Waiting for the answer"
        assert self.after(panel, 4.5) == "Waiting for the answer"
        assert self.after(panel, 0.6) == "Still waiting, 5 s"
        assert self.after(panel, 7) == "Still waiting, 12 s"
        panel.say("meta", item="a1", meta={"progress": "Loading the model …"})
        panel.settle()
        assert self.line(panel) == "Loading the model …"
        assert self.after(panel, 6.1) == "Loading the model … still waiting, 6 s"

    def test_in_the_middle_of_an_answer(self, panel: PanelPage) -> None:
        panel.open(QUESTION, growing(P))
        assert self.line(panel) == ""
        assert self.after(panel, 8.2) == "Still waiting, 8 s"
        panel.say("meta", item="a1", meta={"progress": "searching the web …"})
        panel.settle()
        assert self.line(panel) == "searching the web …"
        panel.say("meta", item="a1", meta={"progress": ""})
        panel.say("text", item="a1", part="content", **{"from": 1}, keep=0, blocks=[P])
        panel.settle()
        assert self.line(panel) == ""
        assert panel.run("return kernel.ticks") == 1
        panel.say("meta", item="a1", meta={"status": "done"})
        panel.settle()
        assert self.after(panel, 20) == ""
        assert panel.run("return kernel.ticks") == 0

    def test_a_reloaded_page_goes_on_counting(self, panel: PanelPage) -> None:
        panel.open(QUESTION, growing(P, silent=40))
        assert self.after(panel, 1.1) == "Still waiting, 41 s"

    def test_a_request_that_is_sent_again_is_counted_down(self, panel: PanelPage) -> None:
        panel.open(QUESTION, growing(status="waiting"))
        panel.say("meta", item="a1", meta={"progress": "The server answered 503", "wait": 3.5})
        panel.settle()
        assert self.line(panel) == "The server answered 503; asking again in 4 s"
        assert self.after(panel, 2) == "The server answered 503; asking again in 2 s"
        assert self.after(panel, 2) == "The server answered 503; asking again …"
        assert self.after(panel, 5.1) == "The server answered 503; asking again … still waiting, 5 s"
        panel.say("meta", item="a1", meta={"progress": "", "wait": None, "status": "streaming", "content": [P]})
        panel.settle()
        assert self.line(panel) == ""
