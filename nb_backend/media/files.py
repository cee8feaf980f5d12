"""Bounded reading of files, by path or open."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import Any

from ..text import error_summary, shorten

MAX_SIZE = 64 * 2**20  # bytes of one attachment: what the embedded backend takes in one request
_CHUNK = 2**20  # bytes read at a time


def check_size(size: int, name: str) -> None:
    """Refuse what is too large to be sent."""
    if size > MAX_SIZE:
        raise ValueError(f"{shorten(name)} has {size / 2**20:.0f} MB, and {MAX_SIZE / 2**20:.0f} MB is the most")


def path_of(named: str | os.PathLike[Any]) -> Path:
    """Give the path that a text or a path names, with the home that ``~`` stands for."""
    try:
        return Path(os.path.expanduser(os.fsdecode(named)))
    except Exception as error:  # whatever somebody's __fspath__ raises
        raise ValueError(f"the {shorten(type(named).__name__)} names no file: {error_summary(error)}") from error


def read(path: Path) -> bytes:
    """Read a file; ``ValueError`` in one line if it is none, or cannot be read, or is too large, before it is."""
    name = shorten(str(path))
    if "\0" in str(path):
        raise ValueError(f"{name!r} names no file: there is a null byte in it")
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "no ordinary file"
            raise ValueError(f"{name} is {what}: name a file")
        check_size(status.st_size, name)
        with path.open("rb") as file:
            return file.read(MAX_SIZE + 1)
    except FileNotFoundError:
        raise ValueError(f"there is no file {name} in {_here()}") from None
    except UnicodeError:
        raise ValueError(f"{name} names no file: there is a character in it that no name can have") from None
    except OSError as error:
        raise ValueError(f"{name} cannot be read: {error.strerror}") from None


def _here() -> str:
    try:
        return shorten(os.getcwd())
    except OSError:
        return "a folder that is gone"


def is_open_file(value: Any) -> bool:
    """Whether this is something to read from."""
    return not isinstance(value, type) and callable(getattr(value, "read", None))


def read_open(file: Any) -> bytes:
    """Read an open file from its start, and leave it where it stood; one that cannot seek is read from there."""
    if isinstance(file, io.TextIOBase):
        raise ValueError("it is open as text: open it with mode 'rb'")
    size = _size_on_disk(file)
    if size > MAX_SIZE:
        raise ValueError(f"it has {size / 2**20:.0f} MB, and {MAX_SIZE / 2**20:.0f} MB is the most")
    seekable = getattr(file, "seekable", None)
    if not (seekable() if callable(seekable) else hasattr(file, "seek") and hasattr(file, "tell")):
        return _read_some(file)
    stood = file.tell()
    try:
        file.seek(0)
        return _read_some(file)
    finally:
        file.seek(stood)


def _read_some(file: Any) -> bytes:
    """Read until the end, or until it is too much."""
    data = bytearray()
    while len(data) <= MAX_SIZE and (read := file.read(_CHUNK)):
        if isinstance(read, str):
            raise ValueError("it is open as text: open it with mode 'rb'")
        if not isinstance(read, bytes | bytearray | memoryview):
            if callable(close := getattr(read, "close", None)):  # of a coroutine
                close()
            raise ValueError(f"its read() gives {shorten(type(read).__name__, 40)} instead of bytes")
        data += read
    return bytes(data)


def _size_on_disk(file: Any) -> int:
    try:
        return os.fstat(file.fileno()).st_size
    except Exception:  # it is none of the system's
        return 0
