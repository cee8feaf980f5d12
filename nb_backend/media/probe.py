"""Truncation and pixel size, read from the bytes of a file."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from itertools import islice

from .sniff import _PNG

_PDF_LEAST = 512  # bytes from which on a PDF has to have an end
_UNKNOWN = 0x7FFFFFFF  # a RIFF file of this size or more was written to a pipe
_MOST_CHUNKS = 2**17  # that are gone through in search of the end
_MOST_PARTS = 4096  # segments and boxes that are gone through in search of a size
_JPEG_MARKER = re.compile(rb"\xff++(.)", re.DOTALL)
_JPEG_BARE = (0x01, *range(0xD0, 0xD9))  # markers that have no length
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


def is_truncated(data: bytes, kind: str) -> bool:
    """Tell whether data of this type ends before its end, as far as this is seen without decoding it."""
    match kind:
        case "image/png":
            return _png_is_cut(data)
        case "image/jpeg":
            return _jpeg_is_cut(data)
        case "image/gif":
            return len(data) > 13 and not data[-64:].rstrip(b"\0").endswith(b";")
        case "image/webp" | "audio/wav":
            return len(data) + 1 < int.from_bytes(data[4:8], "little") + 8 < _UNKNOWN
        case "image/bmp":
            return int.from_bytes(data[2:6], "little") > len(data)
        case "image/tiff":
            return len(data) >= 8 and int.from_bytes(data[4:8], "little" if data[:2] == b"II" else "big") >= len(data)
        case "application/pdf":
            return len(data) > _PDF_LEAST and b"%%EOF" not in data[-2048:]
        case "image/svg+xml":
            return not data[-64:].rstrip(b"\0 \t\r\n").endswith(b">")
    return data[4:8] == b"ftyp" and _box_is_cut(data)


def pixel_size(data: bytes, kind: str) -> tuple[int, int] | None:
    """Read the width and the height of a picture of this type from its header, as it is stored; ``None`` if unknown."""
    try:
        size = _stored_size(data, kind)
    except struct.error:
        return None
    return size if size and min(size) > 0 else None


def _stored_size(data: bytes, kind: str) -> tuple[int, int] | None:
    match kind:
        case "image/png":
            return _numbers(">II", data, 16) if data[12:16] == b"IHDR" else None
        case "image/jpeg":
            return _jpeg_size(data)
        case "image/gif":
            return _numbers("<HH", data, 6)
        case "image/webp":
            return _webp_size(data)
        case "image/bmp" if data[14:18] == b"\x0c\0\0\0":
            return _numbers("<HH", data, 18)
        case "image/bmp":
            width, height = _numbers("<ii", data, 18)
            return width, abs(height)
        case "image/tiff":
            return _tiff_size(data)
        case "image/avif" | "image/heic":
            return _largest_part(data)
    return None


def _numbers(form: str, data: bytes, at: int) -> tuple[int, int]:
    first, second = struct.unpack_from(form, data, at)
    return first, second


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    for _ in range(_MOST_PARTS):
        found = _JPEG_MARKER.match(data, at)
        if found is None:
            return None
        at, marker = found.end(), found[1][0]
        if marker in _JPEG_FRAMES:
            height, width = _numbers(">HH", data, at + 3)
            return width, height
        if marker == 0xDA:
            return None
        if marker not in _JPEG_BARE:
            at += int.from_bytes(data[at : at + 2], "big")
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    if data[12:16] == b"VP8X" and len(data) >= 30:
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if data[12:16] == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = _numbers("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _tiff_size(data: bytes) -> tuple[int, int] | None:
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    found = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind = _numbers(order + "HH", data, entry)
        if tag in (256, 257) and kind in (3, 4):
            (found[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, entry + 8)
    return (found[256], found[257]) if len(found) == 2 else None


def _largest_part(data: bytes) -> tuple[int, int] | None:
    """Give the largest of the sizes that an AVIF or HEIC declares: its parts are tiles, thumbnails and masks."""
    inside = (0, len(data))
    for wanted, skip in ((b"meta", 4), (b"iprp", 0), (b"ipco", 0)):
        found = next(((start + skip, end) for kind, start, end in _boxes(data, *inside) if kind == wanted), None)
        if found is None:
            return None
        inside = found
    sizes = (_numbers(">II", data, start + 4) for kind, start, _ in _boxes(data, *inside) if kind == b"ispe")
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Go through the boxes of an ISO media file: their kind, and where their content starts and ends."""
    return islice(_all_boxes(data, start, end), _MOST_PARTS)


def _all_boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while at + 8 <= end:
        size, head = int.from_bytes(data[at : at + 4], "big"), 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        after = min(at + size, end) if size else end
        if after < at + head:
            return
        yield data[at + 4 : at + 8], at + head, after
        at = after


def _png_is_cut(data: bytes) -> bool:
    """Go through the chunks: one that is longer than what is left, or no IEND."""
    if len(data) < 16:
        return True
    if data[12:16] != b"IHDR":
        return False  # no order to go by
    at = len(_PNG)
    for _ in range(_MOST_CHUNKS):
        if at + 12 > len(data):
            return True
        if data[at + 4 : at + 8] == b"IEND":
            return False
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return False


def _jpeg_is_cut(data: bytes) -> bool:
    """Go through the segments to the first scan, after which an end has to come."""
    at = 2
    for _ in range(_MOST_CHUNKS):
        marker = _JPEG_MARKER.match(data, at)  # with the bytes that fill
        if marker is None or marker.end() + 2 > len(data):
            break
        if marker[1] == b"\xda":
            return data.find(b"\xff\xd9", at) < 0
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return at + 4 > len(data) > 32  # below that there is no more than the first bytes


def _box_is_cut(data: bytes) -> bool:
    """Go through the boxes that follow the first one: one that is longer than what is left."""
    at = int.from_bytes(data[:4], "big")
    for _ in range(_MOST_CHUNKS):
        if at < 8 or at + 8 > len(data):
            break
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size < 8 or not kind.isalnum():
            return False  # to the end of the file, or nothing to go by
        at += size
    return at > len(data) > int.from_bytes(data[:4], "big")
