"""JSON in an answer, for ``-f json`` of a cell and for schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .answer import Answer
from .repaired_json import repaired

REPAIRED = "the JSON was repaired by json-repair"


@dataclass(frozen=True)
class Reading:
    """A text that may be the answer's JSON, and its value; ``error`` says why it is not JSON, "" if it is."""

    text: str
    value: Any = None
    error: str = ""
    is_repaired: bool = False

    def accept(self, answer: Answer) -> None:
        """Note in the answer that its JSON was repaired, if it was."""
        if self.is_repaired and REPAIRED not in answer.remarks:
            answer.remarks.append(REPAIRED)


def readings(answer: Answer, *, inside_text: bool = False) -> Iterator[Reading]:
    """Yield the texts that may be the answer's JSON, the likeliest first: the whole answer, then each code block.

    After tool calls, what the model said last comes after the whole answer.

    ``inside_text`` adds what stands between the first ``{`` and the last ``}``. Texts that are not JSON follow again in
    the form that json-repair gives them, unless the answer is incomplete: nothing is made whole that was cut off.
    """
    whole = answer.text.removeprefix("\ufeff").strip()
    last = [answer.rounds[-1][0].strip()] if answer.steps else []
    texts = [whole, *last, *answer.code, *([whole[whole.find("{") : whole.rfind("}") + 1]] if inside_text else [])]
    found = [*map(_read, texts)]
    yield from found
    for one in found if answer.complete else ():
        if one.error and (text := repaired(one.text)) is not None:
            mended = _read(text)
            yield Reading(mended.text, mended.value, mended.error, is_repaired=True)


def _read(text: str) -> Reading:
    """Parse JSON by the letter of RFC 8259: NaN, infinities and too many levels are errors."""
    try:
        return Reading(text, json.loads(text, parse_constant=_refuse_constant))
    except RecursionError:
        return Reading(text, error="it is nested too deeply")
    except json.JSONDecodeError as error:
        return Reading(text, error=f"{error.msg}: line {error.lineno} column {error.colno}")
    except ValueError as error:
        return Reading(text, error=str(error))


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not allowed in JSON")
