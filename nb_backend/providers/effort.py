"""``effort``: how long a model reasons before it answers, in four words that every dialect translates."""

from __future__ import annotations

from typing import Final

EFFORTS: Final = ("none", "low", "medium", "high")


def check_effort(effort: object) -> str | None:
    """Return the effort. Raises ``ValueError``, in one line, unless it is one of ``EFFORTS`` or ``None``."""
    if effort is None or (isinstance(effort, str) and effort in EFFORTS):
        return effort
    *others, last = EFFORTS
    raise ValueError(f"effort has to be {', '.join(others)} or {last}, not {str(effort)[:40]!r}")
