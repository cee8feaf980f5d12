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
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
from yarl import URL

from ..errors import BackendError, ConnectionFailed, ProtocolError, TimedOut
from .connection import Connector, default_ssl, proxy_for, redirected
from .failures import connection_error, not_a_backend, status_error
from .wire import LineDecoder, encode_json

MAX_BACKLOG = 4 * 2**20  # bytes read ahead of a busy consumer; then the server has to wait
PIECE = 8 * 2**10  # bytes that are given at once: the events of many more would wake the garbage collector
MAX_REDIRECTS = 5
MAX_DOCUMENT = 16 * 2**20  # bytes of a JSON document
MAX_ERROR_BODY = 64 * 2**10  # bytes of an error page that are read
MAX_DRIP = 10  # idle time-outs that a line, or a kilobyte of one, may take to come
_LAST_PIECE = 0.1  # seconds that the end of an answer may take to come, once all of it has been understood
_SECOND_LOOK = 0.1  # seconds that a loop which was blocked gets to take in what had arrived


class StreamSession:
    """A connection to one server: ``async with StreamSession() as session, session.post(url, json=body) as response``.

    ``connect_timeout`` is in seconds until the connection stands, ``idle_timeout`` in seconds without a byte;
    ``secrets`` are kept out of the errors that repeat what the server says. Redirects lead to the same origin only.

    ``give_back``, of a pool, takes it when an answer is over, for another question: over the same connection if all was
    read and the server keeps it.
    """

    def __init__(
        self,
        headers: dict[str, str] | None = None,
        *,
        connect_timeout: float = 10,
        idle_timeout: float = 120,
        secrets: Iterable[str] = (),
        give_back: Callable[[StreamSession], None] | None = None,
    ) -> None:
        self.headers = {"Accept-Encoding": "identity", **(headers or {})}
        self.connect_timeout = connect_timeout
        self.idle_timeout = idle_timeout
        self.follows_redirects = True
        self.secrets = tuple(secrets)
        self._give_back = give_back
        self._client: aiohttp.ClientSession | None = None
        self._connector: Connector

    async def __aenter__(self) -> Self:
        self.is_used = self._client is not None and self._connector.is_free
        if self._client is None:
            timeout = aiohttp.ClientTimeout(total=None, connect=self.connect_timeout)
            # one that waits for a second use may be closed meanwhile: only a pool knows what to do then
            self._connector = Connector(force_close=self._give_back is None, limit=1)
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
        if self._give_back is not None and kind is None:
            self._give_back(self)
        else:
            await self.end()

    async def end(self) -> None:
        """Close the connection."""
        if self._client is not None:
            await self._client.close()
            self._connector.cut()

    def post(self, url: str, *, json: Any, ssl: tls.SSLContext | bool | None = None) -> _Request:
        """Send JSON and give the response once its head is there; an HTTP error status is raised as its kind."""
        return _Request(self, "POST", url, ssl, io.BytesIO(encode_json(json)))

    async def get_json(self, url: str, *, ssl: tls.SSLContext | bool | None = None) -> Any:
        """Fetch a JSON document."""
        body = io.BytesIO(await self.get_bytes(url, MAX_DOCUMENT, ssl=ssl))
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(body.getbuffer())
        raise not_a_backend(url, body.getvalue(), self.secrets)

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
        head = await self._head(method, url, ssl, body)
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

    async def _head(
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
            self._connector.cut()
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


class StreamResponse:
    """The answer to a POST: its head, and its body as it arrives. Leaving it early closes the connection."""

    def __init__(self, response: aiohttp.ClientResponse, idle_timeout: float, connector: Connector) -> None:
        self.status = response.status
        self.headers = response.headers
        self.url = response.url
        self._response = response
        self._content = response.content
        self._connector = connector
        self._lost = connector.lost
        self._ends_when_lost = {"Content-Length", "Transfer-Encoding"}.isdisjoint(response.headers)
        self._idle_timeout = idle_timeout
        self._loop = asyncio.get_running_loop()
        self._pieces: deque[bytes] = deque()  # that were taken, and are still to be given
        self._failure: BackendError | None = None
        self._waits = False  # for a byte
        self._overdue = False  # none was there when it was time for one, and nobody waited
        self._last_byte = self._last_line = self._loop.time()
        self._of_line = 0  # bytes since then, but for line ends and the like
        self._watchdog = self._loop.call_later(idle_timeout, self._watch)
        if self._lost is not None:
            self._lost.add_done_callback(self._connection_lost)

    async def read(self) -> bytes:
        """Give what has arrived next, b"" at the end. All that came before a failure is given before it is raised."""
        if not self._pieces and self._failure is None and (chunk := await self._next()):
            self._take(chunk)
        if self._pieces:
            return self._pieces.popleft()
        if self._failure is not None:
            raise self._failure
        return b""

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
        if not self._connector.force_close and self._failure is None:
            with suppress(BackendError, TimeoutError):
                async with asyncio.timeout(_LAST_PIECE):
                    while await self.read():
                        pass
        self._watchdog.cancel()
        if self._lost is not None:
            self._lost.remove_done_callback(self._connection_lost)  # the connection may outlive this by far
        if not self._connector.force_close and self._failure is None and self._response.connection is None:
            return  # all was read, and aiohttp has the connection back
        self._response.close()
        self._connector.cut()

    async def _next(self) -> bytes:
        """Give what aiohttp has, or will have next: b"" at the end, or when it fails, which is noted."""
        self._waits = True
        if self._overdue:
            self._watch()
        try:
            if not (chunk := await self._content.readany()) and self._ends_when_lost and self._is_lost():
                self._lost.result()  # type: ignore[union-attr]  # aiohttp takes a broken connection for the end, too
            return chunk
        except Exception as error:
            self._failure = self._failure or connection_error(error, str(self.url))
        finally:
            self._waits = False
        # what aiohttp still holds, and gives no more once there is an exception
        self._content.set_exception(None)  # type: ignore[arg-type]
        return self._content.read_nowait()

    def _take(self, chunk: bytes) -> None:
        self._last_byte = self._loop.time()
        self._of_line += len(chunk.strip())
        if self._of_line >= 1024 or (self._of_line and (b"\n" in chunk or b"\r" in chunk)):
            self._last_line, self._of_line = self._last_byte, 0
        if len(chunk) <= PIECE:
            self._pieces.append(chunk)
        else:
            self._pieces += (chunk[at : at + PIECE] for at in range(0, len(chunk), PIECE))

    def _watch(self, second_look: bool = False) -> None:
        """End the reading when nothing came for too long, or when the connection is lost and aiohttp does not tell."""
        self._watchdog.cancel()
        if self._failure is not None or self._content.is_eof():
            return
        now = self._loop.time()
        ends = min(self._last_byte + self._idle_timeout, self._last_line + MAX_DRIP * self._idle_timeout)
        left = (now if self._is_lost() else ends) - now
        self._overdue = left <= 0 and not self._waits
        if self._overdue:
            return
        if left > 0 or not second_look:
            self._watchdog = self._loop.call_later(max(left, _SECOND_LOOK), self._watch, left <= 0)
            return
        origin, seconds = self.url.origin(), f"{self._idle_timeout:g} s"
        if self._is_lost():
            self._failure = connection_error(RuntimeError(), str(self.url))
        else:
            self._failure = TimedOut(f"{origin} sent next to nothing for {seconds}: ask again, or raise idle_timeout")
        self._content.set_exception(TimeoutError())

    def _connection_lost(self, _: asyncio.Future[None]) -> None:
        self._watch()

    def _is_lost(self) -> bool:
        return self._lost is not None and self._lost.done()
