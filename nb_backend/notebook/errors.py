"""Errors of a cell as one line that says what to do, with no key in it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .. import settings
from ..background import raised_interrupts
from ..capture import is_shown, shown_stop

if TYPE_CHECKING:
    from .magic.question import Question


LONGEST_MESSAGE = 1_000  # characters


class MagicError(ValueError):
    """A mistake in a cell. The message is one line of at most ``LONGEST_MESSAGE`` characters, with no key in it."""

    def __init__(self, error: Exception) -> None:
        from ..redaction import redact  # not when the extension is loaded
        from ..text import truncate

        text = " ".join(redact(str(error), settings.known_keys()).split())
        super().__init__(truncate(text, LONGEST_MESSAGE))

    def _render_traceback_(self) -> list[str]:
        return [f"%%backend: {self}"]


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Raise a ``TypeError`` or ``ValueError`` as a ``MagicError``, and show an interrupt as one line."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise MagicError(error) from error
    except (KeyboardInterrupt, asyncio.CancelledError) as interrupt:
        raise _shown(interrupt, "stopped") from None


@contextmanager
def report_interrupt(question: Question) -> Iterator[None]:
    """Show an interrupt as one line, unless the status line of the answer says that it was stopped."""
    try:
        yield
    except (KeyboardInterrupt, asyncio.CancelledError) as interrupt:
        line = "stopped; the text so far is kept" if question.kept else "stopped before the answer began"
        raise (shown_stop(interrupt, line) if question.shown else _shown(interrupt, line)) from None


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise an interrupt at once, as one line, while nothing has been sent."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    try:
        with raised_interrupts():
            yield
    except KeyboardInterrupt as interrupt:
        raise _shown(interrupt, "stopped; nothing was sent") from None


def _shown(interrupt: BaseException, line: str) -> BaseException:
    """Display a line in the output of the cell, unless one is there, and return the interrupt for IPython."""
    if is_shown(interrupt):
        return interrupt
    from IPython.display import display

    from .report import Report

    display(Report(line))
    return shown_stop(interrupt, line)
