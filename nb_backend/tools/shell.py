"""The IPython shell whose variables, cells and kernel the built-in tools use."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from .. import background, settings
from ..redaction import redact, secrets_in
from .tool import ToolFailed

T = TypeVar("T")


def user_shell() -> Any:
    """Return the running IPython shell; ``ToolFailed`` in one line if there is none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None:
        raise ToolFailed("look, cells and run need IPython: use them in a notebook or an IPython terminal")
    return shell


async def on_cell_thread(function: Callable[[], T]) -> T:
    """Run a function on the thread of the user's cells, and return its result; ``ToolFailed`` if no cell waits."""
    try:
        return await background.on_user_thread(function)
    except background.NobodyWaits:
        raise ToolFailed("cells and run work only while a cell or a call waits for the answer") from None


def without_secrets(text: str, shell: Any) -> str:
    """Return a text with ``***`` in place of keys, and of what variables hold whose names say that it is secret."""
    known = [*secrets_in(os.environ, shell.user_ns), *settings.known_keys()]
    return redact(text.encode("utf-8", "replace").decode("utf-8"), known)
