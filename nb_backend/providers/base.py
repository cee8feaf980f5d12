"""What every provider is made of: one POST, answered by a stream of events."""

from __future__ import annotations

import asyncio
import re
import ssl as tls
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Self
from urllib.parse import unquote, urlsplit

from .. import debug, settings
from ..addresses import own_url
from ..errors import BackendError, ProtocolError
from ..typing import AsyncResult, MediaListType, Messages
from .failures import delay_before_retry, event_error, not_a_backend
from .response import RawResponse
from .session import StreamSession
from .wire import EventDecoder

ABILITIES = ("vision", "audio", "image")  # of models, as g4f names them


class Model(str):
    """A model's id, with what the server says of it: ``label``, ``provider``, and whether it sees images (``vision``),
    has to do with ``audio``, or makes an ``image``; ``None`` is not said.
    """

    label: str
    provider: str
    vision: bool | None
    audio: bool | None
    image: bool | None

    @classmethod
    def of(cls, name: object, *, label: object = "", provider: object = "", **abilities: object) -> Self:
        """Make a model of its id and what the server says of it; what is said oddly is not said."""
        if not isinstance(name, str):
            raise TypeError(f"a model's id is a text, not {type(name).__name__}")
        model = cls(name)
        model.label = label if isinstance(label, str) and label else name
        model.provider = provider if isinstance(provider, str) else ""
        for ability in ABILITIES:
            can = abilities.get(ability)
            setattr(model, ability, can if isinstance(can, bool) else None)
        return model


class ProviderModelMixin:
    """What a provider says about its models."""

    @classmethod
    async def get_models(cls, provider: str | None = None, *, api_key: str | None = None) -> list[Model]:
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

    path: ClassVar[str] = ""  # of the call, behind the url

    @classmethod
    async def create_async_generator(
        cls, model: str, messages: Messages, media: MediaListType = None, api_key: str | None = None, **kwargs: Any
    ) -> AsyncResult:
        """Ask, and give the events of the answer as they come; what fails before the first of them is tried again.

        ``media`` is a list of ``(data, file name)``, data being whatever ``to_data_uri`` takes; every other keyword
        goes into the body as it is. Raises one of the six ``BackendError`` kinds, ``.partial`` holding the text that
        had arrived; ``ValueError`` or ``TypeError`` for what cannot be sent, before anything is.
        """
        key = settings.api_key(api_key)
        debug.log(f"{cls.__name__}: model={model!r} api_key={'set' if key else 'none'}")
        body = cls.body(model, messages, media, key) | kwargs
        for attempt in range(cls.max_retries + 1):
            url, headers = await cls.server(key)
            reading, failure = cls.reading(url, key), None
            try:
                async with (
                    cls.session({"Accept": "text/event-stream", **headers}, key) as session,
                    session.post(url + cls.path, json=body, ssl=cls.ssl) as response,
                ):
                    # No generators within this one: at a program's end asyncio closes all of them at once
                    while not reading.done and (chunk := await response.read()):
                        for event in reading.feed(chunk):
                            yield event
            except BackendError as error:
                failure = error
            for event in reading.end(whole=failure is None):
                yield event
            failure = reading.verdict(failure)
            if failure is None:
                return
            if reading.started or attempt == cls.max_retries or not failure.retryable:
                raise failure
            await asyncio.sleep(delay_before_retry(attempt, failure))

    @classmethod
    async def get_file(cls, address: str, most: int, api_key: str | None = None) -> bytes:
        """Fetch a file of the server's own, of ``most`` bytes; ``ValueError`` for an address that is another's.

        The calls of g4f's backend API are no files: some of them do something (``create`` makes an image), so no
        redirect may lead there. What is not below the server's url may be somebody else's: the key is not sent there.
        """
        key = settings.api_key(api_key)
        server, headers = await cls.server(key)
        url = own_url(server, address)
        if url is None or "/backend-api/" in unquote(url).casefold():
            raise ValueError(f"no file on {server}")
        if key and "Authorization" not in headers:
            headers = {"x-api-key": key, **headers}
        async with cls.session({"Accept": "image/*", **(headers if _is_below(server, url) else {})}, key) as session:
            session.follows_redirects = False
            return await session.get_bytes(url, most, ssl=cls.ssl)

    @classmethod
    async def server(cls, key: str | None) -> tuple[str, dict[str, str]]:
        """Give the server's url and the headers it wants."""
        raise NotImplementedError

    @classmethod
    def body(cls, model: str, messages: Messages, media: MediaListType, key: str | None) -> dict[str, Any]:
        """Give the request's body, but for the keywords of the call."""
        raise NotImplementedError

    @classmethod
    def reading(cls, url: str, key: str | None) -> Reading:
        """Give what understands the answer."""
        return Reading(url, key)

    @classmethod
    def session(cls, headers: dict[str, str], secret: str | None = None) -> StreamSession:
        """Open a session with the options of the class; ``secret`` is kept out of what it raises."""
        return StreamSession(headers, connect_timeout=cls.connect_timeout, idle_timeout=cls.idle_timeout, secret=secret)


def _is_below(server: str, url: str) -> bool:
    """Whether a url on a server is below the server's own, but for its ``/v1``; not if others may read it otherwise."""
    base, path = re.sub(r"(?:/v\d+\w*)?/*$", "", urlsplit(server).path), urlsplit(url).path
    unclear = re.search(r"%(?:2e|2f|5c|25)|/\.\.?(?:[/;]|$)", path, re.IGNORECASE)
    return not base or (path.startswith(f"{base}/") and not unclear)


class Reading:
    """Understands an answer piece by piece, and in the end how it ended. ``secret`` is kept out of what it says."""

    def __init__(self, url: str, secret: str | None = None) -> None:
        self._url = url
        self._secret = secret
        self._decoder = EventDecoder()
        self._understood = False  # an event was a backend's
        self._texts: list[str] = []
        self._error: RawResponse | None = None
        self._message: RawResponse | None = None  # an error if nothing of the answer follows it
        self._finished = False

    @property
    def started(self) -> bool:
        """Whether the server had begun to answer."""
        return self._decoder.events > 0

    @property
    def done(self) -> bool:
        """Whether the server says that nothing follows."""
        return self._decoder.done

    def feed(self, chunk: bytes) -> Iterator[RawResponse]:
        """Give the events that are complete with these bytes."""
        return self._noted(self.translate(self._decoder.feed(chunk)))

    def end(self, *, whole: bool) -> Iterator[RawResponse]:
        """Give the events that only the end completes; ``whole`` says that the body is not a broken one."""
        return self._noted([*self.translate(self._decoder.flush()), *self.rest(whole=whole)])

    def verdict(self, failure: BackendError | None) -> BackendError | None:
        """Say what went wrong, if anything: what the server says goes before how the connection fared."""
        if said := self._error or self._message:
            failure = event_error(said, self._secret)
        elif self._finished or self.done:
            return None
        elif failure is None and not self._understood:
            failure = not_a_backend(self._url, self._decoder.start, self._secret)
        elif failure is None and self._decoder.truncated:
            failure = ProtocolError("The answer broke off in the middle of an event: ask again")
        if failure is not None:
            failure.partial = "".join(self._texts)
        return failure

    def translate(self, events: list[RawResponse]) -> Iterable[RawResponse]:
        """Give the events of a backend for those that came; a provider with another dialect says how."""
        return events

    def rest(self, *, whole: bool) -> list[RawResponse]:
        """Give the events that are known only at the end of the body; ``whole`` says that it is not a broken one."""
        return []

    def _noted(self, events: Iterable[RawResponse]) -> Iterator[RawResponse]:
        for event in events:
            self._note(event)
            yield event

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
