"""Continue an answer that ended too early: the prompt that asks for the rest.

Most servers cannot go on with an answer that is sent to them, so the continuation is a turn of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..markdown.elements import language_of
from ..providers.finish_reasons import is_limit
from ..typing import Messages
from .answer import Answer
from .messages import metadata

_PROMPT = "Continue exactly where you stopped. Do not repeat anything."
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")


def was_cut_off(answer: Answer) -> bool:
    """Whether an answer has text and was cut off at the token limit."""
    return bool(answer.text.strip()) and answer.finish_reason is not None and is_limit(answer.finish_reason)


def is_out_of_steps(answer: Answer) -> bool:
    """Whether an answer ended because it had as many rounds of tool calls as it may have."""
    return bool(answer.steps) and answer.finish_reason == "max_steps"


def continuation(messages: Messages) -> tuple[str, str | None]:
    """Return the prompt that continues the last answer, and the model that was asked for it, if that is known.

    Raises ``ValueError`` if there is no answer, or if the last one is whole.
    """
    at = next((at for at in reversed(range(len(messages))) if messages[at].get("role") == "assistant"), None)
    if at is None:
        raise ValueError("there is no answer to continue: ask first")
    answer = Answer.of(messages[at])
    if not (answer.text.strip() or answer.steps):
        raise ValueError("the last answer has no text to continue: ask again, with more tokens if there is a limit")
    if not (was_cut_off(answer) or answer.stopped or answer.just_ended or is_out_of_steps(answer)):
        raise ValueError("the last answer was not cut off: ask for more in words")
    question: Mapping[str, Any] = next((one for one in reversed(messages[:at]) if one.get("role") == "user"), {})
    model = metadata(question).get("model")
    return _PROMPT + _fence_hint(answer.rounds[-1][0]), model if isinstance(model, str) and model else None


def _fence_hint(text: str) -> str:
    """Return a sentence that asks for a code fence, if a text ends inside of a fenced code block; else ""."""
    opened: re.Match[str] | None = None
    for found in map(_FENCE.fullmatch, text.split("\n")):
        if found is None:
            continue
        if opened is None:
            opened = found
        elif found[1].startswith(opened[1]) and not found[2].strip():
            opened = None
    return "" if opened is None else f" Begin with {opened[1]}{language_of(opened[2])}, as you stopped inside of code."
