"""A streaming POST over aiohttp that loses nothing and never hangs.

What aiohttp does not do by itself, each seen on a real socket: it gives no more of what it has buffered when the
connection breaks while the consumer is busy, so that is taken from it; a bad chunk size can stop it for ever without
``sock_read`` firing, so a watchdog counts the seconds without a byte; its line reader fails on long lines; it sends the
body, key included, along with a redirect to another origin; its ``trust_env`` takes localhost through a proxy and reads
``.netrc``; its exceptions keep frames whose variables are the headers and the body, so none of them goes on from here.
"""

from __future__ import annotations

import asyncio
import io
import ssl as tls
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
from yarl import URL

from ..errors import BackendError, ConnectionFailed, ProtocolError
from .connection import Connector
from .errors import connection_error, not_an_answer, status_error
from .json_body import encode_json
from .response import _SECOND_LOOK, StreamResponse
from .routing import default_ssl, proxy_for, redirected

MAX_BACKLOG = 4 * 2**20  # bytes read ahead of a busy consumer; then the server has to wait
MAX_REDIRECTS = 5
MAX_DOCUMENT = 16 * 2**20  # bytes of a JSON document


class StreamSession:
    """A connection to one server: ``async with StreamSession() as session, session.post(url, json=body) as response``.

    ``connect_timeout`` is in seconds until the connection stands, ``idle_timeout`` in seconds without a byte;
    ``secrets`` are kept out of the errors that repeat what the server says. Redirects lead to the same origin only.

    ``on_release``, of a pool, takes it when an answer is over, for another question: over the same connection if all
    was read and the server keeps it.
    """

    def __init__(
        self,
        headers: dict[str, str] | None = None,
        *,
        connect_timeout: float = 10,
        idle_timeout: float = 120,
        secrets: Iterable[str] = (),
        on_release: Callable[[StreamSession], None] | None = None,
    ) -> None:
        self.headers = {"Accept-Encoding": "identity", **(headers or {})}
        self.connect_timeout = connect_timeout
        self.idle_timeout = idle_timeout
        self.follows_redirects = True
        self.secrets = tuple(secrets)
        self._on_release = on_release
        self._client: aiohttp.ClientSession | None = None
        self._connector: Connector

    async def __aenter__(self) -> Self:
        self.is_used = self._client is not None and self._connector.is_free
        if self._client is None:
            timeout = aiohttp.ClientTimeout(total=None, connect=self.connect_timeout)
            # one that waits for a second use may be closed meanwhile: only a pool knows what to do then
            self._connector = Connector(force_close=self._on_release is None, limit=1)
            self._client = aiohttp.ClientSession(
                connector=self._connector,
                headers=self.headers,
                timeout=timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=MAX_BACKLOG // 4,  # it holds twice as many, and those that are given are as many again
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._on_release is not None and kind is None:
            self._on_release(self)
        else:
            await self.end()

    async def end(self) -> None:
        """Close the connection."""
        if self._client is not None:
            await self._client.close()
            self._connector.abort()

    def post(self, url: str, *, json: Any, ssl: tls.SSLContext | bool | None = None) -> _Request:
        """Send JSON and give the response once its head is there; an HTTP error status is raised as its kind."""
        return _Request(self, "POST", url, ssl, io.BytesIO(encode_json(json)))

    async def get_json(self, url: str, *, ssl: tls.SSLContext | bool | None = None) -> Any:
        """Fetch a JSON document."""
        body = io.BytesIO(await self.get_bytes(url, MAX_DOCUMENT, ssl=ssl))
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(body.getbuffer())
        raise not_an_answer(url, body.getvalue(), self.secrets)

    async def get_bytes(self, url: str, most: int, *, ssl: tls.SSLContext | bool | None = None) -> bytes:
        """Fetch a file; ``ProtocolError`` if it has more than ``most`` bytes."""
        body = io.BytesIO()  # which a traceback does not show: what a server sends may repeat the key
        async with _Request(self, "GET", url, ssl) as response:
            while body.write(await response.read()):
                if body.tell() > most:
                    raise ProtocolError(f"{response.url.origin()} sent more than {most} bytes: nothing of it is used")
        return body.getvalue()

    async def open(self, method: str, url: URL, ssl: tls.SSLContext | bool, body: io.BytesIO | None) -> StreamResponse:
        """Send a request and give the response with its head; ``BackendError`` for an error status."""
        head = await self._follow_redirects(method, url, ssl, body)
        if isinstance(head, BackendError):
            raise head
        response = StreamResponse(head, self.idle_timeout, self._connector)
        del head  # its repr shows headers, in which a server may have repeated the key
        if response.status < 400:
            return response
        try:
            said = io.BytesIO(await response.error_body())
        finally:
            await response.close()
        raise status_error(str(response.url), response.status, response.headers, said.getvalue(), self.secrets)

    async def _follow_redirects(
        self, method: str, url: URL, ssl: tls.SSLContext | bool, body: io.BytesIO | None
    ) -> aiohttp.ClientResponse | BackendError:
        """Give the head of a response, after redirects, or why there is none.

        Raised from here it would drag frames along, aiohttp's above all, that show what is sent and what came.
        """
        for _ in range(MAX_REDIRECTS):
            response = await self._send(method, url, ssl, body)
            if isinstance(response, BackendError):
                return response
            location = response.headers.get("Location")
            if not self.follows_redirects or response.status not in (301, 302, 303, 307, 308) or not location:
                return response
            response.close()
            self._connector.abort()
            target = redirected(url, location, self.secrets)
            if isinstance(target, BackendError):
                return target
            url = target
        return ConnectionFailed(f"{url.origin()} redirects in a circle: check the url")

    async def _send(
        self, method: str, url: URL, ssl: tls.SSLContext | bool, body: io.BytesIO | None
    ) -> aiohttp.ClientResponse | BackendError:
        asking = asyncio.ensure_future(self._asked(method, url, ssl, body))
        try:
            for seconds in (self.connect_timeout + self.idle_timeout, _SECOND_LOOK):
                await asyncio.wait([asking], timeout=seconds)
            return asking.result() if asking.done() else connection_error(TimeoutError(), str(url))
        except asyncio.CancelledError:
            asking.add_done_callback(_close)  # it may have ended in the same turn
            raise
        finally:
            if not asking.done():
                asking.cancel()
                await asyncio.wait([asking])

    async def _asked(
        self, method: str, url: URL, ssl: tls.SSLContext | bool, body: io.BytesIO | None
    ) -> aiohttp.ClientResponse | BackendError:
        """Give the head of a response, or why there is none: the repr of a task shows the headers in what it raises."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        data = None if body is None else io.BytesIO(body.getvalue())  # which aiohttp sends piece by piece
        try:
            ssl = default_ssl() if ssl is True and url.scheme == "https" else ssl
            if self._client is None:
                raise RuntimeError("a session is used inside its async with")
            return await self._client.request(
                method, url, data=data, headers=headers, ssl=ssl, proxy=proxy_for(url), allow_redirects=False
            )
        except Exception as error:
            return connection_error(error, str(url))


def _close(asking: asyncio.Future[aiohttp.ClientResponse | BackendError]) -> None:
    if not asking.cancelled() and isinstance(response := asking.result(), aiohttp.ClientResponse):
        response.close()


class _Request:
    """A request whose response is closed at the end of the ``async with``.

    A class and no generator: at the end of a program asyncio closes all generators at once, and those that wait for one
    another complain.
    """

    def __init__(
        self,
        session: StreamSession,
        method: str,
        url: str,
        ssl: tls.SSLContext | bool | None,
        body: io.BytesIO | None = None,
    ) -> None:
        self._open = partial(session.open, method, URL(url), ssl is None or ssl, body)

    async def __aenter__(self) -> StreamResponse:
        self._response = await self._open()
        return self._response

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._response.close()
