"""Whether an answer needs another request, and what that request leaves out.

A *round* is one more request for the same answer. ``RULES`` are tried in order; the first that returns a ``Round``
decides.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from ..errors import BackendError
from ..events import RawResponse
from ..providers.reader import event_error
from ..providers.tool_calls import ToolCall
from .answer import Answer
from .context_limit import is_too_long
from .schema import Schema

Failure: TypeAlias = RawResponse | BaseException | None
"""What ended a request: an error event, an exception, or ``None`` if it ended normally."""


MAX_STEPS = 10
"""How many rounds of tool calls an answer may have, if ``max_steps`` does not say."""


@dataclass(frozen=True)
class Round:
    """One more request for an answer. ``trim`` is how many of the oldest turns it leaves out.

    ``drops_format``: it leaves out the field ``response_format``. ``calls`` are carried out before it.
    """

    trim: int
    drops_format: bool = False
    calls: list[ToolCall] = field(default_factory=list)


@dataclass(frozen=True)
class Asked:
    """What the rules know about the request.

    ``turns`` is how many turns the history has; ``answer.trimmed`` of them were left out of the last request.
    ``is_formatted``: it had a schema in ``response_format``. ``tools`` are those that can be carried out, by the names
    that were sent, ``others`` the names of those that only the caller can carry out.
    """

    turns: int
    is_formatted: bool = False
    tools: Mapping[str, Any] = field(default_factory=dict)
    others: Collection[str] = frozenset()
    max_steps: int = MAX_STEPS


def trim_history(answer: Answer, failure: Failure, asked: Asked) -> Round | None:
    """Trim half of the turns that were sent if the request exceeds the context and nothing of the round has come."""
    if failure is None or answer.round_has_begun or answer.trimmed >= asked.turns or not is_too_long(failure):
        return None
    return Round(trim=answer.trimmed + (asked.turns - answer.trimmed + 1) // 2)


def drop_format(answer: Answer, failure: Failure, asked: Asked) -> Round | None:
    """Leave out ``response_format`` if the server may have refused it and nothing of the round has come."""
    if isinstance(failure, RawResponse) and failure.type == "error":
        failure = event_error(failure)
    if not (asked.is_formatted and isinstance(failure, BackendError)) or answer.round_has_begun:
        return None
    return Round(trim=answer.trimmed, drops_format=True) if Schema.is_refused(failure) else None


def call_tools(answer: Answer, failure: Failure, asked: Asked) -> Round | None:
    """Carry out the calls of a request that has ended whole, unless one of them is for the caller."""
    calls = answer.tool_calls
    if failure is not None or not (asked.tools and calls and answer.is_whole):
        return None
    if len(answer.tool_rounds) >= asked.max_steps or any(call.name in asked.others for call in calls):
        return None
    taken: set[str] = set()
    named = []
    for at, call in enumerate(calls):
        made_up = f"call_{asked.turns + 1}_{len(answer.tool_rounds) + 1}_{at + 1}"
        id_ = call.id if call.id and call.id not in taken else made_up
        taken.add(id_)
        named.append(replace(call, id=id_))
    return Round(trim=answer.trimmed, calls=named)


RULES: tuple[Callable[[Answer, Failure, Asked], Round | None], ...] = (trim_history, drop_format, call_tools)


def next_round(answer: Answer, failure: Failure, asked: Asked) -> Round | None:
    """Return the next request that the answer needs, or ``None`` if it needs none."""
    return next((found for rule in RULES if (found := rule(answer, failure, asked)) is not None), None)


def is_out_of_steps(answer: Answer, asked: Asked) -> bool:
    """Whether an answer ends although its calls could be carried out, because it had as many rounds as it may have."""
    return (
        len(answer.tool_rounds) >= asked.max_steps
        and call_tools(answer, None, replace(asked, max_steps=2**31)) is not None
    )
