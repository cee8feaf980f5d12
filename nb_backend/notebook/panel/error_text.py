"""What is said of errors, and without which keys."""

from __future__ import annotations

from collections.abc import Sequence

from ... import debug
from ...errors import BackendError
from ...redaction import SHORTEST_SECRET, redact
from ...text import safe_terminal
from ..errors import LONGEST_MESSAGE


def mask_keys(text: str, keys: Sequence[str]) -> str:
    """Give a text with ``***`` for the keys in it."""
    for key in keys:
        if len(key) >= SHORTEST_SECRET and key in text:
            text = text.replace(key, "***")
    return text


def error_line(error: BaseException, keys: Sequence[str]) -> str:
    """Say in one line what went wrong and, where it is known, what to do; no key is in it."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if isinstance(error, OSError) and isinstance(error.filename, str):
        said = f"{said}: {error.filename}"
    if not isinstance(error, BackendError | ValueError | OSError):
        said = f"{type(error).__name__}: {said}" if said else type(error).__name__
    text = " ".join(safe_terminal(redact(said[: 10 * LONGEST_MESSAGE], keys)).split()) or type(error).__name__
    return text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 1]}…"


def reply_line(error: Exception, keys: Sequence[str]) -> str:
    """Say what stood against a request; what nobody had foreseen is logged as well."""
    line = error_line(error, keys)
    if not isinstance(error, BackendError | ValueError | OSError):
        debug.warn(f"a request of the panel failed: {line}")
    return line
