"""What every provider is made of: one POST, answered by a stream of events."""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Any, ClassVar, Self

from ..errors import BackendError, ProtocolError
from ..typing import AsyncResult, MediaListType, Messages
from .failures import delay_before_retry, event_error, not_a_backend
from .response import RawResponse
from .session import StreamResponse, StreamSession
from .wire import EventDecoder


class Model(str):
    """A model's id, with what the server says of it: ``label``, ``provider`` and ``vision`` (``None``: not said)."""

    label: str
    provider: str
    vision: bool | None

    @classmethod
    def of(cls, name: object, *, label: str = "", provider: str = "", vision: bool | None = None) -> Self:
        """Make a model of its id and what the server says of it."""
        if not isinstance(name, str):
            raise TypeError(f"a model's id is a text, not {type(name).__name__}")
        model = cls(name)
        model.label, model.provider, model.vision = label or name, provider, vision
        return model


class ProviderModelMixin:
    """What a provider says about its models."""

    @classmethod
    async def get_models(cls, provider: str | None = None) -> list[Model]:
        """Ask the server for its models."""
        raise NotImplementedError


class AsyncGeneratorProvider:
    """A provider whose answer is an asynchronous generator of events.

    Its options are class attributes, so that every keyword of a call is free for the request's body: ``url`` (``None``:
    from the settings), ``ssl`` (as aiohttp takes it; ``None``: verified), ``headers``, ``connect_timeout`` and
    ``idle_timeout`` in seconds, ``max_retries`` before the first event.
    """

    url: ClassVar[str | None] = None
    ssl: ClassVar[tls.SSLContext | bool | None] = None
    headers: ClassVar[dict[str, str]] = {}
    connect_timeout: ClassVar[float] = 10
    idle_timeout: ClassVar[float] = 120
    max_retries: ClassVar[int] = 2

    @classmethod
    def create_async_generator(
        cls, model: str, messages: Messages, media: MediaListType = None, api_key: str | None = None, **kwargs: Any
    ) -> AsyncResult:
        """Ask, and give the events of the answer as they come."""
        raise NotImplementedError

    @classmethod
    def session(cls, headers: dict[str, str], secret: str | None = None) -> StreamSession:
        """Open a session with the options of the class; ``secret`` is kept out of what it raises."""
        return StreamSession(headers, connect_timeout=cls.connect_timeout, idle_timeout=cls.idle_timeout, secret=secret)

    @classmethod
    async def stream(
        cls, url: str, headers: dict[str, str], body: dict[str, Any], reading: Reading
    ) -> AsyncGenerator[RawResponse, None]:
        """POST the body and give the events; what fails before the first of them is tried again."""
        for attempt in range(cls.max_retries + 1):
            try:
                async with (
                    cls.session(headers, reading.secret) as session,
                    session.post(url, json=body, ssl=cls.ssl) as response,
                    aclosing(reading.events(response)) as events,
                ):
                    async for event in events:
                        yield event
                return
            except BackendError as error:
                failure = error
            if reading.started or attempt == cls.max_retries or not failure.retryable:
                raise failure
            await asyncio.sleep(delay_before_retry(attempt, failure))


class Reading:
    """Reads an answer to its end and then says how it ended. ``secret`` is kept out of what is raised."""

    def __init__(self, secret: str | None = None) -> None:
        self.secret = secret
        self.started = False  # the server had begun to answer
        self._understood = False  # one of them was a backend's
        self._texts: list[str] = []
        self._error: RawResponse | None = None
        self._message: RawResponse | None = None  # an error if nothing of the answer follows it
        self._finished = False

    async def events(self, response: StreamResponse) -> AsyncGenerator[RawResponse, None]:
        """Give every event, then raise what went wrong: what the server says goes before how the connection fared."""
        decoder = EventDecoder()
        failure: BackendError | None = None
        try:
            async with aclosing(response.iter_chunks()) as chunks:
                async for chunk in chunks:
                    for event in self.translate(decoder.feed(chunk)):
                        self._note(event)
                        yield event
                    if decoder.done:
                        break
        except BackendError as error:
            failure = error
        for event in [*self.translate(decoder.flush()), *self.rest(whole=failure is None)]:
            self._note(event)
            yield event
        self.started = decoder.events > 0
        if said := self._error or self._message:
            failure = event_error(said, self.secret)
        elif self._finished or decoder.done:
            return
        elif failure is None and not self._understood:
            failure = not_a_backend(str(response.url), decoder.start, self.secret)
        elif failure is None and decoder.truncated:
            failure = ProtocolError("The answer broke off in the middle of an event: ask again")
        if failure is not None:
            failure.partial = "".join(self._texts)
            raise failure

    def translate(self, events: list[RawResponse]) -> Iterable[RawResponse]:
        """Give the events of a backend for those that came; a provider with another dialect says how."""
        return events

    def rest(self, *, whole: bool) -> list[RawResponse]:
        """Give the events that are known only at the end of the body; ``whole`` says that it is not a broken one."""
        return []

    def _note(self, event: RawResponse) -> None:
        kind = event.type
        self._understood = self._understood or bool(kind)
        if kind == "content":
            self._texts.append(str(event))
        if kind in ("content", "reasoning", "tool_calls", "finish"):
            self._message = None
            self._finished = self._finished or kind == "finish"
        elif kind == "message":
            self._message = event
        elif kind in ("error", "auth") or (not kind and event.get("error")):
            self._error = event
