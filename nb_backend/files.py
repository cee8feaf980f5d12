"""Atomic file writes."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def write(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all, that only its owner may read. ``OSError`` names it, not what is beside it."""
    target = os.path.realpath(path)  # what a link names is written, the link stays
    if os.path.exists(target) and not os.path.isfile(target):  # a device would be gone
        raise ValueError(f"{str(path)!r} cannot be written: it is there, and no file")
    try:
        replace(target, data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def replace(target: str | os.PathLike[str], data: bytes) -> None:
    """Put a file, whole, that only its owner may read, in the place of what has the name: of a link itself, say."""
    handle, made = tempfile.mkstemp(dir=os.path.dirname(target), prefix=".nb_backend-", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(made, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(made)
        raise
