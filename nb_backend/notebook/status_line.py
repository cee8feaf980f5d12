"""Status line under an answer."""

from __future__ import annotations

from collections.abc import Sequence

from ..chat.answer import Answer, summarize
from ..markdown.elements import escape_line, incomplete_note


def status_line(answer: Answer, failed: bool) -> str:
    """Return ``Answer.summary``, for an answer whose failure only the caller may know."""
    return summarize(answer, failed=failed)


def status_text(answer: Answer, line: str, hints: Sequence[str] = ()) -> str:
    """Return a status line as plain text in brackets, with a mark if the answer is incomplete, and hints after it."""
    return f"[{' · '.join(filter(None, ['incomplete' if answer.shortcomings else '', line, *hints]))}]"


def status_markdown(answer: Answer, line: str, hints: Sequence[str] = ()) -> str:
    """Return a status line as Markdown, with a mark if the answer is incomplete, and hints, Markdown too, after it."""
    status = incomplete_note(line) if answer.shortcomings else f"<small>{escape_line(line)}</small>"
    return status + "".join(f"<small> · {hint}</small>" for hint in hints)
