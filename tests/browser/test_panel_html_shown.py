"""Hostile answers as the panel's HTML in a plain page: nothing runs, nothing is requested, no foreign elements."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hostile import HOSTILE
from html_blocks import html_blocks
from playwright.sync_api import Page

from nb_backend.markdown.html.blocks import HtmlBlocks

DOT = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAA"
    "AHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO9TXL0Y4OHwAAAABJRU5ErkJggg=="
)
# puts each list of blocks into the page as the panel does, and returns all elements that are not allowed
PUT = """cases => cases.map(blocks => {
    const tags = new Set(('P H3 H4 H5 H6 UL OL LI BLOCKQUOTE DIV TABLE THEAD TBODY TR TH TD HR BR EM STRONG DEL ' +
        'CODE PRE FIGURE FIGCAPTION SPAN A IMG').split(' '));
    const names = new Set(('href data-remote class target rel tabindex role aria-label start align alt ' +
        'data-picture').split(' '));
    const root = document.body.appendChild(document.createElement('section'));
    for (const html of blocks) {
        const template = document.createElement('template');
        template.innerHTML = html;
        root.append(template.content);
    }
    for (const link of root.querySelectorAll('[tabindex], a')) link.focus();
    const wrong = [...root.querySelectorAll('*')].filter(element => {
        if (element.closest('math')) return element.namespaceURI !== 'http://www.w3.org/1998/Math/MathML'
            || [...element.attributes].some(({name}) => /^(on|href|xlink|src|id|class|style|name)/i.test(name));
        return !tags.has(element.tagName) || [...element.attributes].some(({name, value}) =>
            !names.has(name) || (/href|remote/.test(name) && !/^(https?:\\/\\/[a-z0-9]|mailto:)/i.test(value)));
    }).map(element => element.outerHTML.slice(0, 200));
    root.remove();
    return wrong;
})"""


@pytest.fixture
def asked(page: Page) -> Iterator[list[str]]:
    """The requests of the page after it was loaded."""
    page.route("https://panel.test/", lambda route: route.fulfill(body="<body></body>", content_type="text/html"))
    page.goto("https://panel.test/")
    page.evaluate("() => { window.hits = []; window.hit = () => { hits.push(new Error().stack); }; }")
    urls: list[str] = []
    page.route("**/*", lambda route: (urls.append(route.request.url), route.abort()))
    yield urls
    page.unroute_all()


def put(page: Page, cases: list[list[str]]) -> list[list[str]]:
    wrong: list[list[str]] = page.evaluate(PUT, cases)
    page.wait_for_timeout(300)
    return wrong


def test_the_same_answers_act_if_they_are_not_sanitized(page: Page, asked: list[str]) -> None:
    assert all(put(page, [["<img src=x onerror=hit()>"], ["<img src='https://evil.test/x.png'>"]]))
    page.wait_for_function("() => hits.length > 0")
    assert any("evil.test" in url for url in asked)


def test_nothing_acts(page: Page, asked: list[str]) -> None:
    texts = [text[: len(text) * part // 8] for text in HOSTILE for part in range(1, 9)]
    texts += [text[:-1] for text in HOSTILE]
    wrong = put(page, [html_blocks(text, image_key=lambda uri: "k") for text in texts])
    assert {text: found for text, found in zip(texts, wrong, strict=True) if found} == {}
    assert page.evaluate("() => hits") == []
    assert asked == []


def test_nothing_acts_while_it_streams(page: Page, asked: list[str]) -> None:
    html, cases, text = HtmlBlocks(image_key=lambda uri: "k"), [], ""
    for piece in HOSTILE:
        text += piece + "\n\n"
        html.update(text)
        cases.append(html.blocks[-3:])
    html.finish(text)
    wrong = put(page, [*cases, html.blocks])
    assert [found for found in wrong if found] == []
    assert page.evaluate("() => hits") == []
    assert asked == []


def test_formulas_are_rendered(page: Page) -> None:
    measure: Callable[[str], list[float]] = lambda html: page.evaluate(  # noqa: E731
        "html => { document.body.innerHTML = html; const box = document.querySelector('math').getBoundingClientRect();"
        " return [box.width, box.height]; }",
        html,
    )
    flat, high = measure("".join(html_blocks("$$x$$"))), measure("".join(html_blocks("$$\\frac{x}{y}$$")))
    assert min(*flat, *high) > 0
    assert high[1] > 1.5 * flat[1]


def test_a_picture_sends_no_request(page: Page, asked: list[str]) -> None:
    put(page, [html_blocks(f"![a]({DOT})", image_key=lambda uri: "k"), html_blocks("![a](https://evil.test/x.png)")])
    assert asked == []
