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
from ..errors import BackendError, ConnectionFailed
from ..redaction import is_secret_name
from ..transport.errors import not_an_answer
from ..transport.json_body import encode_json
from ..transport.pool import current_pool
from ..transport.routing import same_origin_url
from ..transport.session import StreamSession
from ..typing import AsyncResult, MediaListType, Messages
from .model import Model
from .reader import ResponseReader
from .retry import RetryPolicy

T = TypeVar("T")


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
    ``reports_retries``: a ``progress`` event, of this side, says why it asks again, whom, and after how long;
    ``collects_partial``: for the ``partial`` of a failure, unless who asks keeps all of it anyway.
    """

    url: ClassVar[str | None] = None
    ssl: ClassVar[tls.SSLContext | bool | None] = None
    headers: ClassVar[dict[str, str]] = {}
    connect_timeout: ClassVar[float] = 10
    idle_timeout: ClassVar[float] = 120
    max_retries: ClassVar[int] = 2
    reports_retries: ClassVar[bool] = False
    collects_partial: ClassVar[bool] = True

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
        attempts = RetryPolicy(cls.servers(), cls.max_retries)
        while True:
            asked, failure, answered = attempts.server, None, False
            await attempts.begin()
            try:
                url, session = await asked.connect(key, "text/event-stream")
                reading = asked.make_reader(url, session.secrets)
                reading.collects_partial = cls.collects_partial
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
                failure = reading.error(failure)
                answered = failure is None
            finally:
                attempts.end(answered=answered)
            if failure is None:
                return
            if session.is_reused and isinstance(failure, ConnectionFailed) and not reading.started:
                continue  # the server had closed what was kept open for it
            failure = await asked.explain_error(url, failure)
            if reading.started:
                raise failure
            event = attempts.next_step(failure)
            if cls.reports_retries:
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
    async def explain_error(cls, url: str, failure: BackendError) -> BackendError:
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
        url = same_origin_url(server, address)
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
        failure = not_an_answer(url, encode_json(found), session.secrets)
        del found  # no frame of a traceback shows what a server may have repeated
        raise failure

    @classmethod
    async def endpoint(cls, key: settings.Secret) -> tuple[str, dict[str, str]]:
        """Give the server's url and the headers it wants."""
        raise NotImplementedError

    @classmethod
    def body(cls, model: str, messages: Messages, media: MediaListType, key: settings.Secret) -> dict[str, Any]:
        """Give the request's body, but for the keywords of the call."""
        raise NotImplementedError

    @classmethod
    def make_reader(cls, url: str, secrets: Sequence[str]) -> ResponseReader:
        """Give what understands the answer."""
        return ResponseReader(url, secrets)

    @classmethod
    async def connect(
        cls, key: settings.Secret, accept: str, *, key_in_header: bool = False
    ) -> tuple[str, StreamSession]:
        """Give the server's url and a session with the options of the class, to be opened.

        The key, and what the headers have of the kind, are kept out of what comes back.
        """
        url, headers = await cls.endpoint(key)
        if key_in_header and key.value and "Authorization" not in headers:
            headers = {"x-api-key": key.value, **headers}
        in_headers = [value.removeprefix("Bearer ") for name, value in headers.items() if is_secret_name(name)]
        pool = current_pool.get()
        return url, (pool.session if pool else StreamSession)(
            {"Accept": accept, **headers},
            connect_timeout=cls.connect_timeout,
            idle_timeout=cls.idle_timeout,
            secrets=(*([key.value] if key.value else []), *in_headers),
        )


class Provider(AsyncGeneratorProvider, ProviderModelMixin):
    """Base class of the dialects: what the package needs to know of one, besides how it streams and lists models.

    A new dialect is a subclass in a file of its own, and a line in ``registry.DIALECTS``.
    """

    dialect: ClassVar[str]
    """Name of the dialect in cache keys: if it changes, stored answers are no longer found."""
    has_server_state: ClassVar[bool] = False
    """Whether the server remembers the chat: the state that it sends in ``conversation`` events is sent back."""
    lists_all_models: ClassVar[bool] = True
    """Whether ``get_models()`` lists the models of all services, with all that the server says about them."""

    @classmethod
    def accepts(cls, url: str) -> bool:
        """Whether a server with this base url is asked in this dialect if the user names none."""
        return False

    @classmethod
    def base_url(cls, url: str) -> str:
        """Return the url without the path of the call, which many people paste along with it."""
        return url.removesuffix(cls.path).rstrip("/")


def _is_below(server: str, url: str) -> bool:
    """Whether a url on a server is below the server's own, but for its ``/v1``; not if others may read it otherwise."""
    base, path = re.sub(r"(?:/v\d+\w*)?/*$", "", urlsplit(server).path), urlsplit(url).path
    unclear = re.search(r"%(?:2e|2f|5c|25)|/\.\.?(?:[/;]|$)", path, re.IGNORECASE)
    return not base or (path.startswith(f"{base}/") and not unclear)
