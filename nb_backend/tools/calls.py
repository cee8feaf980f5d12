"""Carry out the calls of an answer: all at the same time, each with the user's consent if the tool needs it."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from typing import Any, TypeAlias

from .. import settings
from ..providers.tool_calls import ToolCall
from ..redaction import mask
from ..text import shorten
from .consent import Consents
from .results import result_of
from .step import ToolStep
from .tool import Tool, ToolFailed

MAX_AT_A_TIME = 8  # calls that run at the same time; the others wait for them
MAX_CALLS = 64  # of one request; more are not carried out
_MAX_ERROR = 500  # characters
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
    started = time.monotonic()
    try:
        if off := settings.tools_off():
            raise _CallError(f"tools are turned off by {off}")
        if at >= MAX_CALLS:
            raise _CallError(f"only {MAX_CALLS} calls are carried out at a time: call again")
        if tool is None:
            raise _CallError(f"there is no tool {shorten(call.name)!r}; the tools are {', '.join(tools) or 'none'}")
        if call.unparsed:
            raise _CallError(f"the arguments are not a JSON object: {shorten(call.unparsed, 100)}")
        arguments = _checked(tool, call)
        if tool.approve:
            async with asking:
                if (consent := consents.settled(step.call, tool)) is None:
                    await note(replace(step, status="asking")).wait()  # the user sees what is asked about
                    consent = await consents.decide(step.call, tool)
            step = replace(step, approved=consent.approved)
            if not consent.approved:
                raise _CallError(consent.reason)
        async with running:
            note(replace(step, status="running"))
            started = time.monotonic()
            text, images = result_of(await _value_of(tool, arguments))
        step = replace(step, result=text, images=images, seconds=time.monotonic() - started)
    except asyncio.CancelledError:
        raise
    except _CallError as error:
        step = replace(step, error=_masked(str(error)))
    except ToolFailed as error:
        step = replace(step, error=_masked(str(error)), seconds=time.monotonic() - started)
    except BaseException as error:
        step = replace(step, error=describe_failure(error), seconds=time.monotonic() - started)
    note(step)


def _checked(tool: Tool, call: ToolCall) -> dict[str, Any]:
    try:
        return tool.check(deepcopy(call.arguments))  # what is shown stays what was asked for
    except ValueError as error:
        raise _CallError(f"wrong arguments: {error}") from None


async def _value_of(tool: Tool, arguments: dict[str, Any]) -> Any:
    """Call the function: a coroutine function on this loop, any other one on a thread of its own.

    The thread is a daemon: a tool that hangs does not keep the process from ending.
    """
    if inspect.iscoroutinefunction(tool.function) or inspect.iscoroutinefunction(type(tool.function).__call__):
        return await _guarded(tool.function(**arguments))
    ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    loop, context = asyncio.get_running_loop(), contextvars.copy_context()

    def settle(value: Any, error: BaseException | None) -> None:
        if ended.done():
            return
        if error is not None:
            ended.set_exception(error if isinstance(error, Exception) else _CallError(describe_failure(error)))
        else:
            ended.set_result(value)

    def call() -> None:
        value, error = None, None
        try:
            value = context.run(tool.function, **arguments)
        except BaseException as failure:
            error = failure
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=call, name=f"nb_backend tool {tool.name}", daemon=True).start()
    value = await ended
    return await _guarded(value) if inspect.isawaitable(value) else value


async def _guarded(awaitable: Any) -> Any:
    """Await a tool. A cancellation that is not ours, and what would end the loop, are failures of the tool."""
    try:
        return await awaitable
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise
        raise _CallError("it was cancelled") from None
    except (SystemExit, KeyboardInterrupt) as error:
        raise _CallError(describe_failure(error)) from None


def describe_failure(error: BaseException) -> str:
    """Return an exception of a tool in one line, without a traceback and without keys."""
    name, message = type(error).__name__, ""
    with suppress(Exception):
        message = str(error)
    return _masked(f"{name}: {message}".rstrip(": "))


def _masked(text: str) -> str:
    return shorten(mask(text, settings.known_keys()), _MAX_ERROR)


class _CallError(ToolFailed):
    """A call that has no result, in one line for the model."""
