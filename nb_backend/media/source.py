"""Any accepted input as bytes and a name."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from ..text import error_summary, shorten
from .files import check_size, is_open_file, path_of, read, read_open

_DATA_URI = re.compile(r"data:(?:[\w.+-]+/[\w.+-]+)?(?:;[^,]*?)??(;base64)?,(.*)", re.DOTALL | re.IGNORECASE)
_URL = re.compile(r"\s*https?://", re.IGNORECASE)
_BLOCK = 2**20  # characters decoded at a time
_LONGEST_NAME = 100  # characters; percent-encoded, each takes twelve at the most


def _content(thing: Any, name: str | None) -> tuple[bytes | str, str, str]:
    """Give what a thing holds, or its address; its own file name, if it has one; and what to call it in an error."""
    try:
        return _content_of(thing, name)
    except (ValueError, TypeError):
        raise
    except (Exception, SystemExit, GeneratorExit) as error:  # whatever somebody's object raises
        raise ValueError(
            f"{shorten(name or f'the {type(thing).__name__}')} cannot be sent: {error_summary(error)}"
        ) from error


def _content_of(thing: Any, name: str | None) -> tuple[bytes | str, str, str]:
    if isinstance(thing, str):
        thing = getattr(thing, "data_uri", None) or thing  # an image of an answer, which may be gone from the web
        if thing.lstrip()[:5].lower() == "data:":
            return _decode_data_uri(thing), "", name or "the data URI"
        if is_address(thing):
            address = _web_address(thing.strip(), name or "the URL")
            end = urlsplit(address).path[-20 * _LONGEST_NAME :]  # to unquote takes a hundred times the memory
            return address, _name_of(unquote(end)) or "image", address
    if isinstance(thing, bytes | bytearray | memoryview):
        return _bytes_of(thing, name or "the bytes"), "", name or "the bytes"
    if isinstance(thing, str | os.PathLike):
        path = path_of(thing)
        return read(path), _name_of(path), str(path)
    return _content_of_object(thing, name)


def _content_of_object(value: Any, name: str | None) -> tuple[bytes | str, str, str]:
    from .from_object import picture_of, pixels_of

    kind = shorten(type(value).__name__)
    said = name or f"the {kind}"
    try:
        own = getattr(value, "filename", None)  # of Pillow and of IPython
        found = picture_of(value)
        if found is None:
            found = pixels_of(value)
        if found is None and is_open_file(value):
            own = getattr(value, "name", None)
            said = name or (own if isinstance(own, str) and own else "the file")
            found = read_open(value)
    except (Exception, SystemExit, GeneratorExit) as error:  # whatever somebody's object raises
        raise ValueError(f"{shorten(said)} cannot be sent: {error_summary(error)}") from error
    own = _name_of(own) if isinstance(own, str | os.PathLike) else ""
    if isinstance(found, str):
        return _content(found, name)
    if found is None:
        wanted = "give bytes, a path or a data URI, a URL, a picture, a figure, an array or an open file"
        raise TypeError(f"{shorten(name or 'this', 40)} is of type {shorten(kind, 40)}: {wanted}")
    return found, own, said


def _name_of(path: str | os.PathLike[Any]) -> str:
    """Give the last part of a path as a file name that can be shown."""
    name = os.fsdecode(path).replace("\\", "/").rpartition("/")[2].encode(errors="replace").decode()
    name = "".join(sign for sign in name if sign.isprintable())[-_LONGEST_NAME:]
    return name if name.strip(".") else ""


def _bytes_of(data: bytes | bytearray | memoryview, name: str) -> bytes:
    if isinstance(data, memoryview):
        if data.itemsize != 1:
            what = f"a memoryview whose items have {data.itemsize} bytes"
            raise ValueError(f"{shorten(name)} is {what}: give its bytes, with .cast('B') or .tobytes()")
        check_size(data.nbytes, name)
    else:
        check_size(len(data), name)
    return bytes(data)


def _decode_data_uri(uri: str) -> bytes:
    check_size(len(uri) // 3, "the data URI")  # percent-encoded, a byte takes three characters
    found = _DATA_URI.fullmatch(uri.strip())
    if found is None:
        raise ValueError("the data URI has no comma between its type and its data")
    try:
        raw = b"".join(map(unquote_to_bytes, _blocks(found[2])))
    except ValueError:
        raise ValueError("the data URI has a character in it that no file can have") from None
    if not found[1]:
        return raw
    try:
        raw = re.sub(rb"\s", b"", raw).translate(bytes.maketrans(b"-_", b"+/"))
        return base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
    except ValueError:
        raise ValueError("the data URI's base64 is damaged") from None


def _blocks(text: str) -> Iterator[str]:
    """Cut a percent-encoded text, which takes a hundred times its memory to decode; not within an escape."""
    at = 0
    while at < len(text):
        end = at + _BLOCK
        if end < len(text) and (escape := text.rfind("%", end - 2, end)) >= 0:
            end = escape
        yield text[at:end]
        at = end


def is_address(text: str) -> bool:
    """Whether a text is meant as an address of the web."""
    return _URL.match(text) is not None


def _web_address(url: str, name: str) -> str:
    try:
        parts = urlsplit(url)
        host, has_key = parts.hostname, "@" in parts.netloc
    except ValueError:
        host, has_key = None, False
    if has_key:
        raise ValueError("an address with a password in it is not passed on: give one without")
    if not host or re.search(r"[\s\x00-\x1f\x7f\ud800-\udfff]", url):
        raise ValueError(f"{shorten(name)} is no address of the web: {shorten(url)!r}")
    return url
