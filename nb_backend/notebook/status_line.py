"""Status line under an answer."""

from __future__ import annotations

from ..chat.answer import Answer, summarize


def status_line(answer: Answer, failed: bool) -> str:
    """Return ``Answer.summary``, for an answer whose failure only the caller may know."""
    return summarize(answer, failed=failed)
