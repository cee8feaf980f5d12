"""A conversation, and what comes back from it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from . import background, settings
from .markdown import safe_markdown, safe_terminal
from .typing import Messages

if TYPE_CHECKING:
    from .providers.backend_api import BackendApi
    from .providers.openai_api import OpenAIApi
    from .providers.response import RawResponse


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
    them; ``seconds`` run from the question to the end, ``first_token_seconds`` to the first text or reasoning.
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
    _started: float = field(default_factory=time.monotonic, compare=False)

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
            if isinstance(count := self.usage.get(key), int):
                return count
        return None

    def add(self, event: RawResponse) -> None:
        """Take in what an event adds."""
        from .providers.response import reasoning_text

        kind = event.type
        text, reasoning = str(event), reasoning_text(event)
        if text:
            self.__dict__["text"].append(text)
        if reasoning:
            self.__dict__["reasoning"].append(reasoning)
        if kind == "content":
            urls = event.get("urls")
            urls = urls if isinstance(urls, list) else [urls]
            self.images += [url for url in urls if isinstance(url, str)]
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

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        start = self.text if len(self.text) <= 60 else self.text[:59] + "…"
        return f"Answer({start!r}, model={self.model!r}{', stopped=True' if self.stopped else ''})"

    def _repr_markdown_(self) -> str:
        markdown: str = safe_markdown(self.text)
        return markdown

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(safe_terminal(self.text))


class AnswerStream(AsyncIterator["RawResponse"]):
    """The events of an answer as they come; ``answer`` is what they have made so far.

    ``keep`` is called once, with the answer and the states that providers want back, if there is something to keep: at
    the end, or when the stream is left before it. (A class and no generator: see ``create_async_generator``.)
    """

    def __init__(
        self,
        events: AsyncGenerator[RawResponse, None],
        answer: Answer,
        keep: Callable[[Answer, dict[str, Any]], None],
    ) -> None:
        self.answer = answer
        self._events = events
        self._keep = keep
        self._states: dict[str, Any] = {}
        self._open = True

    async def __anext__(self) -> RawResponse:
        try:
            event = await self._events.__anext__()
        except StopAsyncIteration:
            self._end()
            raise
        except asyncio.CancelledError:
            self._leave()
            raise
        except BaseException:
            self._open = False
            self.answer.end()
            raise
        self.answer.add(event)
        if event.type == "conversation" and isinstance(state := event.get("conversation"), dict):
            self._states |= state
        return event

    async def aclose(self) -> None:
        """Stop: the connection is closed, and the text that had come is kept."""
        self._leave()
        await self._events.aclose()

    def __del__(self) -> None:
        self._leave()

    def _end(self, *, stopped: bool = False) -> None:
        if self._open:
            self._open = False
            self.answer.end(stopped=stopped)
            if self.answer.text or not stopped:
                self._keep(self.answer, self._states)

    def _leave(self) -> None:
        self._end(stopped=self.answer.finish_reason is None)


class Chat:
    """One conversation with a model.

    >>> chat = Chat("gpt-4o", system="Answer in one sentence.")
    >>> answer = await chat.ask("Why is the sky blue?")
    >>> chat("And at sunset?").text  # the same without await

    ``url`` and ``api_key`` come from the settings if they are not given; ``provider`` is a name that g4f knows;
    ``params`` are fields of every request (``temperature=0.2``). ``messages`` is the conversation so far: an exchange
    that failed is not in it, the answer of one that was stopped has ``"stopped": True``.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        url: str | None = None,
        api_key: str | None = None,
        provider: str | None = None,
        system: str | None = None,
        **params: Any,
    ) -> None:
        self.model = model
        self.url = url
        self.provider = provider
        self.system = system
        self.params = params
        self.messages: Messages = []
        self._api_key = settings.Secret(api_key)
        self._states: dict[str, Any] = {}  # what providers want back with the next question
        self._last_provider = ""

    def stream(self, prompt: str, images: Iterable[Any] = (), **params: Any) -> AnswerStream:
        """Ask, and give the events of the answer as they come; leaving early stops the answer and keeps its text."""
        answer = Answer(model=settings.model(self.model))
        provider, extra = self._provider()
        media = [image if isinstance(image, tuple) else (image, None) for image in images] or None
        question = {"role": "user", "content": prompt}
        events = provider.create_async_generator(
            answer.model, self._to_send(question), media, self._api_key.value, **{**extra, **self.params, **params}
        )
        return AnswerStream(events, answer, partial(self._remember, question))

    async def ask(self, prompt: str, images: Iterable[Any] = (), **params: Any) -> Answer:
        """Ask, and give the whole answer."""
        stream = self.stream(prompt, images, **params)
        async with aclosing(stream):
            async for _ in stream:
                pass
        return stream.answer

    def __call__(self, prompt: str, images: Iterable[Any] = (), **params: Any) -> Answer:
        """Ask, and wait for the whole answer, from synchronous code anywhere."""
        return background.run(self.ask(prompt, images, **params))

    def reset(self) -> None:
        """Start over: forget what was said, not how to ask."""
        self.messages = []
        self._states = {}

    def _remember(self, question: dict[str, Any], answer: Answer, states: dict[str, Any]) -> None:
        self._states |= states
        mark = {"stopped": True} if answer.stopped else {}
        self.messages += [question, {"role": "assistant", "content": answer.text, **mark}]
        self._last_provider = str(answer.provider.get("name") or "")

    def _to_send(self, question: dict[str, Any]) -> Messages:
        system = [{"role": "system", "content": self.system}] if self.system else []
        said = [{key: value for key, value in message.items() if key != "stopped"} for message in self.messages]
        return [*system, *said, question]

    def _provider(self) -> tuple[type[BackendApi] | type[OpenAIApi], dict[str, Any]]:
        """Choose the provider by the url, and what its requests carry besides."""
        from .providers.backend_api import BackendApi
        from .providers.openai_api import OpenAIApi

        url = settings.url(self.url)
        if url is not None and re.search(r"/v\d+\w*$", url):
            return type("OpenAIApi", (OpenAIApi,), {"url": url}), {}
        extra = {"provider": self.provider} if self.provider else {}
        if state := self._states.get(self._last_provider):
            extra["conversation"] = state
        return (type("BackendApi", (BackendApi,), {"url": url}) if url else BackendApi), extra
