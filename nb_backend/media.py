"""What goes along with a question: bytes, files, URIs and whatever shows itself as a picture, as data URIs."""

from __future__ import annotations

import base64
import io
import os
import re
import stat
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from .media_types import is_cut
from .media_types import media_type as media_type

MAX_SIZE = 64 * 2**20  # bytes of one attachment: what the embedded backend takes in one request

_DATA_URI = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[^;,]*)*?)(;base64)?,(.*)", re.DOTALL | re.IGNORECASE)
_URL = re.compile(r"\s*https?://", re.IGNORECASE)
_CHUNK = 2**20  # bytes read at a time


def to_data_uri(data: Any, name: str | None = None) -> str:
    """Give what a person calls a picture as a data URI whose type its content decides; a URL as it is.

    Bytes, files by their path or open ones (read from the start, left where they stood), data URIs, arrays of pixels,
    figures, and objects that show themselves as a picture. A web address is checked, and never fetched.

    ``name`` stands in what is said of a failure. ``ValueError`` says in one line what the thing is and why it cannot go
    along; ``TypeError`` if it is no kind of thing that can be sent.
    """
    if isinstance(data, str):
        if data[:5].lower() == "data:":
            return _encode(_decode_data_uri(data), name or "the data URI")
        if _URL.match(data):
            return _web_address(data.strip(), name or "the URL")
    if isinstance(data, bytes | bytearray | memoryview):
        return _encode(_bytes_of(data, name or "the bytes"), name or "the bytes")
    if isinstance(data, str | os.PathLike):
        return _from_file(data)
    return _from_object(data, name)


def _from_object(value: Any, name: str | None) -> str:
    from .pictures import picture_of  # only when it is needed

    kind = _short(type(value).__name__)
    try:
        found = picture_of(value)
        if found is None and _is_file(value):
            named = getattr(value, "name", None)
            name = name or (named if isinstance(named, str) and named else "the file")
            found = _read_open(value)
    except Exception as error:  # whatever somebody's object raises
        raise ValueError(f"{_short(name or f'the {kind}')} cannot be sent: {_reason(error)}") from error
    if isinstance(found, str):
        return to_data_uri(found, name)
    if found is None:
        wanted = "give bytes, a path or a data URI, a URL, a picture, a figure, an array or an open file"
        raise TypeError(f"{_short(name or 'this', 40)} is of type {_short(kind, 40)}: {wanted}")
    return _encode(found, name or f"the {kind}")


def _encode(data: bytes, name: str) -> str:
    if not data:
        raise ValueError(f"{_short(name)} is empty: there is nothing to send")
    _check_size(len(data), name)
    kind = media_type(data)
    if kind is None:
        raise ValueError(f"{_short(name)} is no image, sound, film or PDF by its content: put text into the question")
    if is_cut(data, kind):
        raise ValueError(f"{_short(name)} is {kind} and cut off: its end is missing")
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _check_size(size: int, name: str) -> None:
    if size > MAX_SIZE:
        raise ValueError(f"{_short(name)} has {size / 2**20:.0f} MB, and {MAX_SIZE / 2**20:.0f} MB is the most")


def _bytes_of(data: bytes | bytearray | memoryview, name: str) -> bytes:
    if isinstance(data, memoryview):
        if data.itemsize != 1:
            what = f"a memoryview whose items have {data.itemsize} bytes"
            raise ValueError(f"{_short(name)} is {what}: give its bytes, with .cast('B') or .tobytes()")
        _check_size(data.nbytes, name)
    else:
        _check_size(len(data), name)
    return bytes(data)


def _decode_data_uri(uri: str) -> bytes:
    _check_size(len(uri) // 3, "the data URI")  # percent-encoded, a byte takes three characters
    found = _DATA_URI.fullmatch(uri.strip())
    if found is None:
        raise ValueError("the data URI has no comma between its type and its data")
    try:
        raw = unquote_to_bytes(found[4])
    except ValueError:
        raise ValueError("the data URI has a character in it that no file can have") from None
    if not found[3]:
        return raw
    try:
        raw = re.sub(rb"\s", b"", raw).translate(bytes.maketrans(b"-_", b"+/"))
        return base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
    except ValueError:
        raise ValueError("the data URI's base64 is damaged") from None


def _web_address(url: str, name: str) -> str:
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    if not host or re.search(r"[\s\x00-\x1f\x7f\ud800-\udfff]", url):
        raise ValueError(f"{_short(name)} is no address of the web: {_short(url)!r}")
    return url


def _from_file(named: str | os.PathLike[Any]) -> str:
    try:
        path = Path(os.path.expanduser(os.fsdecode(named)))
    except Exception as error:  # whatever somebody's __fspath__ raises
        raise ValueError(f"the {_short(type(named).__name__)} names no file: {_reason(error)}") from error
    return _encode(_read(path), str(path))


def _read(path: Path) -> bytes:
    name = _short(str(path))
    if "\0" in str(path):
        raise ValueError(f"{name!r} names no file: there is a null byte in it")
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "no ordinary file"
            raise ValueError(f"{name} is {what}: name a file")
        _check_size(status.st_size, name)
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
        return _short(os.getcwd())
    except OSError:
        return "a folder that is gone"


def _is_file(value: Any) -> bool:
    return not isinstance(value, type) and callable(getattr(value, "read", None))


def _read_open(file: Any) -> bytes:
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
            raise ValueError(f"its read() gives {_short(type(read).__name__, 40)} instead of bytes")
        data += read
    return bytes(data)


def _size_on_disk(file: Any) -> int:
    try:
        return os.fstat(file.fileno()).st_size
    except Exception:  # it is none of the system's
        return 0


def _reason(error: Exception) -> str:
    """Say what an exception says, in half a line."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return _short(said or type(error).__name__, 100)


def _short(name: str, most: int = 80) -> str:
    """Give a text in one line of at most so many characters, without its middle if need be."""
    half = most // 2
    name = name if len(name) <= most else f"{name[:half]}…{name[1 - half :]}"
    return " ".join(name.encode(errors="replace").decode().split())
