"""What every provider is made of: one POST, answered by a stream of events."""

from __future__ import annotations

import asyncio
import re
import ssl as tls
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Self, TypeVar
from urllib.parse import unquote, urlsplit

from .. import debug, settings
from ..addresses import own_url
from ..errors import BackendError, ConnectionFailed, ProtocolError
from ..events import RawResponse
from ..redaction import is_secret_name
from ..typing import AsyncResult, MediaListType, Messages
from .attempts import Attempts
from .echo import Echo
from .failures import event_error, not_a_backend
from .pool import shared
from .session import StreamSession
from .wire import EventDecoder, encode_json

T = TypeVar("T")

_MANY_TEXTS = 1000
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
    from the settings; several, separated by spaces, are asked in turn), ``ssl`` (as aiohttp takes it; ``None``:
    verified), ``headers``, ``connect_timeout`` and ``idle_timeout`` in seconds, ``max_retries`` before the first event;
    ``tells_waits``: a ``progress`` event, of this side, says why it asks again, whom, and after how long;
    ``keeps_text``: for the ``partial`` of a failure, unless who asks keeps all of it anyway.
    """

    url: ClassVar[str | None] = None
    ssl: ClassVar[tls.SSLContext | bool | None] = None
    headers: ClassVar[dict[str, str]] = {}
    connect_timeout: ClassVar[float] = 10
    idle_timeout: ClassVar[float] = 120
    max_retries: ClassVar[int] = 2
    tells_waits: ClassVar[bool] = False
    keeps_text: ClassVar[bool] = True

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
        given, api_key = settings.Secret(api_key), None  # no frame of a traceback shows it
        key = settings.secret(given)
        debug.log(f"{cls.__name__}: model={model!r} api_key={'set' if key.value else 'none'}")
        body = cls.body(model, messages, media, key) | kwargs
        attempts = Attempts(cls.servers(), cls.max_retries)
        while True:
            asked, failure, answered = attempts.server, None, False
            await attempts.begin()
            try:
                url, session = await asked.connect(key, "text/event-stream")
                reading = asked.reading(url, session.secrets)
                reading.keeps_text = cls.keeps_text
                try:
                    async with session, session.post(url + asked.path, json=body, ssl=asked.ssl) as response:
                        # No generators within this one: at a program's end asyncio closes all of them at once
                        while not reading.done and (events := reading.feed(await response.read())) is not None:
                            for event in events:
                                yield event
                except BackendError as error:
                    failure = error
                for event in reading.end(whole=failure is None):
                    yield event
                failure = reading.verdict(failure)
                answered = failure is None
            finally:
                attempts.end(answered=answered)
            if failure is None:
                return
            if session.is_used and isinstance(failure, ConnectionFailed) and not reading.started:
                continue  # the server had closed what was kept open for it
            failure = await asked.explained(url, failure)
            if reading.started:
                raise failure
            event = attempts.after(failure)
            if cls.tells_waits:
                yield event
            if attempts.delay is not None:
                await asyncio.sleep(attempts.delay)

    @classmethod
    def servers(cls) -> tuple[type[Self], ...]:
        """Give what is asked in turn: this, or one for each url if there are several."""
        urls = settings.urls(cls.url)
        if len(urls) < 2:
            return (cls,)
        return tuple(type(cls.__name__, (cls,), {"url": url}) for url in urls)

    @classmethod
    async def explained(cls, url: str, failure: BackendError) -> BackendError:
        """Give the failure of a call with what is known besides."""
        return failure

    @classmethod
    async def get_file(cls, address: str, most: int, api_key: str | None = None) -> bytes:
        """Fetch a file of the server's own, of ``most`` bytes; ``ValueError`` for an address that is another's.

        The calls of g4f's backend API are no files: some of them do something (``create`` makes an image), so no
        redirect may lead there. What is not below the server's url may be somebody else's: the key is not sent there.
        """
        given, api_key = settings.Secret(api_key), None
        server, session = await cls.connect(settings.secret(given), "image/*", key_in_header=True)
        url = own_url(server, address)
        if url is None or "/backend-api/" in unquote(url).casefold():
            raise ValueError(f"no file on {server}")
        if not _is_below(server, url):
            session.headers = {name: session.headers[name] for name in ("Accept", "Accept-Encoding")}
        session.follows_redirects = False
        async with session:
            return await session.get_bytes(url, most, ssl=cls.ssl)

    @classmethod
    async def get_document(cls, path: str, key: settings.Secret, read: Callable[[Any], T]) -> T:
        """Fetch a JSON document of the server's and give what ``read`` makes of it; ``ProtocolError`` if it cannot."""
        url, session = await cls.connect(key, "application/json", key_in_header=True)
        async with session:
            found = await session.get_json(url + path, ssl=cls.ssl)
        with suppress(AttributeError, KeyError, TypeError):
            return read(found)
        failure = not_a_backend(url, encode_json(found), session.secrets)
        del found  # no frame of a traceback shows what a server may have repeated
        raise failure

    @classmethod
    async def server(cls, key: settings.Secret) -> tuple[str, dict[str, str]]:
        """Give the server's url and the headers it wants."""
        raise NotImplementedError

    @classmethod
    def body(cls, model: str, messages: Messages, media: MediaListType, key: settings.Secret) -> dict[str, Any]:
        """Give the request's body, but for the keywords of the call."""
        raise NotImplementedError

    @classmethod
    def reading(cls, url: str, secrets: Sequence[str]) -> Reading:
        """Give what understands the answer."""
        return Reading(url, secrets)

    @classmethod
    async def connect(
        cls, key: settings.Secret, accept: str, *, key_in_header: bool = False
    ) -> tuple[str, StreamSession]:
        """Give the server's url and a session with the options of the class, to be opened.

        The key, and what the headers have of the kind, are kept out of what comes back.
        """
        url, headers = await cls.server(key)
        if key_in_header and key.value and "Authorization" not in headers:
            headers = {"x-api-key": key.value, **headers}
        in_headers = [value.removeprefix("Bearer ") for name, value in headers.items() if is_secret_name(name)]
        pool = shared.get()
        return url, (pool.session if pool else StreamSession)(
            {"Accept": accept, **headers},
            connect_timeout=cls.connect_timeout,
            idle_timeout=cls.idle_timeout,
            secrets=(*([key.value] if key.value else []), *in_headers),
        )


def _is_below(server: str, url: str) -> bool:
    """Whether a url on a server is below the server's own, but for its ``/v1``; not if others may read it otherwise."""
    base, path = re.sub(r"(?:/v\d+\w*)?/*$", "", urlsplit(server).path), urlsplit(url).path
    unclear = re.search(r"%(?:2e|2f|5c|25)|/\.\.?(?:[/;]|$)", path, re.IGNORECASE)
    return not base or (path.startswith(f"{base}/") and not unclear)


class Reading:
    """Understands an answer piece by piece, and in the end how it ended. ``secrets`` are kept out of what it says."""

    def __init__(self, url: str, secrets: Sequence[str] = ()) -> None:
        self._url = url
        self._secrets = secrets
        self._echo = Echo(secrets)
        self._decoder = EventDecoder()
        self._understood = False  # an event was a backend's
        self.keeps_text = True
        self._text: list[str] = []
        self._texts: list[str] = []  # behind it, of the last events
        self._error: RawResponse | None = None
        self._message: RawResponse | None = None  # an error if nothing of the answer follows it
        self._before = 0  # so many texts
        self._finished = False

    @property
    def started(self) -> bool:
        """Whether the server had begun to answer."""
        return self._decoder.events > 0

    @property
    def done(self) -> bool:
        """Whether the server says that nothing follows."""
        return self._decoder.done

    def feed(self, chunk: bytes) -> list[RawResponse] | None:
        """Give the events that are complete with these bytes; None if there are none any more."""
        return self._noted(self.translate(self._decoder.feed(chunk))) if chunk else None

    def end(self, *, whole: bool) -> list[RawResponse]:
        """Give the events that only the end completes; ``whole`` says that the body is not a broken one."""
        events = self._noted([*self.translate(self._decoder.flush()), *self.rest(whole=whole)])
        held = self._echo.held()
        self._texts += map(str, held)
        self._before += len(held)  # it came before a message that was noted last, too
        return events + held

    def verdict(self, failure: BackendError | None) -> BackendError | None:
        """Say what went wrong, if anything: what the server says goes before how the connection fared."""
        if said := self._error or (self._message if self._before == len(self._texts) else None):
            failure = event_error(said, self._secrets)
        elif self._finished or self.done:
            return None
        elif failure is None and not self._understood:
            failure = not_a_backend(self._url, self._decoder.start, self._secrets)
        elif failure is None and self._decoder.truncated:
            failure = ProtocolError("The answer broke off in the middle of an event: ask again")
        if failure is not None:
            failure.partial = "".join([*self._text, *self._texts]) if self.keeps_text else ""
        return failure

    def translate(self, events: list[RawResponse]) -> list[RawResponse]:
        """Give the events of a backend for those that came; a provider with another dialect says how."""
        return events

    def rest(self, *, whole: bool) -> list[RawResponse]:
        """Give the events that are known only at the end of the body; ``whole`` says that it is not a broken one."""
        return []

    def _noted(self, events: list[RawResponse]) -> list[RawResponse]:
        events = self._echo.cleared(events)
        texts = self._texts
        for event in events:
            data = event._data
            if data.get("type") == "content" and type(text := data.get("content")) is str:  # as nearly every event
                texts.append(text)
            else:
                self._note(event)
        self._understood = self._understood or any(event.type for event in events)
        if len(texts) > _MANY_TEXTS and self._message is None:
            if self.keeps_text:
                self._text.append("".join(texts))  # by themselves short ones take ten times their length
            texts.clear()
        return events

    def _note(self, event: RawResponse) -> None:
        kind = event.type
        if kind in ("content", "reasoning", "tool_calls", "finish"):
            self._texts.append(str(event))
            self._finished = self._finished or kind == "finish"
        elif kind == "message":
            self._message, self._before = event, len(self._texts)
        elif kind in ("error", "auth") or (not kind and event.get("error")):
            self._error = event
