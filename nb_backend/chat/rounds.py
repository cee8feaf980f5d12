"""Whether an answer needs another request, and what that request leaves out.

A *round* is one more request for the same answer. ``RULES`` are tried in order; the first that returns a ``Round``
decides. The rule for tool calls belongs at the end of ``RULES``: it applies when a request has ended without a failure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ..errors import BackendError
from ..events import RawResponse
from ..providers.reader import event_error
from .answer import Answer
from .context_limit import is_too_long
from .schema import Schema

Failure: TypeAlias = RawResponse | BaseException | None
"""What ended a request: an error event, an exception, or ``None`` if it ended normally."""


@dataclass(frozen=True)
class Round:
    """One more request for an answer. ``trim`` is how many of the oldest turns it leaves out.

    ``drops_format``: it leaves out the field ``response_format``.
    """

    trim: int
    drops_format: bool = False


def trim_history(answer: Answer, failure: Failure, turns: int) -> Round | None:
    """Trim half of the turns that were sent if the request exceeds the context and nothing of the answer has come."""
    if failure is None or _has_begun(answer) or answer.trimmed >= turns or not is_too_long(failure):
        return None
    return Round(trim=answer.trimmed + (turns - answer.trimmed + 1) // 2)


def drop_format(answer: Answer, failure: Failure) -> Round | None:
    """Leave out ``response_format`` if the server may have refused it and nothing of the answer has come."""
    if isinstance(failure, RawResponse) and failure.type == "error":
        failure = event_error(failure)
    if not isinstance(failure, BackendError) or _has_begun(answer) or not Schema.is_refused(failure):
        return None
    return Round(trim=answer.trimmed, drops_format=True)


def _has_begun(answer: Answer) -> bool:
    return bool(answer.text or answer.reasoning or answer.images)


RULES: tuple[Callable[[Answer, Failure, int], Round | None], ...] = (trim_history,)


def next_round(answer: Answer, failure: Failure, turns: int, *, is_formatted: bool = False) -> Round | None:
    """Return the next request that the answer needs, or ``None`` if it needs none.

    ``turns`` is how many turns the history has; ``answer.trimmed`` of them were left out of the last request, which
    had a schema in ``response_format`` if it ``is_formatted``.
    """
    found = next((found for rule in RULES if (found := rule(answer, failure, turns)) is not None), None)
    return drop_format(answer, failure) if found is None and is_formatted else found
