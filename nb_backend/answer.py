"""An answer, and the stream that makes it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import markdown_data
from .markdown import image_addresses, safe_markdown, safe_terminal
from .memory import is_too_long
from .providers.response import RawResponse, reasoning_text

if TYPE_CHECKING:
    from .answer_images import OwnImages


class Growing:
    """A text that grows piece by piece: joined when it is read, for ``+=`` on an attribute copies it every time."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type | None = None) -> str:
        if instance is None:
            return ""  # what a dataclass takes as the default
        pieces = instance.__dict__[self._name]
        pieces[:] = ["".join(pieces)]
        text: str = pieces[0]
        return text

    def __set__(self, instance: object, value: str) -> None:
        instance.__dict__[self._name] = [value]


@dataclass(repr=False)
class Answer:
    """What came back for a question. ``str()`` is the text; in a notebook it shows itself as Markdown.

    ``provider`` says who answered (``name``, ``label``, ``model``); ``usage`` has the token counts as the server spells
    them; ``images`` has the address of each image in full, or the image itself as a ``data:`` address, and is complete
    at the end; ``seconds`` run from the question to the end, ``first_token_seconds`` to the first text or reasoning;
    ``trimmed`` is how many of the oldest turns were not sent, for the model's context has no room for them.
    """

    text: Growing = Growing()
    reasoning: Growing = Growing()
    model: str = ""
    provider: dict[str, Any] = field(default_factory=dict)
    usage: dict[str, Any] = field(default_factory=dict)
    finish_reason: str | None = None
    images: list[str] = field(default_factory=list)
    seconds: float = 0.0
    first_token_seconds: float | None = None
    stopped: bool = False
    trimmed: int = 0
    _started: float = field(default_factory=time.monotonic, compare=False)
    _server: str = field(default="", compare=False)  # the url that was asked, which addresses are relative to
    _addresses: dict[str, str] = field(default_factory=dict, compare=False)  # what each stands for: see safe_markdown
    _alts: dict[str, str] = field(default_factory=dict, compare=False)  # of images that came by events

    @property
    def code(self) -> list[str]:
        """The contents of the fenced code blocks, in order."""
        from markdown_it import MarkdownIt

        tokens = MarkdownIt("commonmark").parse(self.text)
        return [token.content.removesuffix("\n") for token in tokens if token.type == "fence"]

    @property
    def tokens(self) -> int | None:
        """How many tokens the answer has, if the server says so: spelt in one of several ways."""
        for key in ("completion_tokens", "output_tokens", "completionTokens", "candidatesTokenCount", "eval_count"):
            if isinstance(count := self.usage.get(key), int) and not isinstance(count, bool) and count >= 0:
                return count
        return None

    def add(self, event: RawResponse) -> None:
        """Take in what an event adds."""
        kind = event.type
        text, reasoning = str(event), reasoning_text(event)
        if text:
            self.__dict__["text"].append(text)
        if reasoning:
            self.__dict__["reasoning"].append(reasoning)
        if kind == "content":
            alt = event.get("alt")
            for url in urls_of(event):
                self._alts.setdefault(url, alt if isinstance(alt, str) else "")
                self._see(url)
        elif kind == "provider" and isinstance(who := event.get("provider"), dict):
            self.provider = {**self.provider, **who}
            self.model = str(who.get("model") or self.model)
        elif kind == "usage" and isinstance(usage := event.get("usage"), dict):
            self.usage = usage
        elif kind == "finish":
            finish = event.get("finish")
            self.finish_reason = str((finish.get("reason") if isinstance(finish, dict) else finish) or "stop")
        self.seconds = time.monotonic() - self._started
        if self.first_token_seconds is None and (text or reasoning):
            self.first_token_seconds = self.seconds

    def end(self, *, stopped: bool = False) -> None:
        """Set the time, and whether it was stopped before its end."""
        self.seconds = time.monotonic() - self._started
        self.stopped = stopped
        for address in image_addresses(self.text):
            self._see(address)

    def _see(self, address: str) -> str:
        """Note an image, and give its address in full."""
        if address not in self._addresses:
            from .providers.session import own_url

            full = own_url(self._server, address) or address
            if full not in self._addresses:
                self.images.append(full)
                self._addresses[full] = full
            self._addresses[address] = full
        return self._addresses[address]

    def kept_images(self) -> dict[str, str]:
        """Give what the addresses of its images stand for, if one of them is at hand: see ``safe_markdown``."""
        return dict(self._addresses) if any(map(markdown_data.is_bitmap, self._addresses.values())) else {}

    def to_markdown(self, *, live: bool = False) -> str:
        """Give the answer as Markdown that is safe to show, with its images; ``live``: large ones as a word or link."""
        addresses, text = self._addresses, self.text
        alone = [url for url in self._alts if url not in text and addresses[url] not in text]
        pictures = "\n\n".join(f"![{_words(self._alts[url]) or 'image'}](<{url}>)" for url in alone)
        if live:
            addresses = {url: target for url, target in addresses.items() if markdown_data.is_live(target)}
            text, pictures = markdown_data.live(text), markdown_data.live(pictures)
        return "\n\n".join(safe_markdown(part, addresses) for part in (text, pictures) if part)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        start = self.text if len(self.text) <= 60 else self.text[:59] + "…"
        return f"Answer({start!r}, model={self.model!r}{', stopped=True' if self.stopped else ''})"

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(safe_terminal(markdown_data.shortened(self.text)))


def urls_of(event: RawResponse) -> list[str]:
    """Give the addresses of the images that a ``content`` event brings."""
    urls = event.get("urls") if event.type == "content" else None
    return [url for url in (urls if isinstance(urls, list) else [urls]) if isinstance(url, str)]


def _words(text: str) -> str:
    """Give the words of a text, as the text of an image."""
    return " ".join(re.sub(r"[\[\]\\`<>&$]", " ", text).split())


Answer.__module__ = "nb_backend.chat"  # its public home, which pickles and IPython's formatters name


class AnswerStream(AsyncIterator[RawResponse]):
    """The events of an answer as they come; ``answer`` is what they have made so far.

    ``ask`` is given how many of the oldest turns to leave out, ``answer.trimmed`` at first. When the server says that
    what is sent is too long, and nothing of an answer has come, half of the turns that are left go, and it is asked
    again; an event of this side, ``trimmed`` with the number of ``turns`` left out, comes before the server's own.

    ``keep`` is called once, with the answer and the states that providers want back, if there is something to keep: at
    the end, or when the stream is left before it; then ``kept`` is true. ``prepare`` is awaited once, before the first
    question is sent; what it raises ends the stream. ``images`` fetches those that are the server's own: they stand in
    the answer from then on. (A class and no generator: see ``create_async_generator``.)
    """

    def __init__(
        self,
        ask: Callable[[int], AsyncGenerator[RawResponse, None]],
        answer: Answer,
        keep: Callable[[Answer, dict[str, Any]], None],
        turns: int = 0,
        *,
        prepare: Callable[[], Awaitable[None]] | None = None,
        images: OwnImages | None = None,
    ) -> None:
        self.answer = answer
        self._ask = ask
        self._keep = keep
        self._turns = turns
        self._states: dict[str, Any] = {}
        self.kept = False
        self._prepare = prepare
        self._images = images
        self._events: AsyncGenerator[RawResponse, None] | None = None  # until it is asked
        self._announces = answer.trimmed > 0
        self._refused = False  # an event said that it is too long; its error is still to come
        self._open = True

    async def __anext__(self) -> RawResponse:
        try:
            events = self._events or await self._begin()
            if self._announces:
                self._announces = False
                return RawResponse(type="trimmed", turns=self.answer.trimmed)
            event = await events.__anext__()
        except StopAsyncIteration:
            if self._open:
                await self._fetch(image_addresses(self.answer.text))
            self._end()
            raise
        except asyncio.CancelledError:
            self._leave()
            raise
        except BaseException as error:
            if self._events is None or not (self._can_ask_again() and (self._refused or is_too_long(error))):
                self._open = False
                self.answer.end()
                raise
            self._ask_again()
        else:
            if not (is_too_long(event) and self._can_ask_again()):
                await self._take(event)
                return event
            self._refused = True  # and not shown: it is mended before its error is raised
        return await anext(self)

    async def prepare(self) -> None:
        """Do now what has to be done before the question is sent, and raise what stands against it."""
        prepare, self._prepare = self._prepare, None
        if self._open and prepare is not None:
            await prepare()

    async def _begin(self) -> AsyncGenerator[RawResponse, None]:
        await self.prepare()
        if not self._open:  # left before its first question, or meanwhile
            raise StopAsyncIteration
        self._events = self._ask(self.answer.trimmed)
        return self._events

    async def _take(self, event: RawResponse) -> None:
        if self._images is not None and not self.answer._server:
            self.answer._server = await self._images.server()
        self.answer.add(event)
        if event.type == "conversation" and isinstance(state := event.get("conversation"), dict):
            self._states |= state
        await self._fetch(urls_of(event))

    async def _fetch(self, addresses: list[str]) -> None:
        """Have the images that are the server's own stand in the answer themselves."""
        try:
            for url in map(self.answer._see, addresses):
                if self._open and self._images is not None and (image := await self._images.fetch(url)):
                    self.answer._addresses[url] = image
        except asyncio.CancelledError:
            self._leave()
            raise

    def _can_ask_again(self) -> bool:
        begun = self.answer.text or self.answer.reasoning or self.answer.images
        return self._open and not begun and self.answer.trimmed < self._turns

    def _ask_again(self) -> None:
        self.answer.trimmed += (self._turns - self.answer.trimmed + 1) // 2
        self._states = {}
        self._refused = False
        self._announces = True
        self._events = self._ask(self.answer.trimmed)

    async def aclose(self) -> None:
        """Stop: the connection is closed, and the text that had come is kept."""
        self._leave()
        if self._events is not None:
            await self._events.aclose()

    def __del__(self) -> None:
        self._leave()

    def _end(self, *, stopped: bool = False) -> None:
        if self._open:
            self._open = False
            self.answer.end(stopped=stopped)
            if self.answer.text or not stopped:
                self._keep(self.answer, self._states)
                self.kept = True

    def _leave(self) -> None:
        self._end(stopped=self.answer.finish_reason is None)
