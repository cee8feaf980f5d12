"""Carry out the calls of an answer: all at the same time, each with the user's consent if the tool needs it."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import threading
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence, Set
from contextlib import aclosing, suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias, TypeVar

from .. import settings
from ..media.attachment import Attachment
from ..providers.tool_calls import ToolCall
from ..redaction import mask, redact, secrets_in
from ..text import counted, shorten
from .consent import Consents
from .results import MAX_ITEMS, open_figures, result_of
from .step import ToolStep
from .tool import Tool, ToolFailed

MAX_AT_A_TIME = 8  # calls that run at the same time; the others wait for them
MAX_CALLS = 64  # of one request; more are not carried out
_MAX_ERROR = 500  # characters
_MAX_MESSAGE = 20_000  # characters of an exception's own text that are read
_GRACE = 1  # second that a tool has to end when it is cancelled
_TRACEBACK, _LINE_END = "Traceback (most recent call last):", "\n"
T = TypeVar("T")
Result: TypeAlias = tuple[str, list[Attachment]]
Note: TypeAlias = Callable[[ToolStep], asyncio.Event]
"""Says that a step has changed; the event is set once that was taken."""


async def carry_out(
    calls: Sequence[ToolCall], tools: Mapping[str, Tool], consents: Consents
) -> AsyncGenerator[tuple[int, ToolStep], None]:
    """Carry out calls, and yield each step whenever it changes, with the index of its call.

    ``tools`` are listed by the names that were sent. Questions to the user come one after the other, each once its step
    "asking" was taken, so that a view shows what is asked about. A call that fails, that is refused, that names no tool
    or has wrong arguments is a step with an error. If the generator is left early, nothing waits for the calls that
    still run. An interrupt of a question is a ``CancelledError``.
    """
    changed: asyncio.Queue[tuple[int, ToolStep, asyncio.Event] | None] = asyncio.Queue()
    asking, running = asyncio.Lock(), asyncio.Semaphore(MAX_AT_A_TIME)

    def note(at: int) -> Note:
        def put(step: ToolStep) -> asyncio.Event:
            changed.put_nowait((at, step, taken := asyncio.Event()))
            return taken

        return put

    tasks = [
        asyncio.create_task(_carry_out_one(call, at, tools, consents, asking, running, note(at)))
        for at, call in enumerate(calls)
    ]
    for task in tasks:
        task.add_done_callback(lambda task: changed.put_nowait(None) if task.cancelled() else None)
    try:
        left = len(tasks)
        while left:
            if (change := await changed.get()) is None:
                raise asyncio.CancelledError  # an interrupt of the question
            at, step, taken = change
            left -= step.status == "done"
            yield at, step
            taken.set()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _carry_out_one(
    call: ToolCall,
    at: int,
    tools: Mapping[str, Tool],
    consents: Consents,
    asking: asyncio.Lock,
    running: asyncio.Semaphore,
    note: Note,
) -> None:
    tool = tools.get(call.name)
    step = ToolStep(call if tool is None else replace(call, name=tool.name))
    started: float | None = None
    try:
        if off := settings.tools_off():
            raise ToolFailed(f"tools are turned off by {off}")
        if at >= MAX_CALLS:
            raise ToolFailed(f"only {MAX_CALLS} calls are carried out at a time: call again")
        if tool is None:
            raise ToolFailed(f"there is no tool {shorten(call.name)!r}; the tools are {', '.join(tools) or 'none'}")
        if call.unparsed:
            raise ToolFailed(f"the arguments are not a JSON object: {shorten(call.unparsed, 100)}")
        arguments = _checked(tool, call)
        if tool.approve:
            async with asking:
                if (consent := consents.settled(step.call, tool)) is None:
                    await note(replace(step, status="asking")).wait()  # the user sees what is asked about
                    consent = await consents.decide(step.call, tool)
            step = replace(step, approved=consent.approved)
            if not consent.approved:
                raise ToolFailed(consent.reason)
        async with running:
            note(replace(step, status="running"))
            started = time.monotonic()
            text, images = await _result_of(tool, arguments)
        step = replace(step, result=text, images=images)
    except asyncio.CancelledError:
        raise
    except ToolFailed as error:
        step = replace(step, error=_masked(str(error)))
    except BaseException as error:
        step = replace(step, error=describe_failure(error))
    note(step if started is None else replace(step, seconds=time.monotonic() - started))


def _checked(tool: Tool, call: ToolCall) -> dict[str, Any]:
    try:
        return tool.check(deepcopy(call.arguments))  # what is shown stays what was asked for
    except ValueError as error:
        raise ToolFailed(f"wrong arguments: {error}") from None


async def _result_of(tool: Tool, arguments: dict[str, Any]) -> Result:
    """Call the function: a coroutine function on this loop, any other one on a thread of its own.

    What it returns is written on a thread, too: the code of a value may take long, or hang.
    """
    figures = open_figures()
    call = partial(tool.function, **arguments)
    if inspect.iscoroutinefunction(tool.function) or inspect.iscoroutinefunction(type(tool.function).__call__):
        value = await _awaited(call())
    else:
        value = await _on_thread(tool.name, lambda: _written_unless_awaited(call(), figures))
        if isinstance(value, _Written):
            return value.result
        value = await _awaited(_first_items(value) if isinstance(value, AsyncGenerator) else value)
    return await _on_thread(tool.name, lambda: result_of(value, figures))


def _written_unless_awaited(value: Any, figures: Set[int]) -> Any:
    if inspect.isawaitable(value) or isinstance(value, AsyncGenerator):
        return value
    return _Written(result_of(value, figures))


@dataclass
class _Written:
    """The result of a call that has nothing to be awaited."""

    result: Result


async def _first_items(generator: AsyncGenerator[Any, Any]) -> list[Any]:
    items = []
    async with aclosing(generator):
        async for item in generator:
            items.append(item)
            if len(items) == MAX_ITEMS:
                break
    return items


async def _on_thread(name: str, function: Callable[[], T]) -> T:
    """Run a function on a thread of its own, in this context, and return its result; ``ToolFailed`` if it fails.

    The thread is a daemon: a tool that hangs does not keep the process from ending.
    """
    loop, context = asyncio.get_running_loop(), contextvars.copy_context()
    ended: asyncio.Future[T] = loop.create_future()

    def settle(value: Any, error: ToolFailed | None) -> None:
        if ended.done():  # nobody waits any more
            _discard(value)
        elif error is not None:
            ended.set_exception(error)
        else:
            ended.set_result(value)

    def call() -> None:
        value, error = None, None
        try:
            value = context.run(function)
        except ToolFailed as failure:
            error = failure
        except BaseException as failure:
            error = ToolFailed(describe_failure(failure))
        try:
            loop.call_soon_threadsafe(settle, value, error)
        except RuntimeError:  # the loop is closed
            _discard(value)

    threading.Thread(target=call, name=f"nb_backend tool {name}", daemon=True).start()
    return await ended


def _discard(value: Any) -> None:
    """Close a coroutine that nobody will await; Python would warn about it."""
    if inspect.iscoroutine(value):
        value.close()


async def _awaited(awaitable: Any) -> Any:
    """Await a tool in a task of its own, so that one that does not end when it is cancelled is left behind.

    A cancellation that is not ours, and an exception that would end the loop, are failures of the tool.
    """

    async def run() -> tuple[Any, str | None]:
        try:
            return await awaitable, None
        except (asyncio.CancelledError, ToolFailed):
            raise
        except BaseException as error:
            return None, describe_failure(error)

    task = asyncio.create_task(run())
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait([task], timeout=_GRACE)
        if task.done():
            _discard(awaitable)  # it may not have been started
        raise
    if task.cancelled():
        raise ToolFailed("it was cancelled")
    value, why = task.result()
    if why is not None:
        raise ToolFailed(why)
    return value


def describe_failure(error: BaseException) -> str:
    """Return an exception of a tool in one line, without a traceback and without what looks like a secret."""
    more = 0
    while isinstance(error, BaseExceptionGroup):
        more += len(error.exceptions) - 1
        error = error.exceptions[0]
    name, message = type(error).__name__, ""
    with suppress(BaseException):  # its own code may raise anything
        message = str(error)
    before, traceback, after = message.partition(_TRACEBACK)
    if traceback:  # of another process, as pools quote it
        message = f"{before.strip()} {after.strip().rpartition(_LINE_END)[2]}"
    others = f" (and {counted(more, 'more exception')})" if more else ""
    line = redact(f"{name}: {message[:_MAX_MESSAGE]}".rstrip(": "), [*settings.known_keys(), *secrets_in(os.environ)])
    if len(message) > _MAX_MESSAGE:
        line = line[:-_MAX_ERROR]  # half a secret may be at the end
    return shorten(line + others, _MAX_ERROR)


def _masked(text: str) -> str:
    return shorten(mask(text, settings.known_keys()), _MAX_ERROR)
