"""Errors as one line without keys."""

from __future__ import annotations

from collections.abc import Sequence

from ... import debug
from ...errors import BackendError
from ...redaction import redact
from ...text import safe_terminal, shorten
from ..errors import LONGEST_MESSAGE

_EXPECTED = BackendError | ValueError | OSError  # their messages are written for the user


def error_line(error: BaseException, keys: Sequence[str]) -> str:
    """Return the message of an error in one line, with ``***`` in place of the keys."""
    message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if isinstance(error, OSError) and isinstance(error.filename, str):
        message = f"{message}: {error.filename}"
    if not isinstance(error, _EXPECTED):
        message = f"{type(error).__name__}: {message}" if message else type(error).__name__
    line = " ".join(safe_terminal(redact(message[: 10 * LONGEST_MESSAGE], keys)).split())
    return shorten(line, LONGEST_MESSAGE) or type(error).__name__


def reply_line(error: Exception, keys: Sequence[str]) -> str:
    """Return the line that a page shows when its request fails; an unexpected error is also logged."""
    line = error_line(error, keys)
    if not isinstance(error, _EXPECTED):
        debug.warn(f"a request of the panel failed: {line}")
    return line
