"""Many questions, each on its own, so many at a time; what was answered before an interrupt is not asked again."""

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
from ..chat.context_limit import is_too_long
from ..chat.request import Request
from ..chat.stream import AnswerStream
from ..errors import BackendError
from ..media.attachment import Attachment
from ..media.convert import attachments
from ..transport.pool import Pool
from .progress import Progress
from .schema import Schema, SchemaError
from .template import is_missing


@dataclass(slots=True)
class Item:
    """One question of many: what makes its text, and what goes along."""

    prompt: Callable[[], str]
    images: Any = None
    model: str | None = None


@dataclass(slots=True)
class Result:
    """What has become of a question: what came back, what that is worth, and the error, if it failed."""

    answer: Answer | None = None
    value: Any = None
    error: Exception | None = None


@dataclass
class _ResumeState:
    """What the last call that was stopped, or of which some failed, had answered, by what tells the questions."""

    ended: float = 0.0
    results: dict[str, list[Result]] = field(default_factory=dict)


_kept = _ResumeState()


class BatchRunner:
    """The questions of a call; each is asked in a conversation of its own, with the options ``chat``."""

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
        self.kept = 0  # how many answers the same call would have from the start
        self._items = items
        self._concurrency = min(concurrency, total)
        self._schema = schema
        self._format: dict[str, Any] = {} if schema is None else {"response_format": schema.response_format}
        self._is_formatted = schema is not None  # until the server refuses the parameter
        self._chat = chat
        self._results: list[Result | None] = [None] * total
        self._keys = [""] * total
        self._bases: dict[str | None, str] = {}  # what tells the questions to a model from all others
        self._asked: dict[str, asyncio.Event] = {}  # the questions under way, where equal ones wait for one another
        self._known = {key: [*results] for key, results in _kept.results.items()}
        self._used_resume = False

    async def run(self) -> list[Result]:
        """Ask all, and give what has become of each, in order."""
        numbered = enumerate(self._items)
        async with Pool(), asyncio.TaskGroup() as workers:
            for _ in range(self._concurrency):
                workers.create_task(self._work(numbered))
        if self.counts.failed:
            self.keep()
        elif self._used_resume:
            _keep(_ResumeState())
        return [result or Result() for result in self._results]

    def keep(self) -> None:
        """Keep what is answered for the same call; and what an earlier one had left, if this has used some of it."""
        if self.kept:
            return
        # calls at the same time are stopped together
        others = _kept.results if _kept.ended > self.counts.started else {}
        kept = {key: [*results] for key, results in others.items()}
        both = zip(self._keys, self._results, strict=True)
        done = [(key, result) for key, result in both if result is not None and result.error is None]
        left = [(key, result) for key, results in self._known.items() for result in results if self._used_resume]
        for key, result in (done + left)[: self.counts.total]:
            kept.setdefault(key, []).append(result)
            self.kept += 1
        if self.kept:
            _keep(_ResumeState(time.monotonic(), kept))

    async def _work(self, numbered: Iterator[tuple[int, Item]]) -> None:
        for number, item in numbered:
            result = Result()
            try:
                await self._answer(number, item, result)
            except Exception as error:  # whatever it is, it is this one's alone
                error.__traceback__ = error.__context__ = None  # they hold on to much
                result.error = error
            self._results[number] = result
            self.counts.answered += result.error is None
            self.counts.failed += result.error is not None

    async def _answer(self, number: int, item: Item, result: Result) -> None:
        prompt = item.prompt()
        images: list[Attachment] = []
        if not is_missing(item.images):
            images = await asyncio.to_thread(attachments, item.images)
        if not (prompt.strip() or images):
            raise ValueError("the prompt is empty, so nothing was asked")
        chat = Chat(item.model, **self._chat)
        request = chat.request(prompt, images, **self._format)
        key = self._keys[number] = await asyncio.to_thread(_key, request) if images else self._key_of(item, prompt)
        if self._reuse(key, result):
            await asyncio.sleep(0)
            return
        if request.store is None:
            await self._ask(chat, request, result)
            return
        while (same := self._asked.get(key)) is not None:
            await same.wait()
        self._asked[key] = asyncio.Event()
        try:
            await self._ask(chat, request, result)
        finally:
            self._asked.pop(key).set()

    def _key_of(self, item: Item, prompt: str) -> str:
        """Give what tells a question without images from others of this call and the next.

        That is its text, and the digest of one without: its own would take longer than all else that is done here.
        """
        if item.model not in self._bases:
            self._bases[item.model] = _key(Chat(item.model, **self._chat).request("", **self._format))
        return blake2b(f"{self._bases[item.model]} {prompt}".encode(errors="replace"), digest_size=16).hexdigest()

    def _reuse(self, key: str, result: Result) -> bool:
        """Take an answer that an earlier call had left, if there is one."""
        if not (known := self._known.get(key)):
            return False
        self._used_resume = True
        result.answer = known.pop().answer
        with suppress(SchemaError):  # the schema is the same in JSON, and stricter
            self._read(result)
            self.counts.tokens += (result.answer and result.answer.tokens) or 0
            return True
        return False

    async def _ask(self, chat: Chat, request: Request, result: Result) -> None:
        if self._schema is None:
            await self._consume(AnswerStream(request), result)
            self._read(result)
            return
        await self._ask_formatted(chat, request.question["content"], request.media, result)
        try:
            self._read(result)
        except SchemaError as error:
            await self._ask_formatted(chat, error.retry_prompt(), [], result)
            self._read(result)

    async def _ask_formatted(self, chat: Chat, prompt: str, images: list[Attachment], result: Result) -> None:
        """Ask; without ``response_format`` if the server refuses that, or had refused it when an answer was kept."""
        stream, plain = chat.stream(prompt, images, **self._format), chat.stream(prompt, images)
        if not self._is_formatted or _is_kept(plain) > _is_kept(stream):
            await self._consume(plain, result)
            return
        try:
            await self._consume(stream, result)
        except BackendError as error:
            if error.partial or is_too_long(error) or not Schema.is_refused(error):
                raise
            await self._consume(plain, result)
            self._is_formatted = False

    async def _consume(self, stream: AnswerStream, result: Result) -> None:
        result.answer = stream.answer
        async with aclosing(stream):
            async for _ in stream:
                pass
        self.counts.tokens += stream.answer.tokens or 0

    def _read(self, result: Result) -> None:
        """Set what the answer is worth; ``SchemaError`` if it does not fit."""
        answer = result.answer or Answer()
        result.value = answer if self._schema is None else self._schema.read(answer)


def _key(request: Request) -> str:
    """Give what tells a question from others: its digest, and whom it asks."""
    return f"{request.digest} {request.url}"


def _is_kept(stream: AnswerStream) -> bool:
    """Whether the store has the answer."""
    request = stream.turn.request
    with suppress(ValueError):  # it has not, and no server is to be asked
        return request.store is not None and request.recorded() is not None
    return False


def _keep(kept: _ResumeState) -> None:
    global _kept
    _kept = kept
