"""Files read within a size limit, by path or already open."""

from __future__ import annotations

import io
import os
import re
import stat
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from ..text import error_summary, shorten

MAX_SIZE = 64 * 2**20  # bytes of one attachment
_READ_AT_ONCE = 2**20  # bytes
_FILE_URL = re.compile(r"\s*file:/", re.IGNORECASE)


def check_size(size: int, name: str) -> None:
    """Raise ``ValueError`` if this many bytes are more than ``MAX_SIZE``."""
    if size > MAX_SIZE:
        most = f"at most {MAX_SIZE / 2**20:.0f} MB can be sent"
        raise ValueError(f"{shorten(name)} has {size / 2**20:.0f} MB, and {most}: make it smaller")


def path_of(path: str | os.PathLike[Any]) -> Path:
    """Return the path, with ``~`` replaced by the home directory; ``file:///home/me/a%20b.png`` is a path, too.

    ``ValueError`` if ``__fspath__`` fails, or if the address names another machine.
    """
    try:
        text = os.fsdecode(path)
    except Exception as error:  # __fspath__ may be anybody's code
        raise ValueError(f"the {shorten(type(path).__name__)} is not a path: {error_summary(error)}") from error
    return Path(_path_of_url(text, os.name == "nt") if _FILE_URL.match(text) else os.path.expanduser(text))


def _path_of_url(url: str, on_windows: bool) -> str:
    """Return the path in the address of a file. Source: RFC 8089."""
    rest = url.strip()[len("file:") :]
    if rest.startswith("//"):
        host, slash, rest = rest[2:].partition("/")
        if on_windows and re.fullmatch("[A-Za-z][:|]", host):  # file://C:/a.png
            host, rest = "", f"{host}/{rest}"
        if host.lower() not in ("", "localhost"):
            raise ValueError(f"{shorten(url)} names a file on the machine {shorten(host, 40)}: give a path")
        rest = slash + rest
    path = os.fsdecode(unquote_to_bytes(rest))
    if on_windows and (drive := re.match("/*([A-Za-z])[:|]", path)):
        path = f"{drive[1]}:{path[drive.end() :]}"
    return path


def read(path: Path) -> bytes:
    """Return the content of a file. ``ValueError`` if it is missing, not a regular file, not readable or too large."""
    name = shorten(str(path))
    if "\0" in str(path):
        raise ValueError(f"{name!r} is not a file name: it has a null byte in it")
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise ValueError(f"{name} is {what}: give the path of a file")
        check_size(status.st_size, name)
        with path.open("rb") as file:
            return file.read(MAX_SIZE + 1)
    except FileNotFoundError:
        raise ValueError(f"there is no file {name} in {_working_directory()}") from None
    except UnicodeError:
        raise ValueError(f"{name} is not a file name: it has a character that no file name can have") from None
    except OSError as error:
        raise ValueError(f"{name} cannot be read: {error.strerror}") from None


def is_open_file(value: Any) -> bool:
    """Whether the value can be read from."""
    return not isinstance(value, type) and callable(getattr(value, "read", None))


def read_open(file: Any) -> bytes:
    """Read an open file from its start and put it back where it was; a file that cannot seek is read from there.

    At most one block more than ``MAX_SIZE`` is read. ``ValueError`` if the file is too large or does not give bytes.
    """
    if isinstance(file, io.TextIOBase):
        raise ValueError("it is open as text: open it with mode 'rb'")
    check_size(_size_on_disk(file), "it")
    seekable = getattr(file, "seekable", None)
    if not (seekable() if callable(seekable) else hasattr(file, "seek") and hasattr(file, "tell")):
        return _read_blocks(file)
    position = file.tell()
    try:
        file.seek(0)
        return _read_blocks(file)
    finally:
        file.seek(position)


def _read_blocks(file: Any) -> bytes:
    data = bytearray()
    while len(data) <= MAX_SIZE and (block := file.read(_READ_AT_ONCE)):
        if isinstance(block, str):
            raise ValueError("it is open as text: open it with mode 'rb'")
        if not isinstance(block, bytes | bytearray | memoryview):
            if callable(close := getattr(block, "close", None)):  # a coroutine warns if it is never awaited
                close()
            raise ValueError(f"its read() returns {shorten(type(block).__name__, 40)} instead of bytes")
        data += block
    return bytes(data)


def _size_on_disk(file: Any) -> int:
    try:
        return os.fstat(file.fileno()).st_size
    except Exception:  # not a file of the operating system
        return 0


def _working_directory() -> str:
    try:
        return shorten(os.getcwd())
    except OSError:
        return "the working directory, which was deleted"
