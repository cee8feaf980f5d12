"""Who decides whether a call may run."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ..providers.tool_calls import ToolCall
from .tool import Tool


@dataclass(frozen=True)
class Consent:
    """What the user answered: ``reason`` goes to the model after a no; ``always`` is for the next calls, too."""

    approved: bool
    reason: str = ""
    always: bool = False


Asker: TypeAlias = Callable[[ToolCall, Tool], Awaitable[Consent]]
"""Asks the user. The call that it gets is the one that runs."""

Approve: TypeAlias = Callable[[ToolCall], Any] | str | None
"""What ``Chat(approve=…)`` takes: a function of a call, sync or async, "always", "never", or ``None`` to ask."""


def check_approve(approve: Approve) -> Approve:
    """Return what ``Chat(approve=…)`` was given; ``ValueError`` if it is nothing of what it takes."""
    if approve is not None and not callable(approve) and approve not in ("always", "never"):
        raise ValueError(f'approve must be a function of a ToolCall, "always" or "never", not {approve!r}')
    return approve


@dataclass
class Consents:
    """Decides about the calls of an answer: by ``approve``, by what was answered with "always", by asking the user."""

    approve: Approve = None
    asker: Asker | None = None
    always: set[str] = field(default_factory=set)

    async def decide(self, call: ToolCall, tool: Tool) -> Consent | None:
        """Return what was answered about a call; ``None`` if no question is needed."""
        if not tool.approve:
            return None
        if callable(self.approve):
            answer = self.approve(call)
            answer = await answer if inspect.isawaitable(answer) else answer
            return Consent(answer is True)
        if self.approve is not None:
            return Consent(self.approve == "always")
        if tool.name in self.always:
            return Consent(True)
        if self.asker is None:
            return Consent(False, "nobody can be asked here")
        return await self.asker(call, tool)
