"""Show answers while they stream: as Markdown in a notebook, as text in a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol

from ...chat.answer import Answer
from ...chat.stream import AnswerStream
from ...events import RawResponse
from ...providers.tool_calls import ToolCall
from ...tools.consent import Asker, Consent
from ...tools.tool import Tool
from ..hints import Hints, no_hints
from .notebook_view import CellView
from .silence import ticking
from .terminal_view import TerminalView

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


class View(Protocol):
    """Shows answers while they stream; ``at`` is the index of one of several."""

    def update(self, event: RawResponse, answer: Answer, at: int = 0) -> None:
        """Show what the event has added to the answer."""

    def tick(self, at: int = 0) -> None:
        """Show how long nothing has arrived; called each second."""

    def flush(self) -> None:
        """Show now what waits for the next repaint: before the user is asked, for example."""

    def shows(self, markdown: str) -> bool:
        """Whether this Markdown is on the page now: what the user is asked about, for example."""

    def finish(self, answer: Answer, failed: bool, at: int = 0, error: Exception | None = None) -> None:
        """Show the final answer; a second call for the same answer changes nothing."""


async def show_stream(
    stream: AnswerStream,
    view: View,
    at: int = 0,
    check: Callable[[Answer], Exception | None] = lambda answer: None,
    name: str = "",
) -> Answer:
    """Show an answer while it streams, and return it. Whatever ends the stream, the text so far stays shown.

    The user is asked about the calls of tools in the cell; ``name`` says whose they are, if several models answer.

    ``check`` returns what is wrong with an answer that has come to its end, ``None`` if it is as wanted. It is shown
    with one of several answers; a single one is the cell's to report.
    """
    failed, error = True, None
    stream.turn.request.consents.asker = _asker(view, name)
    try:
        async with aclosing(stream):
            with ticking(lambda: view.tick(at)):
                async for event in stream:
                    view.update(event, stream.answer, at)
        failed = False
        error = None if stream.answer.stopped else check(stream.answer)
    except asyncio.CancelledError:
        failed = False
        raise
    except Exception as failure:
        error = failure
        raise
    finally:
        view.finish(stream.answer, failed, at, error)
    return stream.answer


def _asker(view: View, name: str) -> Asker:
    """Return what asks about a call in the cell, once the view has shown it."""

    async def ask(call: ToolCall, tool: Tool) -> Consent | None:
        from ...tools.asking import arguments_block, ask_in_cell  # most answers ask nothing

        view.flush()
        return await ask_in_cell(call, tool, model=name, is_shown=view.shows(arguments_block(call, tool)))

    return ask


def view_for(
    shell: InteractiveShell,
    format: str = "markdown",
    names: Sequence[str] = (),
    prompt: str = "",
    hints: Hints = no_hints,
) -> View:
    """Return the view for a notebook or a terminal; ``names`` are the models, if there are several.

    ``prompt`` is what was sent, if that is not the text of the cell. ``hints`` is called at the end for what the status
    line says besides.
    """
    if hasattr(shell, "kernel"):
        return CellView(shell, format, names, prompt, hints)
    return TerminalView(names, hints)
