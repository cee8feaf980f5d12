"""Who decides whether a call may run: ``approve``, an "always" of the user from before, or the user now."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from types import MethodType
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from .. import background
from ..providers.tool_calls import ToolCall
from ..text import error_summary
from ..transport.json_body import encode_json
from .tool import Tool

MAX_READABLE = 100_000  # bytes of arguments that somebody may be asked to read


@dataclass(frozen=True)
class Consent:
    """What was decided about a call. After a no, the model gets ``reason``; ``always`` is for the next calls, too."""

    approved: bool
    reason: str = ""
    always: bool = False


Asker: TypeAlias = Callable[[ToolCall, Tool], Awaitable[Consent | None]]
"""Asks the user about a call, which is the one that runs; ``None`` says that nobody can be asked."""

Approve: TypeAlias = Callable[[ToolCall], Any] | str | None
"""What ``Chat(approve=…)`` takes: a function of a call, sync or async, "always", "never", or ``None`` to ask."""

NOBODY = Consent(False, "nobody can be asked here, so this call was refused")


def check_approve(approve: Approve) -> Approve:
    """Return what ``Chat(approve=…)`` was given; ``ValueError`` if it is nothing of what it takes."""
    if approve is not None and not callable(approve) and approve not in ("always", "never"):
        raise ValueError(f'approve must be a function of a ToolCall, "always" or "never", not {approve!r}')
    return approve


class Allowed:
    """Tools about which the user has answered "always".

    A tool is the same one only if its name, description, schema and function are. Code that was changed, as by
    ``%autoreload``, makes another function. Each tool that an MCP server lists has a function of its own.
    """

    def __init__(self) -> None:
        self._tools: list[tuple[Any, ...]] = []

    def add(self, tool: Tool) -> None:
        """Ask no more about a tool."""
        self._tools.append(_identity(tool))

    def __contains__(self, tool: Tool) -> bool:
        found = _identity(tool)
        return any(one[0] == found[0] and all(map(_is_same, one[1:], found[1:])) for one in self._tools)

    def clear(self) -> None:
        """Ask about every tool again."""
        self._tools.clear()


def _identity(tool: Tool) -> tuple[Any, ...]:
    text = tool.name, tool.description, encode_json(tool.parameters)
    function = tool.function
    owner, function = (function.__self__, function.__func__) if isinstance(function, MethodType) else (None, function)
    return text, owner, function, getattr(function, "__code__", None)


def _is_same(one: Any, other: Any) -> bool:
    return one is other  # a function of the user may claim to be equal to any other


allowed_in_session = Allowed()
"""What was allowed until the process ends."""

_allowed_in_run: WeakKeyDictionary[object, Allowed] = WeakKeyDictionary()


@dataclass
class Consents:
    """Decides about the calls of an answer.

    ``asker`` asks the user; ``None`` means that nobody can be asked. ``run`` is the run of a cell that asks: an
    "always" about a tool of scope "cell" counts for all answers of that run, and without one for this answer.
    """

    approve: Approve = None
    asker: Asker | None = None
    run: object = None
    _allowed: Allowed = field(default_factory=Allowed, repr=False, compare=False)

    def settled(self, call: ToolCall, tool: Tool) -> Consent | None:
        """Return what is known about a call without asking; ``None`` if it is to be asked."""
        if callable(self.approve):
            return None
        if self.approve is not None:
            return Consent(True) if self.approve == "always" else Consent(False, 'approve="never" refused this call')
        if tool in self._allowed_of(tool):
            return Consent(True, always=True)
        if self.asker is None:
            return NOBODY
        if (size := len(encode_json(call.arguments))) > MAX_READABLE:
            return Consent(False, f"{size // 1000:,} kB of arguments are too long to be read, so this call was refused")
        return None

    async def decide(self, call: ToolCall, tool: Tool) -> Consent:
        """Ask about a call that is not settled."""
        call = replace(call, arguments=deepcopy(call.arguments))  # whoever is asked cannot change what runs
        if callable(self.approve):
            return await _approved(self.approve, call)
        consent = None if self.asker is None else await self.asker(call, tool)
        if consent is None:
            return NOBODY
        if not consent.approved:
            return Consent(False, f"the user refused this call{consent.reason and f': {consent.reason}'}")
        if consent.always:
            self._allowed_of(tool).add(tool)
        return consent

    def _allowed_of(self, tool: Tool) -> Allowed:
        if tool.scope == "session":
            return allowed_in_session
        return self._allowed if self.run is None else _allowed_in_run.setdefault(self.run, self._allowed)


async def _approved(approve: Callable[[ToolCall], Any], call: ToolCall) -> Consent:
    """Return what the function of the user decides: a bool, or a ``Consent``; a failure is a no.

    A function that is not async may call ``input``, so it runs on the thread that waits for the answer, if any does.
    """
    try:
        if inspect.iscoroutinefunction(approve):
            answer = await approve(call)
        else:
            try:
                answer = await background.on_user_thread(partial(approve, call))
            except background.NobodyWaits:
                answer = await asyncio.to_thread(approve, call)
            answer = await answer if inspect.isawaitable(answer) else answer
    except (Exception, SystemExit) as error:
        return Consent(False, f"this call was refused, as approve= raised {error_summary(error)}")
    if isinstance(answer, Consent):
        return answer if answer.approved or answer.reason else Consent(False, "approve= refused this call")
    if not isinstance(answer, bool):
        kind = type(answer).__name__
        return Consent(False, f"this call was refused, as approve= returned {kind} in place of True or False")
    return Consent(answer, "" if answer else "approve= refused this call")
