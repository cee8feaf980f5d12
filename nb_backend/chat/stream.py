"""The stream of an answer's events, and how the answer ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from ..errors import BackendError
from ..events import RawResponse, ServerChanged
from ..providers.tool_calls import ToolCall
from ..tools.tool import wire_name
from .answer import Answer
from .recording import CachedAnswer, EventRecorder
from .rounds import Failure, Round, is_out_of_steps, next_round
from .tool_rounds import BREAK, StepEvent, read_step, step_event
from .turn import Turn

if TYPE_CHECKING:
    from .request import Request


class State(Enum):
    """How far a stream is. Every stream ends in ``DONE``, from whatever state it was in."""

    NEW = auto()
    STREAMING = auto()
    FETCHING_IMAGES = auto()  # the server has sent everything
    DONE = auto()


class AnswerStream(AsyncIterator[RawResponse]):
    """Async iterator over the events of an answer; ``answer`` holds what has arrived so far.

    If the server says that the request exceeds the model's context, and nothing of an answer has arrived, half of the
    turns are trimmed and the request is sent again. An event of type ``trimmed``, with the number of ``turns`` left
    out, comes before the server's own events.

    If the model calls tools of the request, they are carried out, and the answer goes on with their results. An event
    of type ``step`` comes whenever a call changes.

    If the request's cache has the answer, it is replayed and no server is asked. An event of type ``replayed``, with
    the time of the answer (``recorded``), comes first. A complete answer is put into the cache.

    ``on_finish`` is called at most once, with the answer and the states that providers want back, if there is something
    to keep: at the end, or when the stream is left early. ``kept`` is true from then on. ``on_change`` is called
    whenever ``turn`` has changed.

    Images on the server that answers are fetched while the answer streams. The end waits for them; if the stream is
    left at that point, the answer is complete except for the missing images.

    This is a class and not an async generator because asyncio closes all generators at once when a program ends: the
    generator of the provider would be closed before this one has kept the text.
    """

    def __init__(
        self,
        request: Request,
        on_finish: Callable[[Answer, dict[str, Any]], None] | None = None,
        on_change: Callable[[Turn], None] = lambda turn: None,
    ) -> None:
        self.answer = Answer(model=request.model, trimmed=request.trimmed, remarks=request.all_remarks)
        self.turn = Turn(request, self.answer, self.stop)
        self._request = request
        self._on_finish = on_finish
        self._on_change = on_change
        self._server_states: dict[str, Any] = {}
        self._images = request.image_fetcher()
        self._events: AsyncGenerator[RawResponse, None] | None = None  # set by the first request
        self._cached: CachedAnswer | None = None
        self._recorder = EventRecorder() if request.store else None
        self._ahead = self._trim_event(self.answer.trimmed > 0)  # comes before the server's next event
        self._held_back: RawResponse | None = None  # error event that another round will repair
        self._break_is_due = False  # between the texts before and after tool calls
        self._state = State.NEW
        self._stop_requested = False
        self._interrupted = False
        self._waiting: asyncio.Task[Any] | None = None  # task that waits for the next event

    @property
    def kept(self) -> bool:
        """Whether the exchange has become part of the chat."""
        return self.turn.kept

    @property
    def is_replay(self) -> bool:
        """Whether the answer comes from the cache; known once ``prepare`` has ended."""
        return self._cached is not None

    async def __anext__(self) -> RawResponse:
        if self._stop_requested:
            await self.aclose()
            raise StopAsyncIteration
        self._waiting = asyncio.current_task()
        try:
            while (event := await self._next_event()) is None:
                pass
            return event
        except asyncio.CancelledError:
            if not self._interrupted or (self._waiting is not None and self._waiting.uncancel()):
                raise
            raise StopAsyncIteration from None
        finally:
            self._waiting = None

    def stop(self) -> None:
        """Stop the answer, from any thread. The iteration ends normally, and the text so far is kept."""
        self._stop_requested = True
        if (task := self._waiting) is not None:
            with suppress(RuntimeError):  # its loop is closed
                task.get_loop().call_soon_threadsafe(self._interrupt)

    def _interrupt(self) -> None:
        if self._waiting is not None and not self._interrupted:
            self._interrupted = True
            self._waiting.cancel()

    async def prepare(self) -> None:
        """Look in the cache and check the request, before anything is sent. Raises what stands against the request."""
        if self._state is not State.NEW:
            return
        self._state = State.STREAMING
        self._on_change(self.turn)
        try:
            self._cached = self._request.recorded()
            if self._cached is None:
                await self._request.prepare()
        except BaseException as error:
            self._finish(error)
            raise

    async def _next_event(self) -> RawResponse | None:
        """Return the next event, or ``None`` if there is none to show yet. Raises ``StopAsyncIteration`` at the end."""
        try:
            event = await self._receive()
            if event is None:
                if self._start_next_round(None):
                    return None
                await self._fetch_images()
        except asyncio.CancelledError:
            self._finish()
            raise
        except BaseException as error:
            if self._start_next_round(error):
                return None
            self._finish(error)
            raise
        if event is None:
            self._finish(complete=True)
            raise StopAsyncIteration
        kind = event.type
        if self._break_is_due and kind == "content" and str(event).strip():
            self._break_is_due = False
            if self.answer.text:
                self._ahead, event = [event], RawResponse(type="content", content=BREAK)
        if kind == "error" and self._next_round(event) is not None:
            self._held_back = event
            return None
        if kind == "ending":
            self.answer.add(event)
            return None
        if kind == "step" and not (isinstance(event, StepEvent) or self._cached):
            return None  # a server cannot say that a tool was called here
        self._handle_event(event)
        return event

    async def _receive(self) -> RawResponse | None:
        """Return the next event of the current request, ``None`` at its end."""
        events = self._events or await self._open()
        if events is None:
            return None
        if self._ahead:
            return self._ahead.pop()
        try:
            event = await anext(events)
        except StopAsyncIteration:
            return None
        if isinstance(event, ServerChanged):
            self._request.provider = event.server
        elif not self.answer._server and not self._cached:
            self.answer._server = await self._images.server()
        return event

    async def _open(self) -> AsyncGenerator[RawResponse, None] | None:
        """Send the first request, or start the replay; ``None`` if the stream was closed before."""
        await self.prepare()
        if self._state is State.DONE:
            return None
        if self._cached is None:
            self._events = self._request.send(self.answer.trimmed)
        else:
            self._cached.prepare(self.answer)
            self._ahead = self._trim_event(self._cached.trimmed > 0)
            self._events = self._act_again(self._cached) if self._request.act else self._cached.replay()
        return self._events

    def _handle_event(self, event: RawResponse) -> None:
        kind, known = event.type, len(self.answer.images)
        self.answer.add(event)
        self.turn.heard_at = time.monotonic()
        if kind == "conversation" and isinstance(state := event.get("conversation"), dict):
            self._server_states |= state
        if self._recorder:
            self._recorder.add(event)
        if len(self.answer.images) > known and self._state is State.STREAMING and not self._cached:
            self._images.fetch(self.answer.images[known:])
        if kind == "progress":
            self.turn.progress = event
        elif self.turn.progress is not None and kind in ("content", "reasoning"):
            self.turn.progress = None
        self._on_change(self.turn)

    def _next_round(self, failure: Failure) -> Round | None:
        if self._events is None or self._cached is not None or self._state is not State.STREAMING:
            return None
        return next_round(self.answer, self._held_back or failure, self._request.asked)

    def _start_next_round(self, failure: Failure) -> bool:
        """Send another request if the answer needs one. Whether it did."""
        following = self._next_round(failure)
        if following is None:
            if failure is None and not self._cached and is_out_of_steps(self.answer, self._request.asked):
                self.answer.add(RawResponse(type="finish", finish={"reason": "max_steps"}))
            return False
        if following.calls:
            self._break_is_due = True
            self._events = self._carry_out_and_ask(following)
            return True
        if following.drops_format:
            self._request.drop_format()
        is_trimmed, self.answer.trimmed = following.trim > self.answer.trimmed, following.trim
        self._ahead = self._trim_event(is_trimmed)
        self._server_states = {}
        self._held_back = None
        if not self.answer.steps:
            self._recorder = self._recorder and EventRecorder()
        self._events = self._request.send(following.trim)
        return True

    def _trim_event(self, is_due: bool) -> list[RawResponse]:
        return [RawResponse(type="trimmed", turns=self.answer.trimmed)] if is_due else []

    async def _carry_out_and_ask(self, following: Round) -> AsyncGenerator[RawResponse, None]:
        """Carry out the calls, and send their results."""
        request = self._request
        self._server_states = {}
        async with aclosing(self._carry_out(following.calls, len(self.answer.tool_rounds))) as steps:
            async for step in steps:
                yield step
        await request.add_rounds([*self.answer.tool_rounds])
        async with aclosing(request.send(following.trim)) as events:
            async for event in events:
                yield event

    async def _act_again(self, cached: CachedAnswer) -> AsyncGenerator[RawResponse, None]:
        """Replay a stored answer, and carry out its calls again."""
        calls: dict[int, ToolCall] = {}
        number = -1

        def carried_out() -> AsyncGenerator[RawResponse, None]:
            asked = [replace(calls[at], name=wire_name(calls[at].name)) for at in sorted(calls)]
            calls.clear()
            return self._carry_out(asked, number)

        async with aclosing(cached.replay()) as events:
            async for event in events:
                found = read_step(event) if event.type == "step" else None
                if calls and (found is None or found[0] != number):
                    async with aclosing(carried_out()) as steps:
                        async for one in steps:
                            yield one
                if found is None:
                    yield event
                else:
                    number, at, calls[at] = found[0], found[1], found[2].call
        async with aclosing(carried_out()) as steps:
            async for one in steps:
                yield one

    async def _carry_out(self, calls: Sequence[ToolCall], number: int) -> AsyncGenerator[RawResponse, None]:
        """Carry out the calls of the round with this number, and yield an event whenever a step changes."""
        from ..tools.calls import carry_out

        async with aclosing(carry_out(calls, self._request.tools, self._request.consents)) as steps:
            async for at, step in steps:
                yield step_event(number, at, step)

    async def _fetch_images(self) -> None:
        """Wait for the images of the complete answer."""
        if self._state is State.STREAMING:
            self._state = State.FETCHING_IMAGES
            if not self._cached:
                self.answer.close_text()
                self._images.fetch(self.answer.images)
                await self._images.wait()

    async def drain(self) -> Answer:
        """Return the answer when it is complete."""
        async with aclosing(self):
            async for _ in self:
                pass
        return self.answer

    async def aclose(self) -> None:
        """Stop: close the connection, and keep the text so far."""
        self._finish()
        if self._events is not None:
            await self._events.aclose()
        await self._images.wait()

    def __del__(self) -> None:
        self._finish()

    def _finish(self, error: BaseException | None = None, *, complete: bool = False) -> None:
        """End the answer, once: with an error, completely, or early (the default, also for a cancellation)."""
        if self._state is State.DONE:
            return
        before, self._state = self._state, State.DONE
        failed = error is not None and not isinstance(error, asyncio.CancelledError)
        stopped = not failed and before is not State.FETCHING_IMAGES and self.answer.finish_reason is None
        self.answer.end(stopped=stopped, failed=failed)
        if isinstance(error, BackendError):
            error.partial = self.answer.text
        self._images.cancel()
        if complete:
            self._store()
        if not failed and self._on_finish is not None and (self.answer.text or self.answer.steps or not stopped):
            self.turn.kept = True
            self._on_finish(self.answer, self._server_states)
        self.turn.error = error if failed else None
        self.turn.ended = True
        if before is not State.NEW:
            self._on_change(self.turn)

    def _store(self) -> None:
        """Put the answer into the cache, or give a replayed one its original times."""
        if self._cached is not None:
            self._cached.restore(self.answer)
        elif self._recorder and self._recorder.has_content and self.answer.complete and not self._lacked_the_user:
            self._request.record(self.answer, self._recorder)

    @property
    def _lacked_the_user(self) -> bool:
        """Whether a call was refused because nobody could be asked: the next run may have somebody."""
        if not self.answer.steps:
            return False
        from ..tools.consent import NOBODY

        return any(step.error == NOBODY.reason for step in self.answer.steps)
