"""Reading in the panel's page: streams do not flicker, blocks are in order, images are loaded only when wanted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from html_blocks import html_blocks
from panel_page import ANSWER, CODE, PNG, QUESTION, REMOTE, P, PanelPage, item
from playwright.sync_api import Page, Route


@pytest.fixture
def panel(page: Page) -> Iterator[PanelPage]:
    with PanelPage(page) as panel:
        yield panel


def streaming(*content: str, **fields: object) -> dict[str, object]:
    return item("a1", "assistant", *content, status="streaming", can=[], time=None) | fields


def test_a_selection_in_the_open_block_survives_its_growth(panel: PanelPage) -> None:
    panel.open(QUESTION, streaming("<p>First</p>", "<p>Some <strong>words</strong> of</p>"))
    panel.run("""
        window.kept = panel.querySelectorAll('.nbb-answer p');
        const text = kept[1].lastChild;
        getSelection().setBaseAndExtent(kept[1].firstChild, 1, text, 3);""")
    html = "<p>Some <strong>words</strong> of"
    panel.say("text", item="a1", part="content", **{"from": 1}, keep=len(html), blocks=[" light</p>", "<p>Third</p>"])
    panel.settle()
    answer = panel.root.locator(".nbb-answer p")
    assert answer.all_inner_texts() == ["First", "Some words of light", "Third"]
    assert panel.run("return getSelection().toString()") == "ome words of"
    assert panel.run("return kept.length === 2 && [...kept].every(node => node.isConnected)")


def test_finished_blocks_are_not_touched(panel: PanelPage) -> None:
    panel.open(QUESTION, streaming(P, CODE, "<p>open</p>"))
    panel.run("""
        window.changes = [];
        const watch = new MutationObserver(records => changes.push(...records.map(record => record.target)));
        for (const block of [...panel.querySelectorAll('.nbb-answer .nbb-block')].slice(0, 2))
            watch.observe(block, {childList: true, characterData: true, attributes: true, subtree: true});""")
    panel.say("text", item="a1", part="content", **{"from": 2}, keep=7, blocks=[" end</p>", "<p>more</p>"])
    panel.settle()
    assert panel.root.locator(".nbb-answer .nbb-block").count() == 4
    assert panel.run("return changes.length") == 0


def test_blocks_after_the_new_ones_are_removed(panel: PanelPage) -> None:
    panel.open(QUESTION, streaming("<p>a</p>", "<p>b</p>", "<p>c</p>"))
    panel.say("text", item="a1", part="content", **{"from": 1}, keep=0, blocks=["<h3>B</h3>"])
    panel.settle()
    assert panel.root.locator(".nbb-answer .nbb-text").last.inner_text().split() == ["a", "B"]


def test_it_scrolls_with_the_end_unless_the_user_has_scrolled_up(panel: PanelPage) -> None:
    panel.open(QUESTION, streaming(*[P] * 60))
    rest = "const s = panel.querySelector('.nbb-scroller'); return s.scrollHeight - s.clientHeight - s.scrollTop"
    more = {"item": "a1", "part": "content", "keep": 0}
    panel.say("text", **more, **{"from": 60}, blocks=[P] * 5)
    panel.until("(s => s.scrollHeight - s.clientHeight - s.scrollTop < 2)(document.querySelector('.nbb-scroller'))")
    panel.root.locator(".nbb-scroller").hover()
    panel.page.mouse.wheel(0, -400)
    panel.button("Jump to the end").wait_for()
    before = panel.run("return panel.querySelector('.nbb-scroller').scrollTop")
    panel.say("text", **more, **{"from": 65}, blocks=[P] * 5)
    panel.settle()
    assert panel.run(rest) > 100
    assert abs(panel.run("return panel.querySelector('.nbb-scroller').scrollTop") - before) < 2
    panel.button("Jump to the end").click()
    panel.settle()
    assert panel.run(rest) < 2
    assert panel.button("Jump to the end").count() == 0 or not panel.button("Jump to the end").is_visible()


def test_a_missed_broadcast_makes_the_page_request_the_whole_state(panel: PanelPage) -> None:
    panel.open(QUESTION, streaming("<p>a</p>"))
    panel.run("kernel.skip()")
    panel.say("text", item="a1", part="content", **{"from": 0}, keep=4, blocks=[" lost</p>"])
    panel.asked("hello", 1)
    panel.run("kernel.state(given)", panel.state(QUESTION, streaming("<p>a whole</p>")))
    panel.settle()
    assert panel.root.locator(".nbb-answer p").inner_text() == "a whole"


def test_a_state_for_another_page_is_ignored(panel: PanelPage) -> None:
    panel.open(QUESTION)
    panel.run("kernel.say({...given, type: 'state', client: 'another'})", panel.state() | {"chat": "other"})
    panel.settle()
    assert panel.button("chat").is_visible()
    assert len(panel.requests("hello")) == 1


def test_reasoning_is_open_until_the_answer_begins(panel: PanelPage) -> None:
    panel.open(QUESTION, streaming(reasoning=["<p>Let me think.</p>"]))
    folded = panel.root.locator("details.nbb-reasoning").last
    assert folded.get_attribute("open") is not None
    panel.say("text", item="a1", part="content", **{"from": 0}, keep=0, blocks=["<p>So.</p>"])
    panel.settle()
    assert folded.get_attribute("open") is None
    folded.locator("summary").click()
    panel.say("text", item="a1", part="content", **{"from": 0}, keep=3, blocks=["So it is.</p>"])
    panel.settle()
    assert folded.get_attribute("open") is not None


def test_the_status_line_and_the_time(panel: PanelPage) -> None:
    panel.open(QUESTION, ANSWER | {"source": "In [3]"})
    foot = panel.root.locator(".nbb-answer .nbb-foot")
    assert "gpt-4o · 214 tokens · 3.4 s" in foot.inner_text()
    assert "asked in In [3]" in foot.inner_text()
    assert panel.root.locator("time").first.get_attribute("datetime") == "2026-11-18T11:06:40.000Z"


def test_code_is_copied_as_it_is_written(panel: PanelPage) -> None:
    panel.open(QUESTION, ANSWER)
    panel.run("document.addEventListener('copy', () => { window.copied = document.activeElement.value; })")
    panel.root.locator(".nbb-code").get_by_role("button", name="Copy").click()
    panel.root.locator(".nbb-code").get_by_role("button", name="Copied").wait_for()
    copied = panel.run("return copied")
    assert copied.startswith('import numpy as np\n\ndef scattering(wavelength: float):\n    """How')
    assert copied.endswith("# blue wins")


def test_without_access_to_the_notebook_code_can_only_be_copied(panel: PanelPage) -> None:
    panel.open(QUESTION, ANSWER)
    assert panel.button("Insert code").count() == 0


@pytest.mark.parametrize(("language", "buttons"), [("bash", 1), ("pycon", 1), ("", 2), ("Python3", 2), ("py", 2)])
def test_only_code_that_the_kernel_runs_can_be_inserted(panel: PanelPage, language: str, buttons: int) -> None:
    panel.manager = "{context: {model: {sharedModel: {cells: []}}}}"
    panel.open(QUESTION, item("a1", "assistant", CODE.replace("python", language)))
    assert panel.root.locator(".nbb-code button").count() == buttons


TYPESETTER = """{rendermime: {latexTypesetter: {typeset: async host => {
    if (getComputedStyle(host).visibility !== 'hidden' || !host.closest('.nbb-panel')) throw new Error('not measured');
    for (const span of host.children) {
        (window.typeset ??= []).push(span.textContent);
        span.innerHTML = `<mjx-container>${span.textContent.includes('foo') ? '\\\\foo' : 'E=mc'}</mjx-container>`;
    }
}}}}"""


class TestFormulas:
    """The page shows the kernel's MathML, or what the front end's MathJax makes of its LaTeX."""

    BLOCKS = html_blocks("$$E = mc^2$$\n\nHere $E = mc^2$, \\(x\\) and $\\foo{x}$")

    def test_without_mathjax_they_have_a_font_for_formulas(self, panel: PanelPage) -> None:
        panel.open(QUESTION, item("a1", "assistant", *self.BLOCKS))
        assert panel.root.locator("math").count() == 3
        assert panel.run("return getComputedStyle(panel.querySelector('math')).fontFamily").endswith('Gyre", math')
        assert panel.root.locator("code.nbb-tex").inner_text() == "$\\foo{x}$"

    def test_mathjax_gets_each_once_and_what_it_does_not_know_stays(self, panel: PanelPage) -> None:
        panel.manager = TYPESETTER
        panel.open(QUESTION, streaming(*self.BLOCKS))
        more = self.BLOCKS[1].replace("</p>", " and more</p>")
        panel.say("text", item="a1", part="content", **{"from": 1}, keep=0, blocks=[more])
        panel.settle()
        assert panel.run("return typeset") == ["$$E = mc^2$$", "\\(E = mc^2\\)", "\\(x\\)", "\\(\\foo{x}\\)"]
        assert panel.root.locator("mjx-container").all_inner_texts() == ["E=mc"] * 3
        assert panel.root.locator("code.nbb-tex").inner_text() == "$\\foo{x}$"
        assert panel.root.locator("math, .nbb-measure").count() == 0

    def test_mathjax_may_fail(self, panel: PanelPage) -> None:
        panel.manager = "{rendermime: {latexTypesetter: {typeset: () => { throw new Error('no MathJax'); }}}}"
        panel.open(QUESTION, streaming(*self.BLOCKS))
        assert panel.root.locator("math").count() == 3
        assert panel.root.locator(".nbb-measure").count() == 0


def test_a_picture_is_requested_once_and_its_url_is_revoked(panel: PanelPage) -> None:
    picture = '<p><img data-picture="k1" alt="a plot"></p>'
    panel.open(QUESTION, item("a1", "assistant", picture, picture))
    request = panel.asked("picture")
    assert request["key"] == "k1"
    panel.run(
        """const about = {client: kernel.client, id: given.id};
        const whole = Uint8Array.from(given.bytes), half = whole.length >> 1;
        kernel.tell({type: 'piece', ...about, piece: 0, pieces: 2}, [new DataView(whole.buffer, 0, half)]);
        kernel.tell({type: 'piece', ...about, piece: 1, pieces: 2}, [new DataView(whole.buffer, half)]);
        kernel.reply(given.id, {type: 'reply', pieces: 2});""",
        {"id": request["id"], "bytes": list(PNG)},
    )
    panel.until("[...document.querySelectorAll('.nbb-answer img')].every(image => image.naturalWidth === 2)")
    assert len(panel.requests("picture")) == 1
    revoked = panel.run("""
        const gone = [], revoke = URL.revokeObjectURL;
        URL.revokeObjectURL = url => { gone.push(url); revoke(url); };
        const {src} = panel.querySelector('.nbb-answer img'); kernel.end(); URL.revokeObjectURL = revoke;
        return src.startsWith('blob:') && gone.includes(src);""")
    assert revoked


def test_an_image_of_another_host_is_loaded_only_by_a_click(panel: PanelPage) -> None:
    asked: list[str] = []

    def serve(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(body=PNG, content_type="image/png")

    panel.page.route("https://example.org/**", serve)
    panel.open(QUESTION, streaming(REMOTE))
    assert asked == []
    link = panel.root.get_by_role("link", name="image: the sky (example.org)")
    link.click()
    image = panel.root.get_by_role("img", name="image: the sky (example.org)")
    image.wait_for()
    panel.until("document.querySelector('img.nbb-loaded').naturalWidth === 2")
    assert asked == ["https://example.org/sky.png"]
    assert image.get_attribute("referrerpolicy") == "no-referrer"
    panel.say("text", item="a1", part="content", **{"from": 0}, keep=len(REMOTE), blocks=["<p>more</p>"])
    panel.settle()
    assert image.count() == 1
    panel.page.unroute("https://example.org/**")


def test_links_have_no_access_to_the_page(panel: PanelPage) -> None:
    panel.open(QUESTION, item("a1", "assistant", '<p><a href="https://example.org" target="_blank">there</a></p>'))
    assert panel.root.get_by_role("link", name="there").get_attribute("rel") == "noopener noreferrer"


def test_names_and_errors_are_not_html(panel: PanelPage) -> None:
    evil = "<img src=x onerror=hit()>"
    panel.open(QUESTION, item("a1", "assistant", P, who=evil, error=evil, status="failed"), chat=evil, draft=evil)
    assert panel.root.locator("img").count() == 0
    assert evil in panel.root.locator(".nbb-answer").inner_text()


def test_five_hundred_turns_open_in_a_moment(panel: PanelPage) -> None:
    panel.open()
    turns = [one for at in range(500) for one in (QUESTION | {"id": f"q{at}"}, ANSWER | {"id": f"a{at}"})]
    page = panel.page.context.new_cdp_session(panel.page)
    page.send("Performance.setTimeDomain", {"timeDomain": "threadTicks"})  # CPU time, however busy the machine is
    page.send("Performance.enable")
    cpu_seconds = lambda: {one["name"]: one["value"] for one in page.send("Performance.getMetrics")["metrics"]}  # noqa: E731
    started = cpu_seconds()["TaskDuration"]
    panel.run(
        "kernel.state(given); await new Promise(done => requestAnimationFrame(() => setTimeout(done)));",
        panel.state(*turns),
    )
    spent = cpu_seconds()["TaskDuration"] - started
    assert panel.root.locator("article").count() == 1000
    assert 0 < spent < 8  # 0.7 s alone; two busy processes beside it have made it 3 s


def test_a_long_question_is_folded(panel: PanelPage) -> None:
    lines = "<p>" + "\n".join(f"line {number}" for number in range(30)) + "</p>"
    panel.open(item("q1", "user", lines), item("a1", "assistant", lines), item("q2", "user", "<p>short</p>"))
    question = panel.root.get_by_role("article", name="Question").first
    more = panel.button("Show all")
    more.wait_for()
    assert more.count() == 1  # neither the answer nor the short question
    low = question.bounding_box()
    more.click()
    high = question.bounding_box()
    assert low
    assert high
    assert low["height"] < 400 < 600 < high["height"]
    panel.button("Show less").click()
    assert question.bounding_box() == low


@pytest.mark.parametrize("width", [340, 760])
def test_the_hidden_foot_of_a_question_is_no_gap_above_its_answer(panel: PanelPage, width: int) -> None:
    panel.open(item("q1", "user", "<p>Why?</p>", time=1_790_000_000_000), item("a1", "assistant", P))
    panel.run(f"panel.style.width = '{width}px'")
    bubble = panel.root.locator(".nbb-question .nbb-bubble").bounding_box()
    text = panel.root.locator(".nbb-answer .nbb-block").first.bounding_box()
    assert bubble
    assert text
    assert 0 < text["y"] - bubble["y"] - bubble["height"] < 20
    foot = panel.root.locator(".nbb-question .nbb-foot").bounding_box()
    assert foot
    assert foot["x"] + foot["width"] <= bubble["x"]
