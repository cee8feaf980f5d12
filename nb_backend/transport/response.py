"""Read the body of a response."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import suppress

import aiohttp

from ..errors import BackendError, TimedOut
from .connection import Connector
from .errors import connection_error
from .lines import LineDecoder

PIECE = 8 * 2**10  # bytes that are given at once: the events of many more would wake the garbage collector
MAX_ERROR_BODY = 64 * 2**10  # bytes of an error page that are read
MAX_DRIP = 10  # idle time-outs that a line, or a kilobyte of one, may take to come
_LAST_PIECE = 0.1  # seconds that the end of an answer may take to come, once all of it has been understood
_SECOND_LOOK = 0.1  # seconds that a loop which was blocked gets to take in what had arrived


class StreamResponse:
    """The answer to a POST: its head, and its body as it arrives. Leaving it early closes the connection."""

    def __init__(self, response: aiohttp.ClientResponse, idle_timeout: float, connector: Connector) -> None:
        self.status = response.status
        self.headers = response.headers
        self.url = response.url
        self._response = response
        self._content = response.content
        self._connector = connector
        self._lost = connector.connection_closed
        self._ends_when_lost = {"Content-Length", "Transfer-Encoding"}.isdisjoint(response.headers)
        self._idle_timeout = idle_timeout
        self._loop = asyncio.get_running_loop()
        self._pieces: deque[bytes] = deque()  # that were taken, and are still to be given
        self._failure: BackendError | None = None
        self._waits = False  # for a byte
        self._overdue = False  # none was there when it was time for one, and nobody waited
        self._last_byte = self._last_line = self._loop.time()
        self._line_bytes = 0  # bytes since then, but for line ends and the like
        self._watchdog = self._loop.call_later(idle_timeout, self._check_idle)
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
        self._connector.abort()

    async def _next(self) -> bytes:
        """Give what aiohttp has, or will have next: b"" at the end, or when it fails, which is noted."""
        self._waits = True
        if self._overdue:
            self._check_idle()
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
        self._line_bytes += len(chunk.strip())
        if self._line_bytes >= 1024 or (self._line_bytes and (b"\n" in chunk or b"\r" in chunk)):
            self._last_line, self._line_bytes = self._last_byte, 0
        if len(chunk) <= PIECE:
            self._pieces.append(chunk)
        else:
            self._pieces += (chunk[at : at + PIECE] for at in range(0, len(chunk), PIECE))

    def _check_idle(self, second_look: bool = False) -> None:
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
            self._watchdog = self._loop.call_later(max(left, _SECOND_LOOK), self._check_idle, left <= 0)
            return
        origin, seconds = self.url.origin(), f"{self._idle_timeout:g} s"
        if self._is_lost():
            self._failure = connection_error(RuntimeError(), str(self.url))
        else:
            self._failure = TimedOut(f"{origin} sent next to nothing for {seconds}: ask again, or raise idle_timeout")
        self._content.set_exception(TimeoutError())

    def _connection_lost(self, _: asyncio.Future[None]) -> None:
        self._check_idle()

    def _is_lost(self) -> bool:
        return self._lost is not None and self._lost.done()
