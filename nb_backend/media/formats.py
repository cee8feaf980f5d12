"""How file formats begin, whether they end, and how many pixels they declare: read from the bytes, nothing is decoded.

Names decide nothing. A file that ends after its first bytes counts as the type that they show.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from itertools import islice
from operator import methodcaller
from typing import TypeAlias

Size: TypeAlias = tuple[int, int] | None
"""Width and height in pixels, as stored (not yet turned upright); ``None`` if the header does not say."""

PNG = b"\x89PNG\r\n\x1a\n"
_EBML = b"\x1aE\xdf\xa3"
_BMP_HEADER_SIZES = (12, 40, 52, 56, 64, 108, 124)
_SVG = re.compile(
    rb"\s*(?><\?.*?\?>\s*|<!--.*?-->\s*|<!DOCTYPE\s+svg[^>\[]*(?:\[[^\]]*\]\s*)?>\s*)*+<(?:svg:)?svg[\s>/]",
    re.DOTALL | re.IGNORECASE,
)
_SVG_START_WITHIN = 4096  # bytes
CONTAINER_BRANDS = (b"mif1", b"msf1", b"miaf")  # the compatible brands say what is inside

_PDF_WITH_END = 512  # bytes; a shorter PDF need not have an end mark
_RIFF_SIZE_UNKNOWN = 0x7FFFFFFF  # sizes from here on are written by programs that write to a pipe
_MAX_CHUNKS = 2**17  # visited in search of the end
_MAX_BOXES = 4096  # segments and boxes visited in search of the size
_NETPBM = re.compile(rb"P[1-6]\s(?:#[^\n]*\n|\s)*[0-9]+(?:#[^\n]*\n|\s)+[0-9]+\s")
_TGA_END = b"TRUEVISION-XFILE.\0"
_JPEG_MARKER = re.compile(rb"\xff++(.)", re.DOTALL)
_JPEG_SCAN = 0xDA
_JPEG_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD9))
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


# -- how a file begins


def starts_with(*signatures: bytes) -> Callable[[bytes], bool]:
    """Return a function that says whether bytes start with one of the signatures."""
    return methodcaller("startswith", signatures)


def is_riff(form: bytes) -> Callable[[bytes], bool]:
    """Return a function that says whether bytes are a RIFF file of this form."""
    return lambda data: data[:4] == b"RIFF" and data[8:12] == form


def is_bmp(data: bytes) -> bool:
    """Whether this is a Windows bitmap; many texts begin with "BM", so the size of its header is checked, too."""
    return data[:2] == b"BM" and len(data) >= 26 and int.from_bytes(data[14:18], "little") in _BMP_HEADER_SIZES


def is_ico(data: bytes) -> bool:
    """Whether this is a Windows icon: its directory has an entry, whose fourth byte is always 0."""
    return data[:4] == b"\0\0\1\0" and data[4:6] not in (b"", b"\0\0") and data[9:10] == b"\0"


def is_netpbm(data: bytes) -> bool:
    """Whether this is a PBM, PGM or PPM: P1 to P6, width and height. Source: https://netpbm.sourceforge.net/doc/."""
    return _NETPBM.match(data[:1024]) is not None


def is_tga(data: bytes) -> bool:
    """Whether this is a Targa: it ends with its name, or has exactly the length that its header says.

    Source: Truevision TGA file format specification 2.0.
    """
    if len(data) < 18 or data[1] > 1 or data[2] not in (1, 2, 3, 9, 10, 11):
        return False
    if data.endswith(_TGA_END):
        return True
    width, height = _two_numbers("<HH", data, 12)
    colors = int.from_bytes(data[5:7], "little") * (data[7] // 8) if data[1] else 0
    pixels = width * height * -(-data[16] // 8)
    is_uncompressed = data[2] <= 3 and data[16] in (8, 15, 16, 24, 32)
    return is_uncompressed and pixels > 0 and len(data) == 18 + data[0] + colors + pixels


def is_svg(data: bytes) -> bool:
    """Whether an SVG element comes first, after comments and a document type at most."""
    return _SVG.match(data[:_SVG_START_WITHIN].removeprefix(b"\xef\xbb\xbf")) is not None


def is_mp3(data: bytes) -> bool:
    """Whether this is an ID3 tag (the bytes of its size are below 128) or an MPEG frame of layer III.

    Sources: https://id3.org/id3v2.4.0-structure (3.1), ISO/IEC 11172-3 (2.4.1.3).
    """
    if data[:3] == b"ID3":
        return data[3:4] in (b"\2", b"\3", b"\4") and all(byte < 0x80 for byte in data[6:10])
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE6 != 0xE2:
        return False
    has_reserved_version, has_bad_bitrate = data[1] & 0x18 == 0x08, data[2] & 0xF0 == 0xF0
    has_reserved_rate = data[2] & 0x0C == 0x0C
    return not (has_reserved_version or has_bad_bitrate or has_reserved_rate)


def is_matroska(data: bytes) -> bool:
    """Whether this is a Matroska file other than WebM."""
    return data.startswith(_EBML) and b"matroska" in data[:64]


def is_webm(data: bytes) -> bool:
    """Whether this is a WebM file, which is a Matroska file of another document type."""
    return data.startswith(_EBML) and b"matroska" not in data[:64]


def iso_brands(data: bytes) -> list[bytes]:
    """Return the brands of an ISO media file (HEIC, AVIF, MP4, ...), the one that decides first, the major one last.

    The list is empty for any other file. Source: ISO/IEC 14496-12 4.3.
    """
    if data[4:8] != b"ftyp":
        return []
    major = data[8:12]
    if major not in CONTAINER_BRANDS:
        return [major]
    others = data[16 : min(int.from_bytes(data[:4], "big"), 256)]
    brands = [others[at : at + 4] for at in range(0, len(others), 4)]
    return [*(brand for brand in brands if brand not in CONTAINER_BRANDS), major]


# -- whether its end is missing


def png_is_truncated(data: bytes) -> bool:
    """Whether a chunk is longer than what is left, or IEND is missing."""
    if len(data) < 16:
        return True
    if data[12:16] != b"IHDR":
        return False  # not the order that a PNG has
    at = len(PNG)
    for _ in range(_MAX_CHUNKS):
        if at + 12 > len(data):
            return True
        if data[at + 4 : at + 8] == b"IEND":
            return False
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return False


def jpeg_is_truncated(data: bytes) -> bool:
    """Whether no end marker follows the first scan, or a segment is longer than what is left."""
    at = 2
    for _ in range(_MAX_CHUNKS):
        marker = _JPEG_MARKER.match(data, at)
        if marker is None or marker.end() + 2 > len(data):
            break
        if marker[1][0] == _JPEG_SCAN:
            return data.find(b"\xff\xd9", at) < 0
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return at + 4 > len(data) > 32  # 32 bytes or less: only the signature is there


def gif_is_truncated(data: bytes) -> bool:
    """Whether the trailer, a semicolon, is missing."""
    return len(data) > 13 and not data[-64:].rstrip(b"\0").endswith(b";")


def riff_is_truncated(data: bytes) -> bool:
    """Whether fewer bytes are there than the header says."""
    return len(data) + 1 < int.from_bytes(data[4:8], "little") + 8 < _RIFF_SIZE_UNKNOWN


def bmp_is_truncated(data: bytes) -> bool:
    """Whether fewer bytes are there than the header says."""
    return int.from_bytes(data[2:6], "little") > len(data)


def tiff_is_truncated(data: bytes) -> bool:
    """Whether the first directory lies behind the end."""
    return len(data) >= 8 and int.from_bytes(data[4:8], "little" if data[:2] == b"II" else "big") >= len(data)


def pdf_is_truncated(data: bytes) -> bool:
    """Whether the end mark is missing."""
    return len(data) > _PDF_WITH_END and b"%%EOF" not in data[-2048:]


def svg_is_truncated(data: bytes) -> bool:
    """Whether the last element is not closed."""
    return not data[-64:].rstrip(b"\0 \t\r\n").endswith(b">")


def iso_is_truncated(data: bytes) -> bool:
    """Whether a box of an ISO media file is longer than what is left."""
    if data[4:8] != b"ftyp":
        return False
    at = int.from_bytes(data[:4], "big")
    for _ in range(_MAX_CHUNKS):
        if at < 8 or at + 8 > len(data):
            break
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size < 8 or not kind.isalnum():
            return False  # the last box, or not a box
        at += size
    return at > len(data) > int.from_bytes(data[:4], "big")


# -- how many pixels it declares; ``struct.error`` if the header is cut off


def png_size(data: bytes) -> Size:
    """Read width and height from IHDR."""
    return _two_numbers(">II", data, 16) if data[12:16] == b"IHDR" else None


def jpeg_size(data: bytes) -> Size:
    """Read width and height from the first frame header, which comes before the first scan."""
    at = 2
    for _ in range(_MAX_BOXES):
        found = _JPEG_MARKER.match(data, at)
        if found is None:
            return None
        at, marker = found.end(), found[1][0]
        if marker in _JPEG_FRAMES:
            height, width = _two_numbers(">HH", data, at + 3)
            return width, height
        if marker == _JPEG_SCAN:
            return None
        if marker not in _JPEG_WITHOUT_LENGTH:
            at += int.from_bytes(data[at : at + 2], "big")
    return None


def gif_size(data: bytes) -> Size:
    """Read the size of the logical screen."""
    return _two_numbers("<HH", data, 6)


def webp_size(data: bytes) -> Size:
    """Read the size from the extended, the lossless or the lossy header."""
    if data[12:16] == b"VP8X" and len(data) >= 30:
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if data[12:16] == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = _two_numbers("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def bmp_size(data: bytes) -> Size:
    """Read the size from the old or the new header; a negative height means rows from the top."""
    if data[14:18] == b"\x0c\0\0\0":
        return _two_numbers("<HH", data, 18)
    width, height = _two_numbers("<ii", data, 18)
    return width, abs(height)


def tiff_size(data: bytes) -> Size:
    """Read the tags ImageWidth (256) and ImageLength (257) of the first directory; a BigTIFF is not read."""
    if 43 in data[2:4]:
        return None
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    found = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind = _two_numbers(order + "HH", data, entry)
        if tag in (256, 257) and kind in (3, 4):
            (found[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, entry + 8)
    return (found[256], found[257]) if len(found) == 2 else None


def iso_size(data: bytes) -> Size:
    """Return the largest size that an AVIF or HEIC declares; the smaller ones are tiles, thumbnails and masks."""
    inside = (0, len(data))
    for wanted, skip in ((b"meta", 4), (b"iprp", 0), (b"ipco", 0)):
        found = next(((start + skip, end) for kind, start, end in _boxes(data, *inside) if kind == wanted), None)
        if found is None:
            return None
        inside = found
    sizes = (_two_numbers(">II", data, start + 4) for kind, start, _ in _boxes(data, *inside) if kind == b"ispe")
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def _two_numbers(layout: str, data: bytes, at: int) -> tuple[int, int]:
    first, second = struct.unpack_from(layout, data, at)
    return first, second


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes of an ISO media file, as (kind, start of the content, end of it)."""
    return islice(_all_boxes(data, start, end), _MAX_BOXES)


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
