"""A conversation with a model."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from . import background, memory, settings
from .answer import Answer as Answer
from .answer import AnswerStream as AnswerStream
from .memory import from_cell as from_cell
from .transcript import Transcript
from .typing import Messages

if TYPE_CHECKING:
    from .providers.backend_api import BackendApi
    from .providers.openai_api import OpenAIApi
    from .providers.response import RawResponse


class Chat:
    """One conversation with a model.

    >>> chat = Chat("gpt-4o", system="Answer in one sentence.")
    >>> answer = await chat.ask("Why is the sky blue?")
    >>> chat("And at sunset?").text  # the same without await

    ``url`` and ``api_key`` come from the settings if they are not given; ``provider`` is a name that g4f knows;
    ``params`` are fields of every request (``temperature=0.2``). ``messages`` is the conversation so far: an exchange
    that failed is not in it, the answer of one that was stopped has ``"stopped": True`` (and see ``memory``).

    What a cell asks inside ``with from_cell(id)`` takes the place of what it had asked in an earlier run, and of
    everything after that, once there is an answer. A conversation that the model's context has no room for is sent
    without its oldest turns; ``messages`` keeps them.
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
        self._runs: dict[str, memory.CellRun] = {}  # the last run of each cell that has said something

    def stream(self, prompt: str, images: Iterable[Any] = (), **params: Any) -> AnswerStream:
        """Ask, and give the events of the answer as they come; leaving early stops the answer and keeps its text."""
        run = memory.cell_run.get()
        before = self.messages[: self._kept(run)]
        answer = Answer(model=settings.model(self.model), trimmed=memory.left_out(before))
        at_first, turns = answer.trimmed, memory.turns(before)
        provider, extra = self._provider(continues=len(before) == len(self.messages))
        media = [image if isinstance(image, tuple) else (image, None) for image in images] or None
        question = {"role": "user", "content": prompt}
        system = [{"role": "system", "content": self.system}] if self.system else []

        def ask(without: int) -> AsyncGenerator[RawResponse, None]:
            messages = [*system, *memory.to_send(before, without), question]
            if without > at_first:
                extra.pop("conversation", None)  # what the server remembers is too long, too
            body = {**extra, **self.params, **params}
            return provider.create_async_generator(answer.model, messages, media, self._api_key.value, **body)

        return AnswerStream(ask, answer, partial(self._remember, question, run), turns)

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
        self._runs = {}

    def take_back(self, cell: str) -> None:
        """Forget what a cell had said, and everything after it."""
        self._cut(memory.said_before(self.messages, cell))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the conversation to a file that only its owner may read: no key in it, nor where it was asked."""
        self._transcript().save(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, url: str | None = None, api_key: str | None = None) -> Self:
        """Give the conversation that was saved; ``ValueError`` if the file is damaged, or another kind of file.

        Where to ask is never read from a file: a stranger's could have your key sent to another server.
        """
        saved = Transcript.load(path)
        chat = cls(saved.model, url=url, api_key=api_key, provider=saved.provider, system=saved.system)
        chat.params, chat.messages = saved.params, saved.messages
        return chat

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write the conversation for people: as Markdown (``.md``), or as a notebook to run again (``.ipynb``)."""
        self._transcript().export(path)

    def _transcript(self) -> Transcript:
        key = settings.api_key(self._api_key.value)
        return Transcript(self.model, self.provider, self.system, self.params, self.messages).without(key)

    def _kept(self, run: memory.CellRun | None) -> int:
        """Give how many messages stay when this run of a cell asks."""
        if run is None or self._runs.get(run.cell) is run:
            return len(self.messages)
        return memory.said_before(self.messages, run.cell)

    def _cut(self, at: int) -> None:
        if at < len(self.messages):
            del self.messages[at:]
            self._states = {}  # the servers remember what was taken back

    def _remember(
        self, question: dict[str, Any], run: memory.CellRun | None, answer: Answer, states: dict[str, Any]
    ) -> None:
        self._cut(self._kept(run))
        if answer.trimmed > memory.left_out(self.messages):
            self._states = {}
        self._states |= states
        self._last_provider = str(answer.provider.get("name") or "")
        marks = {"stopped": True} if answer.stopped else {}
        reply = {"role": "assistant", "content": answer.text, **marks}
        if answer.trimmed:
            reply["trimmed"] = answer.trimmed
        if run is not None:
            self._runs[run.cell] = run
            question = {**question, "cell": run.cell}
        self.messages += [question, reply]

    def _provider(self, continues: bool = True) -> tuple[type[BackendApi] | type[OpenAIApi], dict[str, Any]]:
        """Choose the provider, and what its requests carry besides."""
        from .providers.openai_api import OpenAIApi

        provider = provider_for(settings.url(self.url))
        extra: dict[str, Any] = {}
        if not issubclass(provider, OpenAIApi):
            if self.provider:
                extra["provider"] = self.provider
            if continues and (state := self._states.get(self._last_provider)):
                extra["conversation"] = state
        return provider, extra


def provider_for(url: str | None) -> type[BackendApi] | type[OpenAIApi]:
    """Choose the provider by the server's url; without one it is the embedded backend's."""
    from .providers.backend_api import BackendApi
    from .providers.openai_api import OpenAIApi

    if url is None:
        return BackendApi
    if re.search(r"/v\d+\w*$", url):
        return type("OpenAIApi", (OpenAIApi,), {"url": url})
    return type("BackendApi", (BackendApi,), {"url": url})
