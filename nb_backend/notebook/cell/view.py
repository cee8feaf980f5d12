"""Live answers: in a notebook's cell as one Markdown output, in a terminal as text."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol

from ...chat.answer import Answer
from ...chat.stream import AnswerStream
from ...events import RawResponse
from .notebook_view import CellView
from .terminal_view import TerminalView

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


class View(Protocol):
    """Where answers are shown while they come; ``at`` is which of several."""

    def update(self, event: RawResponse, answer: Answer, at: int = 0) -> None:
        """Show what the event adds."""

    def finish(self, answer: Answer, failed: bool, at: int = 0, error: Exception | None = None) -> None:
        """Show the answer as it stays; of one that has ended already, that is so."""


async def show_stream(stream: AnswerStream, view: View, at: int = 0) -> Answer:
    """Show an answer as it comes. Whatever ends it, what had arrived stays shown."""
    failed, error = True, None
    try:
        async with aclosing(stream):
            async for event in stream:
                view.update(event, stream.answer, at)
        failed = False
    except asyncio.CancelledError:
        failed = False
        raise
    except Exception as failure:
        error = failure
        raise
    finally:
        view.finish(stream.answer, failed, at, error)
    return stream.answer


def view_for(shell: InteractiveShell, format: str = "markdown", names: Sequence[str] = ()) -> View:
    """Choose how to show an answer: as a notebook does, or as a terminal. ``format`` is the one of the cell.

    ``names`` are those of the models where several answer.
    """
    return CellView(shell, format, names) if hasattr(shell, "kernel") else TerminalView(names)
