"""Hostile answers in the panel's page, streamed, ended and reloaded: nothing acts, harmless text is readable."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hostile import GIF, HOSTILE, IMG
from hostile_page import READ, STEP, WATCH, as_read, hostile_sources, missing_words, prefixes, requests_of
from html_blocks import html_blocks
from panel_page import SETTINGS, PanelPage, item
from playwright.sync_api import Page

from nb_backend.chat.answer import Answer
from nb_backend.chat.jsonable import plain
from nb_backend.chat.messages import Message
from nb_backend.chat.source_list import MAX_SHOWN
from nb_backend.events import RawResponse
from nb_backend.notebook.panel.error_text import error_line
from nb_backend.notebook.panel.handlers.chats import model_choices
from nb_backend.notebook.panel.items.arrange import FailedTurn, ItemSource, arrange_items
from nb_backend.notebook.panel.items.content import (
    ItemContent,
    answer_content,
    message_content,
    question_content,
)
from nb_backend.notebook.panel.items.image_store import ImageStore
from nb_backend.notebook.panel.items.items import ItemList
from nb_backend.providers.model import Model
from nb_backend.services import SERVICES
from nb_backend.text import safe_terminal

# Shows the kernel's messages, waits for a frame, and returns for each answer its text and whatever must not be there.
SHOW = """async messages => {
    const tags = new Set(('P H3 H4 H5 H6 UL OL LI BLOCKQUOTE DIV TABLE THEAD TBODY TR TH TD HR BR EM STRONG DEL ' +
        'CODE PRE FIGURE FIGCAPTION SPAN A IMG').split(' '));
    const names = new Set(('href data-remote class target rel tabindex role aria-label start align alt dir ' +
        'data-picture').split(' '));
    const unseen = /[\\p{Bidi_Control}\\p{Cc}\\xad\\u200b\\u2060-\\u206f\\u{e0000}-\\u{e0fff}]/u;
    const unlike = element => {
        const attributes = [...element.attributes];
        if (element.closest('button, summary')) return false;  // the panel's own
        if (element.closest('math')) return element.namespaceURI !== 'http://www.w3.org/1998/Math/MathML'
            || attributes.some(({name}) => /^(on|href|xlink|src|id|class|style|name)/i.test(name));
        if (element.matches('a')) return element.rel !== 'noopener noreferrer' || element.target !== '_blank'
            || attributes.some(({name, value}) => !names.has(name)
                || (/href|remote/.test(name) && !/^(https?:\\/\\/[a-z0-9]|mailto:)/i.test(value)));
        return !tags.has(element.tagName) || attributes.some(({name}) => !names.has(name));
    };
    for (const message of messages) kernel.say(message);
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
    return [...document.querySelectorAll('.nbb-answer')].map(item => {
        const wrong = [...item.querySelectorAll('.nbb-text, .nbb-text *')].filter(unlike);
        wrong.push(...item.querySelectorAll('script, iframe, form, style, object, embed, link, base, [id], [name]'));
        const text = item.textContent;
        const hidden = unseen.exec(text.replace(/[\\n\\t]/g, '')) ?? [];
        return {text, wrong: [...wrong.map(element => element.outerHTML.slice(0, 200)), ...hidden]};
    });
}"""


class Asked(SimpleNamespace):
    """A turn that is hashed and compared by identity."""

    __hash__ = object.__hash__
    __eq__ = object.__eq__


class Kernel:
    """The kernel's side of a panel, with every hostile answer as an item."""

    def __init__(self) -> None:
        self.turns: list[Any] = [self._turn() for _ in HOSTILE]
        self.changed: set[Any] = set()
        self.items = self._new_items()
        self.now = 0.0

    def _turn(self) -> Any:
        question = Message({"role": "user", "content": "Why?"}, {"time": 1e9})
        request = SimpleNamespace(question=question, media=[], cell_run=None, instead=None, lacks_vision=False)
        return Asked(
            request=request, answer=Answer(), ended=False, kept=False, error=None, progress=None, seconds_silent=0.0
        )

    def _new_items(self) -> ItemList:
        return ItemList(ImageStore(), clock=lambda: self.now)

    def add_text(self, text: str, turn: Any, at: int) -> None:
        """Add the characters from a position on, to the text and to the reasoning."""
        if piece := text[at : at + STEP]:
            turn.answer.add(RawResponse(type="content", content=piece))
            turn.answer.add(RawResponse(type="reasoning", token=piece))
            self.changed.add(turn)

    def end(self) -> None:
        """End the answers with a hostile model name, images and sources; the first has many. Every third one fails."""
        for number, (text, turn) in enumerate(zip(HOSTILE, self.turns, strict=True)):
            turn.answer.add(RawResponse(type="provider", provider={"label": text, "model": text}))
            turn.answer.add(RawResponse(type="content", content="", urls=["https://evil.test/i.png", GIF], alt=text))
            turn.answer.add(RawResponse(type="sources", sources=hostile_sources(text, 1 if number else 1000)))
            turn.answer.end()
            turn.ended = turn.kept = True
            if number % 3 == 0:
                turn.error = ValueError(safe_terminal(text))  # as an error of a server has it

    def changes(self) -> list[dict[str, Any]]:
        """Return the messages for a page that has what was sent before."""
        self.now += 60
        failed = [FailedTurn(turn, None) for turn in self.turns if turn.ended]
        self._show(arrange_items([], [turn for turn in self.turns if not turn.ended], failed))
        return list(map(plain, self.items.changes()))

    def loaded(self) -> list[dict[str, Any]]:
        """Return the items of a page that is loaded when the answers are in the history."""
        messages = []
        for turn in self.turns:
            reply = {"role": "assistant", "content": turn.answer.text}
            messages += [turn.request.question, Message(reply, {**turn.answer.metadata(), "time": 1e9})]
        self.items = self._new_items()
        self._show(arrange_items(messages, [], []))
        return list(map(plain, self.items.whole()))

    def _show(self, sources: list[ItemSource]) -> None:
        self.items.update(sources, self.changed)
        self.changed.clear()
        assert self.items.render(self._content_of, 1e9)

    def _content_of(self, source: ItemSource) -> ItemContent:
        if source.turn is None:
            return message_content(source.message or {}, str, str)
        if source.is_answer:
            return answer_content(source.turn, str, lambda error: error_line(error, []))
        return question_content(source.turn, str, str)


class Watched(PanelPage):
    """A panel's page with the addresses that it requested."""

    requested: list[str]

    def show(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the answers after these messages; fail if something in them acts."""
        shown: list[dict[str, Any]] = self.page.evaluate(SHOW, messages)
        assert len(shown) == len(HOSTILE)
        assert {text: one["wrong"] for text, one in zip(HOSTILE, shown, strict=True) if one["wrong"]} == {}
        assert self.page.evaluate("() => hits") == []
        assert self.requested == []
        return shown


@pytest.fixture
def panel(page: Page) -> Iterator[Watched]:
    with Watched(page) as watched, requests_of(page) as asked:
        watched.requested = asked
        yield watched


def check_readable(shown: list[dict[str, Any]]) -> None:
    missing = {text: missing_words(text, one["text"]) for text, one in zip(HOSTILE, shown, strict=True)}
    assert {text: words for text, words in missing.items() if words} == {}


def test_nothing_acts_while_it_streams_and_reloaded(panel: Watched) -> None:
    kernel = Kernel()
    panel.load()
    panel.page.evaluate(WATCH)
    panel.greet()
    for step in range(max(len(prefixes(text)) for text in HOSTILE)):
        for text, turn in zip(HOSTILE, kernel.turns, strict=True):
            kernel.add_text(text, turn, step * STEP)
        panel.show(kernel.changes())
    assert [turn.answer.text for turn in kernel.turns] == HOSTILE
    kernel.end()
    check_readable(panel.show(kernel.changes()))
    panel.load()
    panel.page.evaluate(WATCH)
    panel.greet(*kernel.loaded())
    check_readable(panel.show([]))
    many = panel.root.locator(".nbb-answer").first
    assert many.locator("ol > li").count() == MAX_SHOWN
    assert "… and 980 more" in (many.text_content() or "")


# of a list of models: elements that must not be there, characters that nobody sees, and text that is cut off
LISTED = """
    const picker = panel.querySelector('.nbb-popup:popover-open'), {right} = picker.getBoundingClientRect();
    const unseen = /[\\p{Bidi_Control}\\p{Cc}\\xad\\u200b\\u2060-\\u206f\\u{e0000}-\\u{e0fff}]/u;
    return [...picker.querySelectorAll('[role=status], [role=status] ~ * *')]
        .filter(node => !node.matches('p, button, span, small') || unseen.test(node.textContent.replaceAll('\\n', ''))
            || node.getBoundingClientRect().right > right)
        .map(node => node.outerHTML.slice(0, 200));"""


def test_nothing_acts_in_the_list_of_models(panel: Watched) -> None:
    """Names, labels and owners of models are hostile, and so is why a list is missing; some are very long."""
    texts = [*HOSTILE, *(text * (10_000 // len(text)) for text in ("long", "l o n g ", "\u202elong", IMG))]
    names = [f"m{number}" for number in range(len(texts))]
    models = [Model.of(name, label=text, provider=text) for name, text in zip(names, texts, strict=True)]
    models += [Model.of(text) for text in texts]
    choices = model_choices(((service, model) for service in (None, SERVICES["groq"]) for model in models), str)
    listed = {one["name"] for one in choices}
    assert all(name.isprintable() and len(name) <= 300 for name in listed)  # others could not be chosen
    assert listed >= {*names}
    panel.open(settings=SETTINGS | {"model": IMG}, width=300)
    panel.page.evaluate(WATCH)
    panel.answers("models", models=choices, notes=[safe_terminal(text) for text in HOSTILE[:20]])
    panel.button(IMG).click()
    picker = panel.root.get_by_role("dialog", name="Model")
    picker.locator(".nbb-choice").nth(100).wait_for()
    for typed in ("", "long", "<", "groq:m"):
        picker.get_by_role("textbox").fill(typed)
        assert picker.locator(".nbb-choice").count() > 1
        assert panel.run(LISTED) == []
    assert panel.page.evaluate("() => hits") == []
    assert panel.requested == []


def test_the_text_is_readable(panel: Watched) -> None:
    panel.open(*(item(f"a{number}", "assistant", *html_blocks(text)) for number, text in enumerate(READ)))
    texts = panel.root.locator(".nbb-answer .nbb-bubble").all_inner_texts()
    assert dict(zip(READ, map(as_read, texts), strict=True)) == READ
    assert panel.requested == []


def test_the_check_fails_if_the_kernel_does_not_sanitize(panel: Watched) -> None:
    kernel = Kernel()
    panel.load()
    panel.page.evaluate(WATCH)
    items = kernel.loaded()
    items[1]["content"] = ["<img src=x onerror=hit()>", "<img src='https://evil.test/x.png'>"]
    panel.greet(*items)
    panel.until("hits.length > 0")
    with pytest.raises(AssertionError, match="onerror"):
        panel.show([])
    assert "https://evil.test/x.png" in panel.requested
