"""Whether an answer needs another request, and what that request leaves out.

A *round* is one more request for the same answer. ``RULES`` are tried in order; the first that returns a ``Round``
decides. The rule for tool calls belongs at the end of ``RULES``: it applies when a request has ended without a failure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ..events import RawResponse
from .answer import Answer
from .context_limit import is_too_long

Failure: TypeAlias = RawResponse | BaseException | None
"""What ended a request: an error event, an exception, or ``None`` if it ended normally."""


@dataclass(frozen=True)
class Round:
    """One more request for an answer. ``trim`` is how many of the oldest turns it leaves out."""

    trim: int


def trim_history(answer: Answer, failure: Failure, turns: int) -> Round | None:
    """Trim half of the turns that were sent if the request exceeds the context and nothing of the answer has come."""
    has_begun = answer.text or answer.reasoning or answer.images
    if failure is None or has_begun or answer.trimmed >= turns or not is_too_long(failure):
        return None
    return Round(trim=answer.trimmed + (turns - answer.trimmed + 1) // 2)


RULES: tuple[Callable[[Answer, Failure, int], Round | None], ...] = (trim_history,)


def next_round(answer: Answer, failure: Failure, turns: int) -> Round | None:
    """Return the next request that the answer needs, or ``None`` if it needs none.

    ``turns`` is how many turns the history has; ``answer.trimmed`` of them were left out of the last request.
    """
    return next((found for rule in RULES if (found := rule(answer, failure, turns)) is not None), None)
