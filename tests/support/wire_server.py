"""A raw server that writes given bytes and ends the connection as requested, and helpers to build the bytes."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from nb_backend.errors import BackendError
from nb_backend.transport import StreamResponse, StreamSession

OK = b"HTTP/1.1 200 OK\r\n"
UNTIL_CLOSE = OK + b"Connection: close\r\n\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(
        b"event: %s\ndata: %s\n\n" % (event["type"].encode(), json.dumps(event).encode()) for event in events
    )


def content(text: str) -> dict[str, Any]:
    return {"type": "content", "content": text}


FINISH = {"type": "finish", "finish": {"reason": "stop"}}


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def stream(*events: dict[str, Any], end: bytes = LAST_CHUNK) -> bytes:
    """Build a complete answer with the events in one chunk."""
    return CHUNKED + chunk(sse(*events)) + end


def status(line: str, body: bytes | dict[str, Any] = b"", **headers: str) -> bytes:
    """Build a complete answer with a length: ``status("429 Too Many Requests", retry_after="3")``."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {line}", *(f"{key.replace('_', '-')}: {value}" for key, value in headers.items())]
    return "\r\n".join([*lines, f"Content-Length: {len(data)}", "", ""]).encode() + data


class Request(NamedTuple):
    head: str
    body: bytes

    @property
    def path(self) -> str:
        return self.head.split(" ", 2)[1]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        pairs = (line.partition(": ") for line in self.head.split("\r\n")[1:])
        return next((value for key, _, value in pairs if key.lower() == name.lower()), None)


T = TypeVar("T")
Piece = bytes | float | threading.Event


class WireServer:
    """Sends each connection the next of its answers; the last answer is repeated.

    A piece of an answer is bytes to write, seconds to sleep, or a ``threading.Event`` to wait for. ``end`` is "close",
    "reset" (a RST when the client's kernel has everything) or "stall" (wait until the client leaves). The sockets are
    blocking and have threads of their own, so that a blocked event loop does not disturb them.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.ended = threading.Semaphore(0)  # released when an answer has been written and ended
        self.left = threading.Semaphore(0)  # released when a client has left a stalled answer
        self._answers: deque[tuple[tuple[Piece, ...], str, bool]] = deque()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._tls = tls
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._start(self._accept)

    def answer(self, *pieces: Piece, end: str = "close", read_body: bool = True) -> None:
        self._answers.append((pieces, end, read_body))

    def answers_now(self, *pieces: Piece) -> None:
        """Send this from now on, and nothing that was to be sent; a request may come at any moment."""
        self._answers = deque([(pieces, "close", True)])

    def stop(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), "a client has not left"

    def _start(self, work: Any, *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._start(self._serve if self._tls is None else self._serve_tls, connection)

    def _serve_tls(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):  # a client that does not trust it leaves
            self._serve(self._tls.wrap_socket(connection, server_side=True))

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pieces, end, read_body = self._answers.popleft() if len(self._answers) > 1 else self._answers[0]
            self.requests.append(self._read(connection, read_body))
            with suppress(ConnectionError):
                for piece in pieces:
                    if isinstance(piece, bytes):
                        connection.sendall(piece)
                    elif isinstance(piece, float):
                        time.sleep(piece)
                    else:
                        piece.wait(10)
            if end == "stall":
                with suppress(ConnectionError):
                    while connection.recv(65536):
                        pass
                self.left.release()
            elif end == "reset":
                _wait_until_received(connection)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            self.ended.release()

    def _read(self, connection: socket.socket, read_body: bool) -> Request:
        data = b""
        while b"\r\n\r\n" not in data and not data.startswith(b"\x16"):  # the first byte of TLS
            data += connection.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        request = Request(head.decode("latin-1"), body)
        length = int(request.header("Content-Length") or 0) if read_body else 0
        while len(body) < length:
            body += connection.recv(65536)
        return Request(request.head, body)


async def chunks_of(response: StreamResponse) -> AsyncIterator[bytes]:
    """Yield the body as it arrives."""
    while data := await response.read():
        yield data


async def received(
    items: AsyncIterator[T], after_each: Callable[[T], Awaitable[None]] | None = None
) -> tuple[list[T], BackendError | None]:
    """Return all items that arrived, and the failure."""
    got: list[T] = []
    try:
        async for item in items:
            got.append(item)
            if after_each is not None:
                await after_each(item)
    except BackendError as error:
        return got, error
    return got, None


async def post(server: WireServer, body: Any = None, **options: Any) -> tuple[bytes, BackendError | None]:
    """POST, and return all bytes of the answer and the failure."""
    try:
        async with StreamSession(**options) as session, session.post(f"{server.url}/x", json=body) as response:
            pieces, failure = await received(chunks_of(response))
    except BackendError as error:
        return b"", error
    return b"".join(pieces), failure


def _wait_until_received(connection: socket.socket) -> None:
    """Wait until the other side's kernel has everything: a RST discards what is not sent yet."""
    if sys.platform != "linux":  # only Linux reports how much is not sent yet
        time.sleep(0.05)
        return
    import fcntl
    import termios

    while struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0]:
        time.sleep(0.001)
