"""Atomic file writes."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def write(path: Path, data: bytes) -> None:
    """Write a file as a whole or not at all; only its owner may read it. A symbolic link stays, its target is written.

    ``OSError`` names ``path``, not the temporary file. ``ValueError`` if the path is a folder, a device or the like.
    """
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.path.isfile(target):  # ``os.replace`` would remove a device
        raise ValueError(f"{str(path)!r} cannot be written: it exists and is not a regular file")
    try:
        replace(target, data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def replace(target: str | os.PathLike[str], data: bytes) -> None:
    """Put a file that only its owner may read in the place of ``target``; a symbolic link is replaced itself."""
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(target), prefix=".nb_backend-", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
