"""An answer, and the stream that makes it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from .answer_images import ImageUrl, OwnImages, answer_markdown
from .markdown import image_addresses, safe_terminal
from .markdown_data import MAX_LIVE, is_bitmap, shortened
from .memory import is_too_long
from .providers.response import RawResponse, reasoning_text

MAX_ADDRESSES = 1000  # of images that an answer takes note of


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

    ``provider`` says who answered (``name``, ``label``, ``model``); ``usage`` has the token counts as the server
    spells them; ``images`` has the address of each image in full, whose ``data_uri`` is the image itself where the
    server had it or the text holds it, and is complete at the end: the first thousand; ``seconds`` run from the
    question to the end, ``first_token_seconds`` to the first text or reasoning; ``trimmed`` is how many of the oldest
    turns were not sent, for the model's context has no room for them.
    """

    text: Growing = Growing()
    reasoning: Growing = Growing()
    model: str = ""
    provider: dict[str, Any] = field(default_factory=dict)
    usage: dict[str, Any] = field(default_factory=dict)
    finish_reason: str | None = None
    images: list[ImageUrl] = field(default_factory=list)
    seconds: float = 0.0
    first_token_seconds: float | None = None
    stopped: bool = False
    trimmed: int = 0
    _started: float = field(default_factory=time.monotonic, compare=False)
    _server: str = field(default="", compare=False)  # the url that was asked, which addresses are relative to
    _addresses: dict[str, ImageUrl] = field(default_factory=dict, compare=False)  # of the images, as they are written
    _alts: dict[str, str] = field(default_factory=dict, compare=False)  # of images that came beside the text

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
                if self._sees(url):
                    self._alts.setdefault(url, alt if isinstance(alt, str) else "")
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
            if self._sees(address):
                self._alts.pop(address, None)

    def _sees(self, address: str) -> bool:
        """Note an image, and say whether it is noted: too many are not."""
        if address not in self._addresses and len(self._addresses) < MAX_ADDRESSES:
            from .addresses import own_url

            full = own_url(self._server, address) or address
            if full not in self._addresses:
                image = ImageUrl(full)
                image.data_uri = full if is_bitmap(full) else None
                self.images.append(image)
                self._addresses[full] = image
            self._addresses[address] = self._addresses[full]
        return address in self._addresses

    def _stand_for(self) -> dict[str, str]:
        """Give what the addresses of its images stand for: see ``safe_markdown``."""
        return {url: image.data_uri or url if url == image else str(image) for url, image in self._addresses.items()}

    def kept_images(self) -> dict[str, str]:
        """Give what the text does not say of what its images stand for, if one of them is at hand."""
        alone = {url for url in self._alts if is_bitmap(url)}
        kept = {url: target for url, target in self._stand_for().items() if url != target or url in alone}
        return kept if any(map(is_bitmap, kept.values())) else {}

    def to_markdown(self, *, live: bool = False) -> str:
        """Give the answer as Markdown that is safe to show, with its images; ``live``: large ones as a word or link."""
        return answer_markdown(self.text, self._stand_for(), self._alts, MAX_LIVE if live else None)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        start = self.text if len(self.text) <= 60 else self.text[:59] + "…"
        return f"Answer({start!r}, model={self.model!r}{', stopped=True' if self.stopped else ''})"

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(safe_terminal(shortened(self.text)))


def urls_of(event: RawResponse) -> list[str]:
    """Give the addresses of the images that a ``content`` event brings."""
    urls = event.get("urls") if event.type == "content" else None
    return [url for url in (urls if isinstance(urls, list) else [urls]) if isinstance(url, str)]


Answer.__module__ = "nb_backend.chat"  # its public home, which pickles and IPython's formatters name


class AnswerStream(AsyncIterator[RawResponse]):
    """The events of an answer as they come; ``answer`` is what they have made so far.

    ``ask`` is given how many of the oldest turns to leave out, ``answer.trimmed`` at first. When the server says that
    what is sent is too long, and nothing of an answer has come, half of the turns that are left go, and it is asked
    again; an event of this side, ``trimmed`` with the number of ``turns`` left out, comes before the server's own.

    ``keep`` is called once, with the answer and the states that providers want back, if there is something to keep: at
    the end, or when the stream is left before it; then ``kept`` is true. ``prepare`` is awaited once, before the first
    question is sent; what it raises ends the stream. ``images`` fetches those that are the server's own meanwhile: they
    stand in the answer as they come. The end waits for them; left only then, the answer is whole but for them. (A class
    and no generator: see ``create_async_generator``.)
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
        self._whole = False  # nothing more comes from the server
        self._open = True

    async def __anext__(self) -> RawResponse:
        try:
            events = self._events or await self._begin()
            if self._announces:
                self._announces = False
                return RawResponse(type="trimmed", turns=self.answer.trimmed)
            event = await events.__anext__()
            if self._images is not None and not self.answer._server:
                self.answer._server = await self._images.server()
        except StopAsyncIteration:
            try:
                await self._wait_for_images()
            finally:
                self._leave()
            raise
        except asyncio.CancelledError:
            self._leave()
            raise
        except BaseException as error:
            if self._events is None or not (self._can_ask_again() and (self._refused or is_too_long(error))):
                self._close()
                raise
            self._ask_again()
        else:
            if not (is_too_long(event) and self._can_ask_again()):
                self._take(event)
                return event
            self._refused = True  # and not shown: it is mended before its error is raised
        return await anext(self)

    async def prepare(self) -> None:
        """Do now what has to be done before the question is sent, and raise what stands against it."""
        if self._open and self._prepare is not None:
            try:
                await self._prepare()
            except BaseException as error:
                self._close(stopped=isinstance(error, asyncio.CancelledError))
                raise
            self._prepare = None

    async def _begin(self) -> AsyncGenerator[RawResponse, None]:
        await self.prepare()
        if not self._open:  # left before its first question, or meanwhile
            raise StopAsyncIteration
        self._events = self._ask(self.answer.trimmed)
        return self._events

    def _take(self, event: RawResponse) -> None:
        known = len(self.answer.images)
        self.answer.add(event)
        if event.type == "conversation" and isinstance(state := event.get("conversation"), dict):
            self._states |= state
        if self._images is not None and self._open:
            self._images.fetch(self.answer.images[known:])

    async def _wait_for_images(self) -> None:
        self._whole = True
        if self._open and self._images is not None:
            self.answer.end()  # which finds those of the text
            self._images.fetch(self.answer.images)
            await self._images.wait()

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
        if self._images is not None:
            await self._images.wait()

    def __del__(self) -> None:
        self._leave()

    def _close(self, *, stopped: bool = False) -> None:
        if self._open:
            self._open = False
            self.answer.end(stopped=stopped)
            if self._images is not None:
                self._images.cancel()

    def _leave(self) -> None:
        if self._open:
            stopped = not self._whole and self.answer.finish_reason is None
            self._close(stopped=stopped)
            if self.answer.text or not stopped:
                self._keep(self.answer, self._states)
                self.kept = True
