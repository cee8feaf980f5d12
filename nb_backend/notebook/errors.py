"""Errors of a cell as one line that says what to do, with no key in it."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .. import settings

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
        _show_as(interrupt, "stopped")
        raise


@contextmanager
def report_interrupt(is_kept: Callable[[], bool]) -> Iterator[None]:
    """Show an interrupt as one line that says whether any text of the answer is kept."""
    try:
        yield
    except (KeyboardInterrupt, asyncio.CancelledError) as interrupt:
        _show_as(interrupt, "stopped; the text so far is kept" if is_kept() else "stopped before the answer began")
        raise


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise an interrupt at once: in a cell that awaits, ipykernel would only cancel the next ``await``."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    except KeyboardInterrupt as interrupt:
        _show_as(interrupt, "stopped; nothing was sent")
        raise
    finally:
        if before is not None:  # None is a handler that was not installed from Python
            signal.signal(signal.SIGINT, before)


def _show_as(error: BaseException, text: str) -> None:
    """Show an exception as this one line, unless another line is set already."""
    if not hasattr(error, "_render_traceback_"):
        line = f"{type(error).__name__}: {text}"
        error._render_traceback_ = lambda: [line]  # type: ignore[attr-defined]
