"""Any value that can be attached, read as bytes or kept as a web address, with a name."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from ..text import error_summary, shorten
from .files import check_size, is_open_file, path_of, read, read_open

_DATA_URI = re.compile(r"data:(?:[\w.+-]+/[\w.+-]+)?(?:;[^,]*?)??(;base64)?,(.*)", re.DOTALL | re.IGNORECASE)
_WEB_ADDRESS = re.compile(r"\s*https?://", re.IGNORECASE)
_DECODED_AT_ONCE = 2**20  # characters
_MAX_NAME = 100  # characters
_MAX_ENCODED_NAME = 20 * _MAX_NAME  # percent-encoded, a character takes at most twelve


class Source(NamedTuple):
    """The content of a value, and what it is called."""

    content: bytes | str
    """Bytes, or a web address."""
    file_name: str
    """The value's own file name, or ""."""
    label: str
    """What error messages call it: "plot.png", "the ndarray"."""


def read_source(value: Any, name: str | None) -> Source:
    """Read a value. In error messages it is called ``name``, if that is given.

    Raises ``ValueError`` in one line if it cannot be sent, ``TypeError`` if it is not a kind of value that can be.
    """
    try:
        return _read_value(value, name)
    except (ValueError, TypeError):
        raise
    except (Exception, SystemExit, GeneratorExit) as error:  # the value's own code may raise anything
        label = shorten(name or f"the {type(value).__name__}")
        raise ValueError(f"{label} cannot be sent: {error_summary(error)}") from error


def is_address(text: str) -> bool:
    """Whether a text is meant as a web address: it begins with http:// or https://."""
    return _WEB_ADDRESS.match(text) is not None


def _read_value(value: Any, name: str | None) -> Source:
    if isinstance(value, str):
        value = getattr(value, "data_uri", None) or value  # an answer's image, which its server may have deleted
        if value.lstrip()[:5].lower() == "data:":
            return Source(_decode_data_uri(value), "", name or "the data URI")
        if is_address(value):
            address = _checked_address(value.strip(), name or "the URL")
            end = urlsplit(address).path[-_MAX_ENCODED_NAME:]  # unquote needs a hundred times the memory of its input
            return Source(address, _name_of(unquote(end)) or "image", address)
    if isinstance(value, bytes | bytearray | memoryview):
        return Source(_to_bytes(value, name or "the bytes"), "", name or "the bytes")
    if isinstance(value, str | os.PathLike):
        path = path_of(value)
        return Source(read(path), _name_of(path), str(path))
    return _read_object(value, name)


def _read_object(value: Any, name: str | None) -> Source:
    from .from_object import picture_of, pixels_of

    type_name = shorten(type(value).__name__)
    label = name or f"the {type_name}"
    try:
        own_name = getattr(value, "filename", None)  # Pillow and IPython have it
        found = picture_of(value)
        if found is None:
            found = pixels_of(value)
        if found is None and is_open_file(value):
            own_name = getattr(value, "name", None)
            label = name or (own_name if isinstance(own_name, str) and own_name else "the file")
            found = read_open(value)
    except (Exception, SystemExit, GeneratorExit) as error:  # the value's own code may raise anything
        raise ValueError(f"{shorten(label)} cannot be sent: {error_summary(error)}") from error
    if isinstance(found, str):
        return read_source(found, name)
    if found is None:
        wanted = "give bytes, a path, a data URI, a URL, an image, a figure, an array or an open file"
        raise TypeError(f"{shorten(name or 'this', 40)} is of type {shorten(type_name, 40)}: {wanted}")
    return Source(found, _name_of(own_name) if isinstance(own_name, str | os.PathLike) else "", label)


def _name_of(path: str | os.PathLike[Any]) -> str:
    """Return the last part of a path as a printable file name, "" if nothing of it is left."""
    name = os.fsdecode(path).replace("\\", "/").rpartition("/")[2].encode(errors="replace").decode()
    name = "".join(character for character in name if character.isprintable())[-_MAX_NAME:]
    return name if name.strip(".") else ""


def _to_bytes(data: bytes | bytearray | memoryview, name: str) -> bytes:
    if isinstance(data, memoryview):
        if data.itemsize != 1:
            what = f"a memoryview whose items have {data.itemsize} bytes"
            raise ValueError(f"{shorten(name)} is {what}: give its bytes, with .cast('B') or .tobytes()")
        check_size(data.nbytes, name)
    else:
        check_size(len(data), name)
    return bytes(data)


def _decode_data_uri(uri: str) -> bytes:
    """Decode any data URI that people write: with parameters, percent-encoded, base64 for URLs, spaces, no padding.

    (``parse_data_uri`` reads only those that this package writes.) Source: RFC 2397.
    """
    check_size(len(uri) // 3, "the data URI")  # percent-encoded, a byte takes three characters
    found = _DATA_URI.fullmatch(uri.strip())
    if found is None:
        raise ValueError("the data URI has no comma between its type and its data")
    try:
        raw = b"".join(map(unquote_to_bytes, _unquotable_blocks(found[2])))
    except ValueError:
        raise ValueError("the data URI has a character in it that cannot be encoded: a lone surrogate") from None
    if not found[1]:
        return raw
    try:
        raw = re.sub(rb"\s", b"", raw).translate(bytes.maketrans(b"-_", b"+/"))
        return base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
    except ValueError:
        raise ValueError("the data URI's base64 is damaged: copy it again, or give the bytes or the file") from None


def _unquotable_blocks(text: str) -> Iterator[str]:
    """Cut a percent-encoded text into blocks, never within an escape; unquoting a whole text needs much memory."""
    at = 0
    while at < len(text):
        end = at + _DECODED_AT_ONCE
        if end < len(text) and (escape := text.rfind("%", end - 2, end)) >= 0:
            end = escape
        yield text[at:end]
        at = end


def _checked_address(url: str, name: str) -> str:
    try:
        parts = urlsplit(url)
        host, has_password = parts.hostname, "@" in parts.netloc
    except ValueError:
        host, has_password = None, False
    if has_password:
        raise ValueError("a web address with a password in it is not sent to a server: give one without")
    if not host or re.search(r"[\s\x00-\x1f\x7f\ud800-\udfff]", url):
        raise ValueError(f"{shorten(name)} is not a web address: {shorten(url)!r}")
    return url
