"""How an image has to be turned: its EXIF orientation, read from the bytes without decoding.

1 is upright, 3 upside down; 6 and 8 are turned by 90 degrees; the others are mirrored, too. Without EXIF it is 1.
Source: CIPA DC-008 (Exif 3.0), 4.6.5, "Orientation".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Literal

from .formats import PNG

EXIF_ORIENTATION = 0x0112
"""The EXIF tag that says how an image has to be turned."""
_EXIF_START = b"Exif\0\0"
_MAX_CHUNKS = 2**12  # visited in search of EXIF
_JPEG_EXIF, _JPEG_SCAN = 0xE1, 0xDA
_JPEG_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD9))


def jpeg_orientation(data: bytes) -> int:
    """Read the orientation of a JPEG from the APP1 segment that holds EXIF."""
    exif = (part for part in _jpeg_exif_segments(data) if part.startswith(_EXIF_START))
    return _orientation(next(exif, b"").removeprefix(_EXIF_START))


def png_orientation(data: bytes) -> int:
    """Read the orientation of a PNG from the chunk eXIf."""
    return _orientation(_chunk(data, b"eXIf", at=len(PNG), order="big"))


def webp_orientation(data: bytes) -> int:
    """Read the orientation of a WebP from the chunk EXIF, which only the extended format has."""
    exif = _chunk(data, b"EXIF", at=12, order="little") if data[12:16] == b"VP8X" else b""
    return _orientation(exif.removeprefix(_EXIF_START))


def _jpeg_exif_segments(data: bytes) -> Iterator[bytes]:
    """Yield the APP1 segments before the first scan: EXIF and XMP."""
    at = 2
    for _ in range(_MAX_CHUNKS):
        if data[at : at + 2] == b"\xff\xff":  # a fill byte
            at += 1
            continue
        if data[at : at + 1] != b"\xff" or at + 4 > len(data) or data[at + 1] == _JPEG_SCAN:
            return
        marker, at = data[at + 1], at + 2
        if marker not in _JPEG_WITHOUT_LENGTH:
            end = at + int.from_bytes(data[at : at + 2], "big")
            if marker == _JPEG_EXIF:
                yield data[at + 2 : end]
            at = end


def _chunk(data: bytes, kind: bytes, at: int, order: Literal["big", "little"]) -> bytes:
    """Return the content of the first chunk of this kind, or b"". WebP writes lengths in the other byte order."""
    for _ in range(_MAX_CHUNKS):
        if at + 8 > len(data):
            break
        head = data[at : at + 8]
        length, name = (head[:4], head[4:]) if order == "big" else (head[4:], head[:4])
        end = at + 8 + int.from_bytes(length, order)
        if name == kind:
            return data[at + 8 : end]
        at = end + (4 if order == "big" else end % 2)  # a checksum, or padding
    return b""


def _orientation(exif: bytes) -> int:
    """Read the tag Orientation of the first directory of EXIF, which has the form of a TIFF."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", exif, entry)
            if tag == EXIF_ORIENTATION and kind in (3, 4):
                (value,) = struct.unpack_from(order + ("H" if kind == 3 else "I"), exif, entry + 8)
                return value if 1 <= value <= 8 else 1
    except struct.error:  # it is cut off
        pass
    return 1
