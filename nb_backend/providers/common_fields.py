"""Keywords of a call that every dialect translates, as each has other names and forms for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

EFFORTS: Final = ("none", "low", "medium", "high")
"""Values of ``effort``: how long a model reasons before it answers."""
LIMITS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
"""Names of the limit of an answer's tokens."""


def check_effort(effort: object) -> str | None:
    """Return the effort. Raises ``ValueError``, in one line, unless it is one of ``EFFORTS`` or ``None``."""
    if effort is None or (isinstance(effort, str) and effort in EFFORTS):
        return effort
    *others, last = EFFORTS
    raise ValueError(f"effort has to be {', '.join(others)} or {last}, not {str(effort)[:40]!r}")


def split_extra_body(fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the keywords of a call without ``extra_body``, and its fields, which go into the body as they are.

    ``TypeError`` if it is neither a dict nor ``None``.
    """
    given = dict(fields)
    extra = given.pop("extra_body", None)
    if not isinstance(extra, dict | None):
        raise TypeError(f"extra_body has to be a dict of fields, not {type(extra).__name__}")
    return given, extra or {}
