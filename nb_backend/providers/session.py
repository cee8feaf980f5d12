"""A streaming POST over aiohttp that loses nothing and never hangs.

What aiohttp does not do by itself, each seen on a real socket: it drops what it has buffered when the connection breaks
while the consumer is busy, so a task of its own drains the connection; a bad chunk size can stop it for ever without
``sock_read`` firing, so a watchdog counts the seconds without a byte; its line reader fails on long lines; it sends the
body, key included, along with a redirect to another origin; its ``trust_env`` takes localhost through a proxy and reads
``.netrc``.
"""

from __future__ import annotations

import asyncio
import io
import ssl as tls
import urllib.request
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
from yarl import URL

from ..errors import BackendError, ConnectionFailed, ProtocolError, TimedOut
from .failures import connection_error, not_a_backend, status_error
from .wire import LineDecoder, valid_unicode

MAX_BACKLOG = 16 * 2**20  # bytes read ahead of a busy consumer; then the server has to wait
MAX_REDIRECTS = 5
MAX_ERROR_BODY = 64 * 2**10  # bytes of an error page that are read
_SECOND_LOOK = 0.1  # seconds that a loop which was blocked gets to take in what had arrived


class StreamSession:
    """A connection to one server: ``async with StreamSession() as session, session.post(url, json=body) as response``.

    ``connect_timeout`` is in seconds until the connection stands, ``idle_timeout`` in seconds without a byte;
    ``secret`` is kept out of the errors that repeat what the server says.
    """

    def __init__(
        self,
        headers: dict[str, str] | None = None,
        *,
        connect_timeout: float = 10,
        idle_timeout: float = 120,
        secret: str | None = None,
    ) -> None:
        self.headers = {"Accept-Encoding": "identity", **(headers or {})}
        self.connect_timeout = connect_timeout
        self.idle_timeout = idle_timeout
        self.follows_redirects = True
        self._secret = secret

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None, connect=self.connect_timeout)
        connector = aiohttp.TCPConnector(force_close=True)  # one that waits for a second use may be closed meanwhile
        self._client = aiohttp.ClientSession(
            connector=connector, headers=self.headers, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.close()

    def post(self, url: str, *, json: Any, ssl: tls.SSLContext | bool | None = None) -> _Request:
        """Send JSON and give the response once its head is there; an HTTP error status is raised as its kind."""
        return _Request(self, "POST", url, ssl, encode_json(json))

    async def get_json(self, url: str, *, ssl: tls.SSLContext | bool | None = None) -> Any:
        """Fetch a JSON document."""
        async with _Request(self, "GET", url, ssl) as response:
            body = b"".join([chunk async for chunk in response.iter_chunks()])
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            raise not_a_backend(url, body, self._secret) from None

    async def get_bytes(self, url: str, most: int, *, ssl: tls.SSLContext | bool | None = None) -> bytes:
        """Fetch a file; ``ProtocolError`` if it has more than ``most`` bytes."""
        body = bytearray()
        async with _Request(self, "GET", url, ssl) as response:
            while chunk := await response.read():
                body += chunk
                if len(body) > most:
                    raise ProtocolError(f"{response.url.origin()} sent more than {most} bytes: nothing of it is used")
        return bytes(body)

    async def open(self, method: str, url: URL, ssl: tls.SSLContext | bool, body: bytes | None) -> StreamResponse:
        """Send a request and give the response with its head; ``BackendError`` for an error status."""
        response = StreamResponse(await self._head(method, url, ssl, body), self.idle_timeout)
        if response.status < 400:
            return response
        try:
            said = await response.error_body()
        finally:
            await response.close()
        raise status_error(str(response.url), response.status, response.headers, said, self._secret)

    async def _head(
        self, method: str, url: URL, ssl: tls.SSLContext | bool, body: bytes | None
    ) -> aiohttp.ClientResponse:
        headers = {} if body is None else {"Content-Type": "application/json"}
        for _ in range(MAX_REDIRECTS):
            data = None if body is None else io.BytesIO(body)  # which aiohttp sends piece by piece
            try:
                async with asyncio.timeout(self.connect_timeout + self.idle_timeout):
                    response = await self._client.request(
                        method, url, data=data, headers=headers, ssl=ssl, proxy=_proxy(url), allow_redirects=False
                    )
            except Exception as error:
                raise connection_error(error, str(url)) from None
            location = response.headers.get("Location")
            if not self.follows_redirects or response.status not in (301, 302, 307, 308) or not location:
                return response
            response.close()
            url = _redirected(url, location)
        raise ConnectionFailed(f"{url.origin()} redirects in a circle: check the url")


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
        body: bytes | None = None,
    ) -> None:
        self._open = partial(session.open, method, URL(url), ssl is None or ssl, body)

    async def __aenter__(self) -> StreamResponse:
        self._response = await self._open()
        return self._response

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._response.close()


class StreamResponse:
    """The answer to a POST: its head, and its body as it arrives. Leaving it early closes the connection."""

    def __init__(self, response: aiohttp.ClientResponse, idle_timeout: float) -> None:
        self.status = response.status
        self.headers = response.headers
        self.url = response.url
        self._response = response
        self._transport = response.connection.transport if response.connection is not None else None
        self._closing = _closing(response)
        self._idle_timeout = idle_timeout
        self._loop = asyncio.get_running_loop()
        self._backlog: deque[bytes] = deque()
        self._backlog_size = 0
        self._failure: BackendError | None = None
        self._changed = asyncio.Event()  # something for the consumer: bytes, a failure, the end
        self._room = asyncio.Event()
        self._room.set()
        self._last_byte = self._loop.time()
        self._drain = self._loop.create_task(self._read())
        self._watchdog = self._loop.call_later(idle_timeout, self._watch)

    async def read(self) -> bytes:
        """Give what has arrived next, b"" at the end. All that came before a failure is given before it is raised."""
        while not self._backlog:
            if self._failure is not None:
                raise self._failure
            if self._drain.done():
                return b""
            self._changed.clear()
            await self._changed.wait()
        chunk = self._backlog.popleft()
        self._backlog_size -= len(chunk)
        if self._backlog_size < MAX_BACKLOG:
            self._room.set()
        return chunk

    async def iter_chunks(self) -> AsyncGenerator[bytes, None]:
        """Give the body as it arrives."""
        while chunk := await self.read():
            yield chunk

    async def iter_lines(self) -> AsyncGenerator[bytes, None]:
        """Give the body's lines, of any length, without their ends (LF, CRLF or CR); a failure comes after them."""
        decoder = LineDecoder()
        failure: BackendError | None = None
        try:
            while chunk := await self.read():
                for line in decoder.feed(chunk):
                    yield line
        except BackendError as error:
            failure = error
        if rest := decoder.flush():
            yield rest
        if failure is not None:
            raise failure

    async def error_body(self) -> bytes:
        """Give the first bytes of what explains an error status, whatever happens to the rest."""
        body = b""
        with suppress(BackendError, TimeoutError):
            async with asyncio.timeout(self._idle_timeout):
                while len(body) <= MAX_ERROR_BODY and (chunk := await self.read()):
                    body += chunk
        return body

    async def close(self) -> None:
        """Close the connection: for most servers the only sign to stop."""
        self._watchdog.cancel()
        self._drain.cancel()
        self._response.close()
        if isinstance(self._transport, asyncio.WriteTransport) and self._transport.get_write_buffer_size():
            self._transport.abort()  # else it waits for a server that does not read what is left of the body
        await asyncio.wait([self._drain])

    async def _read(self) -> None:
        try:
            while chunk := await self._response.content.readany():
                self._last_byte = self._loop.time()
                self._backlog.append(chunk)
                self._backlog_size += len(chunk)
                self._changed.set()
                if self._backlog_size >= MAX_BACKLOG:
                    await self._wait_for_room()
            if self._closing is not None and self._closing.done():
                self._closing.result()
        except Exception as error:
            self._failure = connection_error(error, str(self.url))
        finally:
            # the consumer looks at the task, which is done only after this callback's turn
            self._loop.call_soon(self._changed.set)

    async def _wait_for_room(self) -> None:
        """Let the server wait for the consumer; aiohttp takes in nothing meanwhile, or a broken connection drops it."""
        connection = self._response.connection  # None once all is there
        transport = connection.transport if connection is not None else None
        self._room.clear()
        if transport is not None:
            transport.pause_reading()
        await self._room.wait()
        self._last_byte = self._loop.time()
        if transport is not None:
            transport.resume_reading()

    def _watch(self, second_look: bool = False) -> None:
        reading = self._room.is_set()  # else it waits for the consumer, not for the server
        left = self._last_byte + self._idle_timeout - self._loop.time() if reading else self._idle_timeout
        if left > 0 or not second_look:
            self._watchdog = self._loop.call_later(max(left, _SECOND_LOOK), self._watch, left <= 0)
            return
        self._failure = TimedOut(
            f"{self.url.origin()} sent nothing for {self._idle_timeout:g} s: ask again, or raise idle_timeout"
        )
        self._drain.cancel()


def _closing(response: aiohttp.ClientResponse) -> asyncio.Future[None] | None:
    """Give the close of the connection if only that ends the body; aiohttp takes a broken one for the end, too."""
    connection = response.connection
    if (
        connection is None
        or connection.protocol is None
        or not {"Content-Length", "Transfer-Encoding"}.isdisjoint(response.headers)
    ):
        return None
    closing = connection.protocol.closed
    if closing is not None:
        closing.add_done_callback(lambda future: future.cancelled() or future.exception())  # nobody may be left to ask
    return closing


def encode_json(value: Any) -> bytes:
    """Write JSON as UTF-8; half surrogates become U+FFFD. ``TypeError`` names what JSON cannot say."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError as error:
        try:
            return orjson.dumps(valid_unicode(value), option=orjson.OPT_SERIALIZE_NUMPY)
        except RecursionError:
            raise error from None


def _redirected(url: URL, location: str) -> URL:
    """Give where a redirect leads, on the same server; ``ConnectionFailed`` if it leads to another one."""
    try:
        target = url.join(URL(location))
        origin = target.origin()
    except ValueError:
        raise ConnectionFailed(f"{url.origin()} redirects to no proper url: check the url") from None
    if origin != url.origin():
        raise ConnectionFailed(
            f"{url.origin()} sends on to {origin}, and nothing is sent to another server unasked:"
            " if that is right, set the url to it"
        )
    return target


def _proxy(url: URL) -> str | None:
    """Choose the proxy that the environment names for a URL; localhost never has one."""
    host = url.host or ""
    if _is_local(host) or urllib.request.proxy_bypass(host):
        return None
    proxy = urllib.request.getproxies().get(url.scheme)
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
