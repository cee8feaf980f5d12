"""The stream that makes an answer, and what others may know of it while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import BackendError
from ..events import RawResponse, ServerChanged
from . import history as memory
from .answer import Answer
from .context_limit import is_too_long
from .recording import CachedAnswer, EventRecorder
from .turn import Turn

if TYPE_CHECKING:
    from .request import Request


class AnswerStream(AsyncIterator[RawResponse]):
    """The events of an answer as they come; ``answer`` is what they have made so far.

    When the server says that what is sent is too long, and nothing of an answer has come, half of the turns that are
    left go, and it is asked again; an event of this side, ``trimmed`` with the number of ``turns`` left out, comes
    before the server's own.

    What the request's store has is replayed: no server is asked, and an event of this side, ``replayed`` with the time
    (``recorded``) of the answer, comes first. An answer that has come to its end is kept there.

    ``on_finish`` is called once, with the answer and the states that providers want back, if there is something to
    keep: at the end, or when the stream is left before it; then ``kept`` is true. ``on_change`` is called whenever
    ``turn`` has changed. The images that are the server's own are fetched meanwhile: they stand in the answer as they
    come. The end waits for them; left only then, the answer is whole but for them. (A class and no generator: see
    ``create_async_generator``.)
    """

    def __init__(
        self,
        request: Request,
        on_finish: Callable[[Answer, dict[str, Any]], None] | None = None,
        on_change: Callable[[Turn], None] = lambda turn: None,
    ) -> None:
        self.answer = Answer(model=request.model, trimmed=request.trimmed)
        self.turn = Turn(request, self.answer, self.stop)
        self._request = request
        self._on_finish = on_finish
        self._on_change = on_change
        self._turns = memory.count_turns(request.history)
        self._server_states: dict[str, Any] = {}
        self._images = request.image_fetcher()
        self._events: AsyncGenerator[RawResponse, None] | None = None  # until it is asked
        self._prepared = False
        self._cached: CachedAnswer | None = None  # in the store
        self._recording = EventRecorder() if request.store else None
        self._announce_trim = self.answer.trimmed > 0
        self._context_exceeded = False  # an event said that it is too long; its error is still to come
        self._server_done = False  # nothing more comes from the server
        self._images_done = False  # nor any image
        self._open = True
        self._stop_requested = False  # somebody has asked for its end
        self._interrupted = False
        self._next: asyncio.Task[Any] | None = None  # that waits for the next event

    @property
    def kept(self) -> bool:
        """Whether the exchange is in the conversation."""
        return self.turn.kept

    async def __anext__(self) -> RawResponse:
        if self._stop_requested:
            await self.aclose()
            raise StopAsyncIteration
        self._next = asyncio.current_task()
        try:
            while (event := await self._event()) is None:
                pass
            return event
        except asyncio.CancelledError:
            if not self._interrupted or (self._next is not None and self._next.uncancel()):
                raise
            raise StopAsyncIteration from None
        finally:
            self._next = None

    def stop(self) -> None:
        """End it softly, from any thread: who iterates sees the normal end; the text that had come is kept."""
        self._stop_requested = True
        if (task := self._next) is not None:
            with suppress(RuntimeError):  # its loop is closed
                task.get_loop().call_soon_threadsafe(self._interrupt)

    def _interrupt(self) -> None:
        if self._next is not None and not self._interrupted:
            self._interrupted = True
            self._next.cancel()

    async def _event(self) -> RawResponse | None:
        try:
            events = self._events or await self._begin()
            if self._announce_trim:
                self._announce_trim = False
                return RawResponse(type="trimmed", turns=self.answer.trimmed)
            event = await events.__anext__()
            if isinstance(event, ServerChanged):
                self._request.provider = event.server
            elif not self.answer._server and not self._cached:
                self.answer._server = await self._images.server()
        except StopAsyncIteration:
            try:
                await self._wait_for_images()
            finally:
                self._finish()
            raise
        except asyncio.CancelledError:
            self._finish()
            raise
        except BaseException as error:
            if self._events is None or not (self._can_ask_again() and (self._context_exceeded or is_too_long(error))):
                if isinstance(error, BackendError):
                    error.partial = self.answer.text
                self._fail(error)
                raise
            self._ask_again()
        else:
            if not (event.type == "error" and is_too_long(event) and self._can_ask_again()):
                self._handle_event(event)
                return event
            self._context_exceeded = True  # and not shown: it is mended before its error is raised
        return None  # it is asked again

    async def prepare(self) -> None:
        """Do now what has to be done before the question is sent, and raise what stands against it."""
        if self._open and not self._prepared:
            self._prepared = True
            self._on_change(self.turn)
            try:
                self._cached = self._request.recorded()
                if self._cached is None:
                    await self._request.prepare()
            except BaseException as error:
                self._fail(error)
                raise

    async def _begin(self) -> AsyncGenerator[RawResponse, None]:
        await self.prepare()
        if not self._open:  # left before its first question, or meanwhile
            raise StopAsyncIteration
        if self._cached is None:
            self._events = self._request.send(self.answer.trimmed)
        else:
            self._announce_trim = self._cached.trimmed > 0
            self._cached.prepare(self.answer)
            self._events = self._cached.replay()
        return self._events

    def _handle_event(self, event: RawResponse) -> None:
        kind, known = event.type, len(self.answer.images)
        self.answer.add(event)
        if kind == "conversation" and isinstance(state := event.get("conversation"), dict):
            self._server_states |= state
        if self._recording:
            self._recording.add(event)
        if len(self.answer.images) > known and self._open and not self._cached:
            self._images.fetch(self.answer.images[known:])
        if kind == "progress":
            self.turn.progress = event
        self._on_change(self.turn)

    async def _wait_for_images(self) -> None:
        self._server_done = True
        if self._open and not self._cached:
            self.answer.end()  # which finds those of the text
            self._images.fetch(self.answer.images)
            await self._images.wait()
        self._images_done = True

    def _can_ask_again(self) -> bool:
        begun = self.answer.text or self.answer.reasoning or self.answer.images
        return self._open and not begun and self.answer.trimmed < self._turns

    def _ask_again(self) -> None:
        self.answer.trimmed += (self._turns - self.answer.trimmed + 1) // 2
        self._server_states = {}
        self._context_exceeded = False
        self._announce_trim = True
        self._recording = self._recording and EventRecorder()
        self._events = self._request.send(self.answer.trimmed)

    async def aclose(self) -> None:
        """Stop: the connection is closed, and the text that had come is kept."""
        self._finish()
        if self._events is not None:
            await self._events.aclose()
        await self._images.wait()

    def __del__(self) -> None:
        self._finish()

    def _fail(self, error: BaseException) -> None:
        if self._open:
            self._end(stopped=isinstance(error, asyncio.CancelledError))
            self.turn.error = None if self.answer.stopped else error
            self.turn.ended = True
            self._on_change(self.turn)

    def _finish(self) -> None:
        if self._open:
            stopped = not self._server_done and self.answer.finish_reason is None
            self._end(stopped=stopped)
            if self._images_done:
                self._store()
            if self._on_finish is not None and (self.answer.text or not stopped):
                self.turn.kept = True
                self._on_finish(self.answer, self._server_states)
            self.turn.ended = True
            if self._prepared:
                self._on_change(self.turn)

    def _store(self) -> None:
        if self._cached is not None:
            self._cached.restore(self.answer)
        elif self._recording and self._recording.has_content:
            self._request.record(self.answer, self._recording)

    def _end(self, *, stopped: bool) -> None:
        self._open = False
        self.answer.end(stopped=stopped)
        self._images.cancel()
