"""How a cell fails: in one line that says what to do, with no key in it."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .. import settings

LONGEST_MESSAGE = 1_000  # characters


class MagicError(ValueError):
    """A cell that cannot be asked as it stands; the message is one line, says what to do, and has no key in it."""

    def __init__(self, error: Exception) -> None:
        from ..redaction import redact

        text = " ".join(redact(str(error), settings.known_keys()).split())
        super().__init__(text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 1]}…")

    def _render_traceback_(self) -> list[str]:
        return [f"%%backend: {self}"]


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Show as one line what is the caller's own mistake, and an interrupt."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise MagicError(error) from error
    except (KeyboardInterrupt, asyncio.CancelledError) as interrupt:
        _show_as(interrupt, "stopped")
        raise


@contextmanager
def report_interrupt(is_kept: Callable[[], bool]) -> Iterator[None]:
    """Say of an answer that is stopped whether anything of it is kept."""
    try:
        yield
    except (KeyboardInterrupt, asyncio.CancelledError) as interrupt:
        _show_as(interrupt, "stopped, and what was said is kept" if is_kept() else "stopped before a word was said")
        raise


@contextmanager
def interruptible() -> Iterator[None]:
    """Let an interrupt end what runs here: in a cell that awaits, ipykernel would only cancel the next ``await``."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    except KeyboardInterrupt as interrupt:
        _show_as(interrupt, "stopped, and nothing was sent")
        raise
    finally:
        if before is not None:  # one that Python knows
            signal.signal(signal.SIGINT, before)


def _show_as(error: BaseException, words: str) -> None:
    """Have an exception shown as one line, unless that was said before."""
    if not hasattr(error, "_render_traceback_"):
        line = f"{type(error).__name__}: {words}"
        error._render_traceback_ = lambda: [line]  # type: ignore[attr-defined]
