"""Send many prompts, several at a time, and keep the answers of a call that was stopped for the next one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from ..chat.answer import Answer
from ..chat.chat import Chat
from ..chat.json_answer import REPAIRED
from ..chat.request import Request
from ..chat.schema import Schema, SchemaError
from ..chat.stream import AnswerStream
from ..media.attachment import Attachment
from ..media.convert import attachments
from ..transport.pool import Pool
from .progress import Progress
from .template import is_missing


@dataclass(slots=True)
class Item:
    """One prompt of many, with its images and the model to ask; the text is made when its turn comes."""

    make_prompt: Callable[[], str]
    images: Any = None
    model: str | None = None


@dataclass(slots=True)
class Result:
    """What came back for one item: the answer, the value that it stands for, and the error if it failed.

    The value is the answer itself, or what a schema makes of it.
    """

    answer: Answer | None = None
    value: Any = None
    error: Exception | None = None

    @property
    def is_complete(self) -> bool:
        """Whether there is a value, and the server said that its answer is complete."""
        return self.error is None and self.answer is not None and self.answer.complete


@dataclass
class _ResumeState:
    """Answers that the last call left behind because it was stopped, or some items failed or are incomplete.

    ``results`` are listed by resume key. ``ended`` is the time at which the call ended (``time.monotonic``).
    """

    ended: float = 0.0
    results: dict[str, list[Result]] = field(default_factory=dict)


_resume_state = _ResumeState()


class BatchRunner:
    """Sends the items of one call; each gets a ``Chat`` of its own, made with the options ``chat``."""

    def __init__(
        self,
        items: Iterable[Item],
        total: int,
        *,
        concurrency: int,
        schema: Schema | None,
        chat: dict[str, Any],
    ) -> None:
        self.counts = Progress(total)
        self.kept = 0  # answers that the same call would not ask for again
        self._items = items
        self._concurrency = min(concurrency, total)
        self._schema = schema
        self._sends_format = schema is not None  # until the server refuses the parameter
        self._chat = chat
        self._results: list[Result | None] = [None] * total
        self._resume_keys = [""] * total
        self._key_prefixes: dict[str | None, str] = {}  # the part of a resume key that depends on the model only
        self._in_flight: dict[str, asyncio.Event] = {}  # with a cache, equal requests wait for the first of them
        self._reusable = {key: [*results] for key, results in _resume_state.results.items()}
        self._used_resume = False

    async def run(self) -> list[Result]:
        """Send all items and return a result for each, in order."""
        numbered = enumerate(self._items)
        async with Pool() as self.counts.pool, asyncio.TaskGroup() as workers:
            for _ in range(self._concurrency):
                workers.create_task(self._work(numbered))
        if self.counts.failed or self.counts.incomplete:
            self.keep()
        elif self._used_resume:
            _set_resume_state(_ResumeState())
        return [result or Result() for result in self._results]

    def keep(self) -> None:
        """Keep the complete answers so far for the next call, and set ``kept`` to their number.

        If this call has used some answers of an earlier one, the rest of those is kept too.
        """
        if self.kept:
            return
        # the answers of a call that ran at the same time are not replaced: both were stopped together
        others = _resume_state.results if _resume_state.ended > self.counts.started else {}
        kept = {key: [*results] for key, results in others.items()}
        keyed = zip(self._resume_keys, self._results, strict=True)
        done = [(key, result) for key, result in keyed if result is not None and result.is_complete]
        unused = [(key, result) for key, results in self._reusable.items() for result in results if self._used_resume]
        for key, result in (done + unused)[: self.counts.total]:
            kept.setdefault(key, []).append(result)
            self.kept += 1
        if self.kept:
            _set_resume_state(_ResumeState(time.monotonic(), kept))

    async def _work(self, numbered: Iterator[tuple[int, Item]]) -> None:
        for number, item in numbered:
            result = Result()
            try:
                await self._answer(number, item, result)
            except Exception as error:  # any failure belongs to this item alone
                error.__traceback__ = error.__context__ = None  # they would keep the frames' memory alive
                result.error = error
            self._results[number] = result
            self.counts.answered += result.error is None
            self.counts.repaired += _is_repaired(result)
            if result.error is not None:
                self.counts.add_failure(result.error)
            self.counts.incomplete += result.error is None and not result.is_complete

    async def _answer(self, number: int, item: Item, result: Result) -> None:
        """Fill the result of one item: from an earlier call, from the cache, or from the server."""
        prompt = item.make_prompt()
        images: list[Attachment] = []
        if not is_missing(item.images):
            images = await asyncio.to_thread(attachments, item.images)
        if not (prompt.strip() or images):
            raise ValueError("the prompt is empty, so nothing was sent")
        chat = Chat(item.model, **self._chat)
        request = self._request(chat, prompt, images)
        key = await asyncio.to_thread(_resume_key, request) if images else self._resume_key_of_text(item.model, prompt)
        self._resume_keys[number] = key
        if self._reuse(key, result):
            await asyncio.sleep(0)
            return
        if request.store is None:
            await self._ask(chat, request, result)
            return
        while (first := self._in_flight.get(key)) is not None:
            await first.wait()
        self._in_flight[key] = asyncio.Event()
        try:
            await self._ask(chat, request, result)
        finally:
            self._in_flight.pop(key).set()

    def _request(self, chat: Chat, prompt: str, images: list[Attachment] | None = None) -> Request:
        request = chat.request(prompt, images)
        return request if self._schema is None else request.expect(self._schema)

    def _resume_key_of_text(self, model: str | None, prompt: str) -> str:
        """Return the resume key of a prompt without images.

        It hashes the text and the key of an empty prompt. The request's own digest would cost more than all the other
        work on an item.
        """
        if model not in self._key_prefixes:
            self._key_prefixes[model] = _resume_key(self._request(Chat(model, **self._chat), ""))
        return blake2b(f"{self._key_prefixes[model]} {prompt}".encode(errors="replace"), digest_size=16).hexdigest()

    def _reuse(self, key: str, result: Result) -> bool:
        """Use an answer that an earlier call left behind; return whether there is one that still fits the schema."""
        if not (results := self._reusable.get(key)):
            return False
        self._used_resume = True
        result.answer = results.pop().answer
        with suppress(SchemaError):  # a class of the same JSON schema may have a stricter validator by now
            self._set_value(result)
            self.counts.tokens += (result.answer and result.answer.tokens) or 0
            return True
        return False

    async def _ask(self, chat: Chat, request: Request, result: Result) -> None:
        if self._schema is None:
            await self._consume(AnswerStream(request), result)
            self._set_value(result)
            return
        await self._ask_formatted(self._schema, chat, request.question["content"], request.media, result)
        try:
            self._set_value(result)
        except SchemaError as error:
            await self._ask_formatted(self._schema, chat, error.retry_prompt(), [], result)
            self._set_value(result)

    async def _ask_formatted(
        self, schema: Schema, chat: Chat, prompt: str, images: list[Attachment], result: Result
    ) -> None:
        """Ask with ``response_format``, until the server has refused it."""
        stream = chat.stream(prompt, images)
        request = stream.turn.request.expect(schema, formatted=self._sends_format)
        await self._consume(stream, result)
        self._sends_format &= request.is_formatted

    async def _consume(self, stream: AnswerStream, result: Result) -> None:
        result.answer = stream.answer
        stream.turn.request.consents.asker = None  # nobody answers the questions of many prompts
        async with aclosing(stream):
            async for _ in stream:
                pass
        self.counts.tokens += stream.answer.tokens or 0

    def _set_value(self, result: Result) -> None:
        """Set the value that the answer stands for; ``SchemaError`` if it does not fit the schema."""
        answer = result.answer or Answer()
        result.value = answer if self._schema is None else self._schema.read(answer)


def _is_repaired(result: Result) -> bool:
    return result.error is None and result.answer is not None and REPAIRED in result.answer.remarks


def _resume_key(request: Request) -> str:
    """Return what identifies a request between two calls: the digest of what is asked, and the server."""
    return f"{request.digest} {request.url}"


def _set_resume_state(state: _ResumeState) -> None:
    global _resume_state
    _resume_state = state
