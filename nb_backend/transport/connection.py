"""How a connection is made: by which way, how it is verified, and so that nothing that comes over it is lost."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from asyncio.trsock import TransportSocket
from contextlib import suppress
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

_end_of_head = re.compile(rb"\n\r?\n")
_interim = re.compile(rb"HTTP/\d\.\d 1\d\d\b")


class Connector(aiohttp.TCPConnector):
    """Opens one connection after the other. ``connection_closed`` is a future that ends with the
    newest one, even if it closes at once.

    The head of a response reaches aiohttp's parser by itself: it drops a whole piece, head and text, for what comes
    with them and is no HTTP.
    """

    connection_closed: asyncio.Future[None] | None = None
    _last: asyncio.BaseTransport | None = None
    _socket: TransportSocket | None = None  # one of TLS knows it no more once the connection is lost

    async def _create_connection(self, *args: Any, **options: Any) -> ResponseHandler:
        protocol = await super()._create_connection(*args, **options)
        self.connection_closed, self._last = protocol.closed, protocol.transport
        self._socket = None if self._last is None else self._last.get_extra_info("socket")
        if self.connection_closed is not None:
            self.connection_closed.add_done_callback(
                lambda lost: lost.cancelled() or lost.exception()
            )  # or asyncio warns
        if self._socket is not None and self._last is not None and self._last.get_extra_info("sslcontext") is None:
            _drain_on_close(protocol, self._socket)
        return protocol

    async def connect(self, *args: Any, **options: Any) -> Connection:
        """Give a connection, a new one or the one that is free, unless something came over it that was not asked."""
        free = self._last if self.is_free else None
        connection = await super().connect(*args, **options)
        if connection.protocol is not None and connection.transport is free and connection.protocol.should_close:
            connection.close()
            connection = await super().connect(*args, **options)
        if connection.protocol is not None:
            _deliver_head_first(connection.protocol)
        return connection

    @property
    def is_free(self) -> bool:
        """Whether the last connection stands, and all that came over it was read."""
        return not self.force_close and self._last is not None and not self._last.is_closing() and not self._acquired

    def abort(self) -> None:
        """Cut the last connection: it does not wait for a server that reads no more, nor for a forked child's end."""
        transport, self._last = self._last, None
        if not isinstance(transport, asyncio.WriteTransport):
            return
        if self._socket is not None:
            with suppress(OSError):  # it is closed
                self._socket.shutdown(socket.SHUT_RDWR)
        transport.abort()


def _deliver_head_first(protocol: ResponseHandler) -> None:
    """Have the head of a response, interim ones before it too, taken in before what follows it."""
    head = bytearray()
    feed = protocol.data_received

    def data_received(data: bytes) -> None:
        final = False
        while data and not final:
            before = len(head)
            head.extend(data)
            end = _end_of_head.search(head, max(0, before - 2))
            if end is None:
                break
            final = not _interim.match(head)
            head.clear()
            feed(data[: end.end() - before])
            data = data[end.end() - before :]
        if final:
            del protocol.data_received  # what follows is fed as ever
        if data:
            feed(data)

    protocol.data_received = data_received  # type: ignore[method-assign]


def _drain_on_close(protocol: ResponseHandler, sock: TransportSocket) -> None:
    """Have what had come taken in when it is the sending that breaks: asyncio drops it, say a 413 and its reason."""
    lost = protocol.connection_lost

    def connection_lost(exc: BaseException | None) -> None:
        del protocol.connection_lost  # or the two would keep one another
        with suppress(OSError):
            while exc is not None and (data := os.read(sock.fileno(), 65536)):
                protocol.data_received(data)
        lost(exc)

    protocol.connection_lost = connection_lost  # type: ignore[method-assign]
