"""Read the body of a response, with a limit on the time without data."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress

import aiohttp

from ..errors import BackendError, TimedOut
from .compression import decompressor_for
from .connection import Connector, take_buffer
from .errors import MORE_TIME, connection_error
from .lines import LineDecoder

MAX_CHUNK = 12 * 2**10  # bytes that ``read`` returns at most: the events of many more would start garbage collections
MAX_ERROR_BODY = 64 * 2**10  # bytes of an error page that are read
MAX_DRIP = 10  # how many idle timeouts a line, or a kilobyte of a line, may take to arrive
_END_TIMEOUT = 0.1  # seconds to wait for the end of a body of which all events were read
RECHECK_SECONDS = 0.1  # that a blocked loop gets to read what has arrived, before a timeout is raised


class StreamResponse:
    """The response to a POST: status and headers, and the body as it arrives.

    Leaving the ``async with`` of the request before the end of the body closes the connection.
    """

    def __init__(self, response: aiohttp.ClientResponse, idle_timeout: float, connector: Connector) -> None:
        self.status = response.status
        self.headers = response.headers
        self.url = response.url
        self._response = response
        self._content = response.content
        self._connector = connector
        self._closed = connector.connection_closed
        self._ends_when_closed = {"Content-Length", "Transfer-Encoding"}.isdisjoint(response.headers)
        self._idle_timeout = idle_timeout
        self._loop = asyncio.get_running_loop()
        self._chunks: deque[bytes] = deque()  # taken from aiohttp, not yet returned by ``read``
        headers = response.headers
        codings = (*headers.getall("Content-Encoding", ()), *headers.getall("Transfer-Encoding", ()))
        self._decompressor = decompressor_for(codings, response.url)
        self._pieces: Iterator[bytes] = iter(())  # of a compressed chunk that was taken from aiohttp
        self._failure: BackendError | None = None
        self._is_waiting = False  # whether ``read`` waits for data
        self._ending: asyncio.TimerHandle | None = None  # set by ``end_within``
        self._is_ended = False  # whether that time is over
        self._rest = b""  # what had arrived then
        self._is_overdue = False  # whether the idle timeout passed while nobody was waiting
        self._last_byte = self._last_line = self._loop.time()
        self._line_bytes = 0  # bytes since ``_last_line``, without whitespace
        self._watchdog = self._loop.call_later(idle_timeout, self._check_idle)
        if self._closed is not None:
            self._closed.add_done_callback(self._on_connection_closed)

    async def read(self) -> bytes:
        """Return the next bytes of the body, or b"" at its end.

        A failure is raised after all bytes that arrived before it were returned.
        """
        if self._decompressor is not None:
            await self._decompress()
        elif not self._chunks and self._failure is None and (chunk := await self._next()):
            self._take(chunk)
        if self._chunks:
            return self._chunks.popleft()
        if self._is_ended:
            return b""
        if self._failure is not None:
            raise self._failure
        return b""

    def end_within(self, seconds: float) -> None:
        """End the body after this time even if the server sends more; a new call replaces the last one."""
        if self._ending is not None:
            self._ending.cancel()
        self._ending = self._loop.call_later(seconds, self._end)

    def _end(self) -> None:
        """End the body after what has arrived."""
        if self._failure is None and not self._content.is_eof():
            self._is_ended = True
            self._watchdog.cancel()
            if self._is_waiting:
                self._content.set_exception(TimeoutError())  # wakes ``read``
            else:
                self._rest = take_buffer(self._content)

    async def iter_lines(self) -> AsyncGenerator[bytes, None]:
        """Yield the lines of the body without their ends, which are LF, CRLF or CR.

        A line has at most 64 MB (``lines.MAX_LINE``); longer ones are left out. A failure is raised after the lines
        that arrived before it, the last of which may be incomplete.
        """
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
        """Return the first bytes of an error page; a failure ends it early and is not raised."""
        body = b""
        with suppress(BackendError, TimeoutError):
            async with asyncio.timeout(self._idle_timeout):
                while len(body) <= MAX_ERROR_BODY and (chunk := await self.read()):
                    body += chunk
        return body

    async def close(self) -> None:
        """Close the connection, which tells a server to stop; keep it if the body was read and a pool may reuse it."""
        if not self._connector.force_close and self._failure is None:
            with suppress(BackendError, TimeoutError):
                async with asyncio.timeout(_END_TIMEOUT):
                    while await self.read():
                        pass
        self._watchdog.cancel()
        if self._ending is not None:
            self._ending.cancel()
        if self._closed is not None:
            self._closed.remove_done_callback(self._on_connection_closed)  # the connection may outlive this response
        if not self._connector.force_close and self._failure is None and self._response.connection is None:
            return  # the body was read to its end, and aiohttp has taken the connection back
        self._response.close()
        self._connector.abort()

    async def _decompress(self) -> None:
        """Decompress until there is something to return; nothing is at the end, or after a failure."""
        while self._decompressor is not None and not self._chunks:
            try:
                if (piece := next(self._pieces, None)) is not None:
                    self._take(piece)
                elif chunk := b"" if self._failure is not None else await self._next():
                    self._pieces = self._decompressor.feed(chunk)
                else:
                    self._pieces, self._decompressor = self._decompressor.end(), None
                    for piece in self._pieces:
                        self._take(piece)
            except BackendError as error:
                self._failure, self._decompressor = self._failure or error, None

    async def _next(self) -> bytes:
        """Return the next bytes from aiohttp; b"" at the end, and after a failure, which is kept in ``_failure``."""
        if self._is_ended:
            rest, self._rest = self._rest, b""
            return rest
        self._is_waiting = True
        if self._is_overdue:
            self._check_idle()
        try:
            if not (chunk := await self._content.readany()) and self._ends_when_closed and self._is_closed():
                self._closed.result()  # type: ignore[union-attr]  # aiohttp also takes a broken connection for the end
            return chunk
        except Exception as error:
            if not self._is_ended:
                self._failure = self._failure or connection_error(error, str(self.url))
        finally:
            self._is_waiting = False
        return take_buffer(self._content)

    def _take(self, chunk: bytes) -> None:
        self._last_byte = self._loop.time()
        self._line_bytes += len(chunk.strip())
        if self._line_bytes >= 1024 or (self._line_bytes and (b"\n" in chunk or b"\r" in chunk)):
            self._last_line, self._line_bytes = self._last_byte, 0
        if len(chunk) <= MAX_CHUNK:
            self._chunks.append(chunk)
        else:
            self._chunks += (chunk[at : at + MAX_CHUNK] for at in range(0, len(chunk), MAX_CHUNK))

    def _check_idle(self, is_recheck: bool = False) -> None:
        """End the reading if no data came in time, or if the connection is closed and aiohttp does not report it."""
        self._watchdog.cancel()
        if self._failure is not None or self._content.is_eof():
            return
        now = self._loop.time()
        deadline = min(self._last_byte + self._idle_timeout, self._last_line + MAX_DRIP * self._idle_timeout)
        seconds_left = (now if self._is_closed() else deadline) - now
        self._is_overdue = seconds_left <= 0 and not self._is_waiting
        if self._is_overdue:
            return
        if seconds_left > 0 or not is_recheck:
            self._watchdog = self._loop.call_later(
                max(seconds_left, RECHECK_SECONDS), self._check_idle, seconds_left <= 0
            )
            return
        origin, timeout = self.url.origin(), f"{self._idle_timeout:g} s"
        if self._is_closed():
            self._failure = connection_error(RuntimeError(), str(self.url))
        else:
            self._failure = TimedOut(f"{origin} sent almost nothing for {timeout}: ask again, or {MORE_TIME}")
        self._content.set_exception(TimeoutError())

    def _on_connection_closed(self, _: asyncio.Future[None]) -> None:
        self._check_idle()

    def _is_closed(self) -> bool:
        return self._closed is not None and self._closed.done()
