"""Everything that this package uses of aiohttp's internals: a connector that loses no received bytes.

aiohttp loses bytes in three places. It drops a whole chunk, the head and the text behind it, if the text is not valid
HTTP. It reads nothing more once sending fails. And its reader returns nothing of its buffer once an exception is set.
There is no public way around them, so a failed check at import names what an upgrade of aiohttp has changed.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

if TYPE_CHECKING:
    from asyncio.trsock import TransportSocket

_end_of_head = re.compile(rb"\n\r?\n")
_interim_status = re.compile(rb"HTTP/\d\.\d 1\d\d\b")

INTERNALS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (aiohttp.TCPConnector, ("_create_connection",)),
    (ResponseHandler, ("closed", "should_close", "data_received", "connection_lost")),
    (aiohttp.StreamReader, ("set_exception", "read_nowait", "readany", "is_eof")),
)
"""Undocumented attributes that this module uses, by class. (``TCPConnector._acquired`` exists only on instances.)"""


def check_internals() -> None:
    """Raise ``ImportError`` if aiohttp no longer has an attribute of ``INTERNALS``."""
    missing = [f"{owner.__name__}.{name}" for owner, names in INTERNALS for name in names if not hasattr(owner, name)]
    if missing:
        raise ImportError(
            f"nb_backend cannot use aiohttp {aiohttp.__version__}, which has no {', '.join(missing)}: install an older"
            " aiohttp, or a newer nb_backend"
        )


check_internals()


class Connector(aiohttp.TCPConnector):
    """Opens one connection at a time.

    ``connection_closed`` is a future that ends with the newest connection, even if it closes at once.
    """

    connection_closed: asyncio.Future[None] | None = None
    head: bytearray = bytearray()
    """The bytes that have arrived of a response's head; empty when it is complete."""
    _newest: asyncio.BaseTransport | None = None
    _socket: TransportSocket | None = None  # kept here, as a TLS transport forgets it when the connection is lost

    async def _create_connection(self, *args: Any, **options: Any) -> ResponseHandler:
        protocol = await super()._create_connection(*args, **options)
        self.connection_closed, self._newest = protocol.closed, protocol.transport
        self._socket = None if self._newest is None else self._newest.get_extra_info("socket")
        if self.connection_closed is not None:
            self.connection_closed.add_done_callback(_retrieve_exception)
        if self._socket is not None and self._newest is not None and self._newest.get_extra_info("sslcontext") is None:
            _drain_on_close(protocol, self._socket)
        return protocol

    async def connect(self, *args: Any, **options: Any) -> Connection:
        """Return the free connection or a new one. A free one that received unrequested bytes is closed."""
        free = self._newest if self.is_free else None
        connection = await super().connect(*args, **options)
        if connection.protocol is not None and connection.transport is free and connection.protocol.should_close:
            connection.close()
            connection = await super().connect(*args, **options)
        if connection.protocol is not None:
            self.head = _deliver_head_first(connection.protocol)
        return connection

    @property
    def is_free(self) -> bool:
        """Whether the newest connection is open and its last response was read to the end."""
        is_open = self._newest is not None and not self._newest.is_closing()
        return not self.force_close and is_open and not self._acquired

    def abort(self) -> None:
        """Close the newest connection at once: without sending what is left, and for forked children too."""
        transport, self._newest = self._newest, None
        if not isinstance(transport, asyncio.WriteTransport):
            return
        if self._socket is not None:
            with suppress(OSError):  # the socket is closed already
                self._socket.shutdown(socket.SHUT_RDWR)
        transport.abort()


def take_buffer(content: aiohttp.StreamReader) -> bytes:
    """Return the bytes that a reader holds, also after an exception was set; the exception is removed."""
    content.set_exception(None)  # type: ignore[arg-type]
    return content.read_nowait()


def _retrieve_exception(closed: asyncio.Future[None]) -> None:
    """Retrieve the exception of a future; asyncio warns about those that nobody retrieves."""
    if not closed.cancelled():
        closed.exception()


def _deliver_head_first(protocol: ResponseHandler) -> bytearray:
    """Pass the head of a response, and each interim head before it, to aiohttp's parser separately from the body.

    Returns the buffer of the head that is arriving.
    """
    head = bytearray()
    feed = protocol.data_received

    def data_received(data: bytes) -> None:
        is_final = False
        while data and not is_final:
            size_before = len(head)
            head.extend(data)
            end = _end_of_head.search(head, max(0, size_before - 2))
            if end is None:
                break
            is_final = not _interim_status.match(head)
            head.clear()
            feed(data[: end.end() - size_before])
            data = data[end.end() - size_before :]
        if is_final:
            del protocol.data_received  # the body goes to the method of the class again
        if data:
            feed(data)

    protocol.data_received = data_received  # type: ignore[method-assign]
    return head


def _drain_on_close(protocol: ResponseHandler, sock: TransportSocket) -> None:
    """Read what the socket still holds when sending fails: a server may send 413 and close before it read the body."""
    lost = protocol.connection_lost

    def connection_lost(exc: BaseException | None) -> None:
        del protocol.connection_lost  # breaks the reference cycle
        with suppress(OSError):
            while exc is not None and (data := os.read(sock.fileno(), 65536)):
                protocol.data_received(data)
        lost(exc)

    protocol.connection_lost = connection_lost  # type: ignore[method-assign]
