"""JSON in an answer, for ``-f json`` of a cell and the schemas of ``map``."""

from __future__ import annotations

import json
from typing import Any

from .answer import Answer


def json_candidates(answer: Answer) -> list[str]:
    """Return the texts that may be the answer's JSON, the likeliest first: the whole answer, then each code block."""
    return [answer.text.removeprefix("\ufeff").strip(), *answer.code]


def parse_json(text: str) -> Any:
    """Parse JSON by the letter of RFC 8259; ``ValueError`` for NaN and infinities, and for too many levels."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not allowed in JSON")
