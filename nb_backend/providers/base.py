"""Base classes of providers: one POST, answered by a stream of events."""

from __future__ import annotations

import asyncio
import re
import ssl as tls
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Self, TypeVar
from urllib.parse import unquote, urlsplit

from .. import debug, settings
from ..errors import BackendError, ConnectionFailed
from ..redaction import is_secret_name
from ..services import Service
from ..transport.errors import not_an_answer, retry_after
from ..transport.json_body import encode_json
from ..transport.pool import current_pool
from ..transport.routing import same_origin_url
from ..transport.session import StreamSession
from ..typing import AsyncResult, MediaListType, Messages
from .key_errors import explain_key, explain_refusal, missing_key, missing_model
from .model import Model
from .reader import ResponseReader
from .retry import RetryPolicy

T = TypeVar("T")

FINISH_SECONDS = 2.0
"""How long the end of the connection, a count of tokens or a log is waited for after a finish reason or an error."""

MAX_LESSONS = 4
"""How many times a request is sent again because the server said what it does not accept."""


class ProviderModelMixin:
    """Lists the models of a server."""

    @classmethod
    async def get_models(cls, provider: str | None = None, *, api_key: str | None = None) -> list[Model]:
        """Return the models that the server lists; ``provider`` is the name of a service that it routes to."""
        raise NotImplementedError


class AsyncGeneratorProvider:
    """A provider whose answer is an asynchronous generator of events.

    Its options are class attributes, because each keyword of a call goes into the request's body. Subclass to change
    them: ``type("Api", (BackendApi,), {"url": "http://localhost:8080"})``.
    """

    url: ClassVar[str | None] = None
    """Base url of the server; several, separated by spaces, are tried in turn; ``None``: the url of the settings."""
    named_urls: ClassVar[Mapping[str, str]] = {}
    """For a url that was completed, as by ``/v1``, the url that the user has set, whose key is sent."""
    ssl: ClassVar[tls.SSLContext | bool | None] = None
    """TLS options in the form that aiohttp takes; ``None``: certificates are verified."""
    headers: ClassVar[dict[str, str]] = {}
    """Further headers of each request."""
    connect_timeout: ClassVar[float] = 10
    """Seconds until the connection is open."""
    idle_timeout: ClassVar[float] = 120
    """Seconds without data after which the answer fails."""
    max_retries: ClassVar[int] = 2
    """How many times a failed request is sent again, as long as nothing of an answer has arrived."""
    reports_retries: ClassVar[bool] = False
    """Whether a ``progress`` event announces each retry and each change of server."""
    reports_ending: ClassVar[bool] = False
    """Whether the last event of an answer that did not fail says how it ended (``ending``)."""
    collects_partial: ClassVar[bool] = True
    """Whether the text is collected for ``partial`` of a failure. ``Chat`` collects it itself."""

    path: ClassVar[str] = ""
    """Path of the request, which is appended to the url."""
    service: ClassVar[Service | None] = None
    """The service that is asked, if it is one of the table; its key is sent, and its differences count."""

    @classmethod
    async def create_async_generator(
        cls, model: str, messages: Messages, media: MediaListType = None, api_key: str | None = None, **kwargs: Any
    ) -> AsyncResult:
        """Send a prompt and yield the events of the answer as they arrive.

        ``messages`` are dicts of ``role`` and ``content``. ``media`` is a list of ``(data, file name)``, where data is
        anything that ``to_data_uri`` accepts. Other keywords go into the body unchanged. Temporary failures are retried
        as long as nothing of an answer has arrived: neither an event, nor anything but the events that a server sends
        before it refuses the request with an error event.

        Raises one of the six kinds of ``BackendError``; its ``partial`` is the text that arrived. Raises ``ValueError``
        or ``TypeError`` for arguments that cannot be sent, before anything is sent.
        """
        given, api_key = settings.Secret(api_key), None  # keeps the key out of the frames of a traceback
        key = await cls.find_key(given)
        if refusal := missing_model(cls, model) or missing_key(cls, key):
            raise refusal
        debug.log(f"{cls.__name__}: model={model!r} api_key={'set' if key.value else 'none'}")
        body = cls.request_body(model, messages, media, key, kwargs)
        servers, lessons = cls.servers(), 0
        paused: ResponseReader | None = None  # reader of the part of the answer before this request
        retries = RetryPolicy(servers, cls.max_retries)
        while True:
            provider, failure, answered = retries.server, None, False
            await retries.begin()
            try:
                url, session = await provider.connect(key, provider.accepted(body))
                reader = provider.make_reader(url, session.secrets)
                reader.collects_partial, reader.servers = cls.collects_partial, len(servers)
                if paused is not None:
                    reader.resume(paused)
                try:
                    sent, address = provider.fitted(url, body), provider.call_address(url, body)
                    async with session, session.post(address, json=sent, ssl=provider.ssl) as response:
                        reader.wait, reader.sent = retry_after(response.headers), sent
                        endings = 0
                        # No inner generator: when a program ends, asyncio closes all generators at once
                        while not reader.done and (events := reader.feed(await response.read())) is not None:
                            for event in events:
                                yield event
                            if reader.endings > endings:
                                endings = reader.endings
                                response.end_within(FINISH_SECONDS)
                except BackendError as error:
                    failure = error
                for event in reader.end(whole=failure is None):
                    yield event
                failure = reader.error(failure)
                answered = failure is None
            finally:
                retries.end(answered=answered)
            if failure is None and (following := provider.continuation(sent, reader)) is not None:
                body, paused = following, reader
                continue
            if failure is None:
                if cls.reports_ending:
                    yield reader.ending()
                return
            if session.is_reused and isinstance(failure, ConnectionFailed) and not reader.started:
                continue  # the server has closed the idle connection
            if lessons < MAX_LESSONS and not reader.has_begun and await provider.learn(url, body, sent, failure, key):
                lessons += 1
                continue
            failure = explain_refusal(provider, await provider.explain_error(url, failure, body, key), given)
            if reader.started and not reader.refusals:
                raise failure
            try:
                event = retries.next_step(failure)
            except BackendError:
                for event in reader.refusals:
                    yield event
                raise
            if cls.reports_retries:
                yield event
            if retries.delay is not None:
                await asyncio.sleep(retries.delay)

    @classmethod
    def servers(cls) -> tuple[type[Self], ...]:
        """Return the classes to try in turn: this one, or a subclass for each url if there are several."""
        urls = settings.urls(cls.url)
        if len(urls) < 2:
            return (cls,)
        return tuple(map(cls.at, urls))

    @classmethod
    def at(cls, url: str) -> type[Self]:
        """Return this class for one server."""
        return type(cls.__name__, (cls,), {"url": url})

    @classmethod
    def key(cls, given: settings.Secret) -> settings.Secret:
        """Return the key of a request: the given one, else that of the service or of the settings for this server."""
        return cls.key_and_origin(given)[0]

    @classmethod
    def key_and_origin(cls, given: settings.Secret) -> tuple[settings.Secret, str]:
        """Return the key of a request, and where it is from, as ``settings.find_key`` names it."""
        urls = " ".join(cls.named_urls.get(one, one) for one in (cls.url or "").split())
        return settings.find_key(given, urls or None, cls.service)

    @classmethod
    async def find_key(cls, given: settings.Secret) -> settings.Secret:
        """Return the key of a request. The system keyring is asked in a thread, as it may wait for the user."""
        if not given.value and cls.service is not None and settings.wants_keyring(cls.service):
            await asyncio.to_thread(settings.ask_keyring, cls.service)
        return cls.key(given)

    @classmethod
    def address(cls, url: str, path: str) -> str:
        """Return the address of a path below a server's url, with the url's query behind it."""
        base, mark, query = url.partition("?")
        return f"{base.rstrip('/')}{path}{mark}{query}"

    @classmethod
    def call_address(cls, url: str, body: dict[str, Any]) -> str:
        """Return the address that a request is posted to; a dialect may put fields of the body into it."""
        return cls.address(url, cls.path)

    @classmethod
    def request_body(
        cls, model: str, messages: Messages, media: MediaListType, key: settings.Secret, fields: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the body of a request with the keywords of the call; without a ``model`` if that is ``""``."""
        body = cls.body(model, messages, media, key)
        if isinstance(named := body.get("model"), str) and not named.strip():
            del body["model"]
        return cls.with_fields(body, fields)

    @classmethod
    def with_fields(cls, body: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
        """Return the body with the keywords of the call, unchanged."""
        return body | fields

    @classmethod
    def accepted(cls, body: dict[str, Any]) -> str:
        """Return the header ``Accept`` of a request."""
        return "text/event-stream"

    @classmethod
    def fitted(cls, url: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the body as the server at this url accepts it, as far as that is known."""
        return body

    @classmethod
    def continuation(cls, sent: dict[str, Any], reader: ResponseReader) -> dict[str, Any] | None:
        """Return the body of a request that continues an answer, or ``None`` if the answer has ended.

        It is called after each request that has not failed. The request is sent at once, and its events belong to the
        same answer; its reader starts with ``resume``.
        """
        return None

    @classmethod
    async def learn(
        cls, url: str, body: dict[str, Any], sent: dict[str, Any], failure: BackendError, key: settings.Secret
    ) -> bool:
        """Remember what a failure says about refused fields; return whether ``fitted`` now differs."""
        return False

    @classmethod
    async def explain_error(
        cls, url: str, failure: BackendError, body: dict[str, Any], key: settings.Secret
    ) -> BackendError:
        """Return the failure of a request, or one that explains it better; ``url`` is the server that failed."""
        return failure

    @classmethod
    async def get_file(cls, address: str, max_bytes: int, api_key: str | None = None) -> bytes:
        """Fetch a file of at most ``max_bytes`` bytes from the server; ``ValueError`` if the address is not on it.

        Addresses of g4f's backend API are refused, and redirects are not followed, as they may lead there: a GET can
        have effects (``create`` makes an image). The key is sent only to addresses below the server's url: others on
        the same host may belong to somebody else.
        """
        given, api_key = settings.Secret(api_key), None
        server, session = await cls.connect(await cls.find_key(given), "image/*", key_in_header=True)
        url = same_origin_url(server, address)
        if url is None or "/backend-api/" in unquote(url).casefold():
            raise ValueError(f"this is not the address of a file on {server}")
        if not _is_below(server, url):
            session.headers = {name: session.headers[name] for name in ("Accept", "Accept-Encoding")}
        session.follows_redirects = False
        async with session:
            return await session.get_bytes(url, max_bytes, ssl=cls.ssl)

    @classmethod
    async def get_document(cls, path: str, key: settings.Secret, read: Callable[[Any], T]) -> T:
        """Fetch a JSON document and return ``read(document)``; ``ProtocolError`` if its shape is wrong.

        ``key`` is the key that the caller was given, if any. ``path`` may be a whole url.
        """
        url, session = await cls.connect(await cls.find_key(key), "application/json", key_in_header=True)
        async with session:
            address = path if "://" in path else cls.address(url, path)
            try:
                document = await session.get_json(address, ssl=cls.ssl)
            except BackendError as error:
                raise explain_key(cls, error, key) from None
        with suppress(AttributeError, KeyError, TypeError):
            return read(document)
        failure = not_an_answer(url, encode_json(document), session.secrets)
        del document  # a server may have repeated the key in it, and tracebacks show frames
        raise failure

    @classmethod
    async def endpoint(cls, key: settings.Secret) -> tuple[str, dict[str, str]]:
        """Return the server's url and the headers of a request, with the key if it is sent as a header."""
        raise NotImplementedError

    @classmethod
    def body(cls, model: str, messages: Messages, media: MediaListType, key: settings.Secret) -> dict[str, Any]:
        """Return the request's body, without the keywords of the call."""
        raise NotImplementedError

    @classmethod
    def make_reader(cls, url: str, secrets: Sequence[str]) -> ResponseReader:
        """Return a reader that turns the body of an answer into events."""
        return ResponseReader(url, secrets)

    @classmethod
    async def connect(
        cls, key: settings.Secret, accept: str, *, key_in_header: bool = False
    ) -> tuple[str, StreamSession]:
        """Return the server's url and a session that is not open yet.

        The session masks the key, and the values of secret headers, in errors. With ``key_in_header`` the key is sent
        as ``x-api-key`` unless a header has one already.
        """
        url, headers = await cls.endpoint(key)
        if key_in_header and key.value and not any(map(is_secret_name, headers)):
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
    """Base class of a dialect's provider. A new dialect is a subclass in its own file and a line in ``registry``."""

    dialect: ClassVar[str]
    """Name of the dialect in cache keys: if it changes, stored answers are no longer found."""
    has_server_state: ClassVar[bool] = False
    """Whether the server remembers the chat: the state that it sends in ``conversation`` events is sent back."""
    other_paths: ClassVar[tuple[str, ...]] = ()
    """Further ends of an address that name the dialect."""
    lists_all_models: ClassVar[bool] = True
    """Whether ``get_models()`` lists the models of all services, with all that the server says about them."""
    keeps_state: ClassVar[bool] = True
    """Whether ``body`` takes ``state`` of assistant messages: what the service has sent to get it back unchanged."""

    @classmethod
    def state_owner(cls) -> str:
        """Return whose opaque state a message may contain: this dialect of this service, or of this server."""
        server = cls.service.name if cls.service else urlsplit(settings.url(cls.url) or "").netloc
        return f"{cls.dialect} {server}"

    @classmethod
    def accepts(cls, url: str) -> bool:
        """Whether a server with this base url is asked in this dialect if the user names none."""
        return False

    @classmethod
    def base_url(cls, url: str) -> str:
        """Return the url without the path of the call, which many people paste along with it."""
        base, mark, query = url.partition("?")
        return f"{base.rstrip('/').removesuffix(cls.path).rstrip('/')}{mark}{query}"


def _is_below(server: str, url: str) -> bool:
    """Whether a url is below the server's url without its ``/v1``; False if its path can be resolved in two ways."""
    base, path = re.sub(r"(?:/v\d+\w*)?/*$", "", urlsplit(server).path), urlsplit(url).path
    ambiguous = re.search(r"%(?:2e|2f|5c|25)|/\.\.?(?:[/;]|$)", path, re.IGNORECASE)
    return not base or (path.startswith(f"{base}/") and not ambiguous)
