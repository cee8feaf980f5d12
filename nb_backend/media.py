"""What goes along with a question: bytes, files and data URIs, as data URIs."""

from __future__ import annotations

import base64
import os
import re
import stat
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

MAX_SIZE = 64 * 2**20  # bytes of one attachment: what the embedded backend takes in one request

_DATA_URI = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[^;,]*)*?)(;base64)?,(.*)", re.DOTALL | re.IGNORECASE)
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mpeg"),
    (b"\x1aE\xdf\xa3", "video/webm"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
_FTYP = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"M4A ": "audio/mp4",
}
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # the sizes that a bitmap's second header may have
_SVG = re.compile(rb"\s*(<\?xml[^>]*>\s*)?(?><!--.*?-->\s*)*+(<!DOCTYPE svg[^>]*>\s*)?<svg[\s>]", re.DOTALL | re.I)


def to_data_uri(data: Any, name: str | None = None) -> str:
    """Give bytes, the file at a path, or a data URI as a data URI whose type the bytes decide.

    ``name`` stands in what is said of a failure. ``ValueError`` says what the thing is and why it cannot go along;
    ``TypeError`` if it is no kind of thing that can be sent.
    """
    if isinstance(data, str) and data[:5].lower() == "data:":
        return _encode(_decode_data_uri(data), name or "the data URI")
    if isinstance(data, bytes | bytearray | memoryview):
        return _encode(bytes(data), name or "the bytes")
    if isinstance(data, str | os.PathLike):
        path = Path(os.path.expanduser(os.fsdecode(data)))
        return _encode(_read(path), str(path))
    raise TypeError(f"{name or 'this'} is of type {type(data).__name__}: give bytes, a path or a data URI")


def media_type(data: bytes) -> str | None:
    """Tell the type of a picture, sound, film or PDF by its first bytes, ``None`` if it is nothing of the kind."""
    for signature, kind in _SIGNATURES:
        if data.startswith(signature):
            return kind
    if data[:4] == b"RIFF":
        return _RIFF.get(data[8:12])
    if data[4:8] == b"ftyp":
        return _FTYP.get(data[8:12], "video/mp4")
    if data[:2] == b"BM" and len(data) >= 26 and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return "image/bmp"
    if len(data) > 3 and data[0] == 0xFF and data[1] & 0xE6 == 0xE2:  # an MPEG frame of layer III
        return "audio/mpeg"
    if _SVG.match(data[:1000].removeprefix(b"\xef\xbb\xbf")):
        return "image/svg+xml"
    return None


def _encode(data: bytes, name: str) -> str:
    if not data:
        raise ValueError(f"{_short(name)} is empty: there is nothing to send")
    if len(data) > MAX_SIZE:
        raise ValueError(f"{_short(name)} has {len(data) / 2**20:.0f} MB, and {MAX_SIZE / 2**20:.0f} MB is the most")
    kind = media_type(data)
    if kind is None:
        raise ValueError(f"{_short(name)} is no image, sound, film or PDF by its content: put text into the question")
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _decode_data_uri(uri: str) -> bytes:
    found = _DATA_URI.fullmatch(uri.strip())
    if found is None:
        raise ValueError("the data URI has no comma between its type and its data")
    raw = unquote_to_bytes(found[4])
    if not found[3]:
        return raw
    try:
        raw = re.sub(rb"\s", b"", raw).translate(bytes.maketrans(b"-_", b"+/"))
        return base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
    except ValueError:
        raise ValueError("the data URI's base64 is damaged") from None


def _read(path: Path) -> bytes:
    name = _short(str(path))
    if "\0" in str(path):
        raise ValueError(f"{name!r} names no file: there is a null byte in it")
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "no ordinary file"
            raise ValueError(f"{name} is {what}: name a file")
        if status.st_size > MAX_SIZE:
            raise ValueError(f"{name} has {status.st_size / 2**20:.0f} MB, and {MAX_SIZE / 2**20:.0f} MB is the most")
        with path.open("rb") as file:
            return file.read(MAX_SIZE + 1)
    except FileNotFoundError:
        raise ValueError(f"there is no file {name} in {Path.cwd()}") from None
    except OSError as error:
        raise ValueError(f"{name} cannot be read: {error.strerror}") from None


def _short(name: str) -> str:
    return name if len(name) <= 80 else f"{name[:40]}…{name[-39:]}"
