"""A streaming POST over aiohttp that loses no received bytes and never hangs.

What aiohttp does differently, each seen on a real socket:

- If the connection breaks while the consumer is busy, it discards its buffer: ``connection.take_buffer`` saves it.
- A bad chunk size can stop it for ever without a ``sock_read`` timeout: ``StreamResponse`` has a timer of its own.
- Its line reader fails on long lines.
- It sends the body, which may contain a key, along with a redirect to another origin.
- Its ``trust_env`` uses a proxy for localhost and reads ``.netrc``.
- Its exceptions keep frames whose variables are the headers and the body: no such exception leaves this module.
"""

from __future__ import annotations

import asyncio
import io
import re
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
from .errors import connection_error, not_an_answer, speaks_tls, status_error
from .json_body import encode_json
from .response import RECHECK_SECONDS, StreamResponse
from .routing import default_ssl, proxy_for, redirected

MAX_BACKLOG = 4 * 2**20  # bytes that are read ahead of a busy consumer before the server has to wait
MAX_REDIRECTS = 5
_TLS_RECORD = re.compile(rb"[\x15\x16]\x03[\x00-\x04]")  # how an alert, or a handshake, begins
MAX_DOCUMENT = 16 * 2**20  # bytes of a JSON document that is fetched


class StreamSession:
    """A connection to one server.

    >>> async with StreamSession() as session, session.post(url, json=body) as response:
    ...     async for line in response.iter_lines():
    ...         print(line)

    ``connect_timeout`` is the seconds until the connection is open, ``idle_timeout`` the seconds without a byte.
    ``secrets`` are masked in errors that repeat what the server sent. Redirects to another origin are refused.

    ``on_release`` is for a pool: it is called with the session when an exchange has ended. The next exchange uses the
    same connection if the body was read to its end and the server keeps the connection open.
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
        self.is_reused = self._client is not None and self._connector.is_free
        if self._client is None:
            timeout = aiohttp.ClientTimeout(total=None, connect=self.connect_timeout)
            # the server may close an idle connection, and only callers with a pool then ask again
            self._connector = Connector(force_close=self._on_release is None, limit=1)
            self._client = aiohttp.ClientSession(
                connector=self._connector,
                headers=self.headers,
                timeout=timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # ``compression`` does
                read_bufsize=MAX_BACKLOG // 4,  # aiohttp buffers twice as many, and a read returns as many again
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
        """Close the connection and the HTTP client."""
        if self._client is not None:
            await self._client.close()
            self._connector.abort()

    def post(self, url: str, *, json: Any, ssl: tls.SSLContext | bool | None = None) -> _Request:
        """Send JSON; ``async with`` gives the response when its head has arrived.

        Raises the ``BackendError`` of an HTTP error status; ``TypeError`` for a value that JSON cannot express.
        """
        return _Request(self, "POST", url, ssl, io.BytesIO(encode_json(json)))

    async def get_json(self, url: str, *, ssl: tls.SSLContext | bool | None = None) -> Any:
        """Fetch a JSON document of at most 16 MB; ``ProtocolError`` if it is larger or not JSON."""
        body = io.BytesIO(await self.get_bytes(url, MAX_DOCUMENT, ssl=ssl))
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(body.getbuffer())
        raise not_an_answer(url, body.getvalue(), self.secrets)

    async def get_bytes(self, url: str, max_bytes: int, *, ssl: tls.SSLContext | bool | None = None) -> bytes:
        """Fetch a file; ``ProtocolError`` if it has more than ``max_bytes`` bytes."""
        body = io.BytesIO()  # tracebacks do not show its content, in which a server may have repeated the key
        async with _Request(self, "GET", url, ssl) as response:
            while body.write(await response.read()):
                if body.tell() > max_bytes:
                    raise ProtocolError(f"{response.url.origin()} sent more than {max_bytes} bytes: it is not used")
        return body.getvalue()

    async def open(self, method: str, url: URL, ssl: tls.SSLContext | bool, body: io.BytesIO | None) -> StreamResponse:
        """Send a request and return its response when the head has arrived; ``BackendError`` for an error status."""
        head = await self._follow_redirects(method, url, ssl, body)
        if isinstance(head, BackendError):
            raise head
        response = StreamResponse(head, self.idle_timeout, self._connector)
        del head  # its repr shows the headers, in which a server may have repeated the key
        if response.status < 400:
            return response
        try:
            error_page = io.BytesIO(await response.error_body())
        finally:
            await response.close()
        raise status_error(str(response.url), response.status, response.headers, error_page.getvalue(), self.secrets)

    async def _follow_redirects(
        self, method: str, url: URL, ssl: tls.SSLContext | bool, body: io.BytesIO | None
    ) -> aiohttp.ClientResponse | BackendError:
        """Return the response after redirects, or the failure.

        The failure is returned, not raised: its traceback would have frames that show what was sent and received.
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
        sending = asyncio.ensure_future(self._request(method, url, ssl, body))
        try:
            for seconds in (self.connect_timeout + self.idle_timeout, RECHECK_SECONDS):
                await asyncio.wait([sending], timeout=seconds)
            return sending.result() if sending.done() else connection_error(TimeoutError(), str(url))
        except asyncio.CancelledError:
            sending.add_done_callback(_close)  # it may have ended in the same step of the loop
            raise
        finally:
            if not sending.done():
                sending.cancel()
                await asyncio.wait([sending])

    async def _request(
        self, method: str, url: URL, ssl: tls.SSLContext | bool, body: io.BytesIO | None
    ) -> aiohttp.ClientResponse | BackendError:
        """Return the response, or the failure: a task that raises shows the headers in its repr."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        data = None if body is None else io.BytesIO(body.getvalue())  # aiohttp sends a file in chunks
        try:
            ssl = default_ssl() if ssl is True and url.scheme == "https" else ssl
            if self._client is None:
                raise RuntimeError("the session is not open: use it inside 'async with'")
            return await self._client.request(
                method, url, data=data, headers=headers, ssl=ssl, proxy=proxy_for(url), allow_redirects=False
            )
        except Exception as error:
            if _TLS_RECORD.match(self._connector.head):
                return speaks_tls(str(url))
            return connection_error(error, str(url))


def _close(sending: asyncio.Future[aiohttp.ClientResponse | BackendError]) -> None:
    if not sending.cancelled() and isinstance(response := sending.result(), aiohttp.ClientResponse):
        response.close()


class _Request:
    """A request whose response is closed at the end of the ``async with``.

    Not an ``asynccontextmanager``: when a program ends, asyncio closes all generators at once, and a generator that
    waits for another one then raises.
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
