"""What both transports share: the streams of messages that the SDK reads and writes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeAlias

import anyio
from mcp.shared.message import SessionMessage

MAX_MESSAGE = 16 * 2**20  # bytes
_READ_AHEAD = 16  # messages

Screen: TypeAlias = Callable[[Any], None]
"""Looks at each message before the SDK does, and may change it."""


class TransportError(Exception):
    """Why a server cannot be reached, in one line."""


class _Stream:
    """Stream that is closed when it is left, as the SDK uses it."""

    async def aclose(self) -> None:
        """End the stream."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()


class Outgoing(_Stream):
    """Stream of the messages to a server, as the SDK writes it; a thread takes their bytes from ``queue``.

    ``None`` comes after the last one. What is sent to a server that has ended is lost: the session learns of the end
    from what it reads.
    """

    def __init__(self) -> None:
        self.queue: SimpleQueue[bytes | None] = SimpleQueue()

    async def send(self, message: SessionMessage, /) -> None:
        """Send a message."""
        json = message.message.model_dump_json(by_alias=True, exclude_unset=True)
        self.queue.put(f"{json}\n".encode())

    def close(self) -> None:
        """Send nothing more."""
        self.queue.put(None)

    async def aclose(self) -> None:
        """Send nothing more."""
        self.close()


class Reading(_Stream):
    """Stream of the messages of a server, as the SDK reads it; each is screened first."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    async def receive(self) -> SessionMessage | Exception:
        """Return the next message; ``EndOfStream`` after the last one."""
        raise NotImplementedError

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class Screened(Reading):
    """A stream of the SDK's own, screened."""

    def __init__(self, screen: Screen, stream: Any) -> None:
        super().__init__(screen)
        self._stream = stream

    @property
    def last_context(self) -> Any:
        """The context in which the last message was sent, which the SDK asks for."""
        return getattr(self._stream, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        """Return the next message."""
        message: SessionMessage | Exception = await self._stream.receive()
        self._screen(message)
        return message

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()


class Incoming(Reading):
    """Messages that a thread reads. It waits while ``_READ_AHEAD`` of them are not yet received.

    ``ended`` is called on the loop once the last message has arrived.
    """

    def __init__(self, screen: Screen, ended: Callable[[], None]) -> None:
        super().__init__(screen)
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._messages: asyncio.Queue[SessionMessage | None] = asyncio.Queue()
        self._slots = threading.Semaphore(_READ_AHEAD)
        self._stopped = False

    def deliver(self, message: SessionMessage | None) -> bool:
        """Hand over a message, or ``None`` after the last one; return whether more are wanted. For the thread."""
        self._slots.acquire()
        if self._stopped and message is not None:
            return False
        try:
            self._loop.call_soon_threadsafe(self._add, message)
        except RuntimeError:  # the loop is closed
            return False
        return True

    def _add(self, message: SessionMessage | None) -> None:
        self._messages.put_nowait(message)
        if message is None:
            self._ended()

    async def receive(self) -> SessionMessage | Exception:
        """Return the next message; ``EndOfStream`` after the last one."""
        message = await self._messages.get()
        self._slots.release()
        if message is None:
            self._messages.put_nowait(None)
            raise anyio.EndOfStream
        self._screen(message)
        return message

    def stop(self) -> None:
        """Want no more messages."""
        self._stopped = True
        self._slots.release(_READ_AHEAD)

    async def on_thread(self, function: Callable[[], None]) -> None:
        """Run a function on a thread, and wait for it; a cancellation of the waiter does not end it.

        The thread is a daemon: those of the loop's executor would keep the kernel from ending.
        """
        done: Future[None] = Future()

        def work() -> None:
            try:
                function()
            finally:
                done.set_result(None)

        threading.Thread(target=work, name="nb_backend mcp end", daemon=True).start()
        await asyncio.shield(asyncio.wrap_future(done))
