"""What a file is by its content: the media types of pictures, sounds, films and PDFs, their size, and missing ends.

Names decide nothing. Only what is cheap is looked at: the first bytes, and the lengths that a format writes down. What
has no more than its first bytes is given the type that they say. Besides: what objects show, and data URIs.
"""

from __future__ import annotations

import base64
import re
from typing import Any

DISPLAY_TYPES = (
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/gif",
    "image/svg+xml",
)  # what objects show, the best first
BITMAPS = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})  # every browser shows them; none can act
_PNG = b"\x89PNG\r\n\x1a\n"
_SIGNATURES = (
    (_PNG, "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"%PDF-", "application/pdf"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "image/heic"),
    **dict.fromkeys((b"M4A ", b"M4B ", b"M4P "), "audio/mp4"),
    b"qt  ": "video/quicktime",
    b"crx ": None,  # a camera's raw picture, which no model reads
}
_CONTAINERS = (b"mif1", b"msf1", b"miaf")  # brands that leave it to the next ones what is inside
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # the sizes that a bitmap's second header may have
_SVG = re.compile(
    rb"\s*(?><\?.*?\?>\s*|<!--.*?-->\s*|<!DOCTYPE\s+svg[^>\[]*(?:\[[^\]]*\]\s*)?>\s*)*+<(?:svg:)?svg[\s>/]",
    re.DOTALL | re.IGNORECASE,
)
_HEAD = 4096  # bytes in which an SVG has to begin


def media_type(data: bytes) -> str | None:
    """Tell the type of a picture, sound, film or PDF by its first bytes, ``None`` if it is nothing of the kind."""
    for signature, kind in _SIGNATURES:
        if data.startswith(signature):
            return kind
    if data[:4] == b"RIFF":
        return _RIFF.get(data[8:12])
    if data[4:8] == b"ftyp":
        return _by_brand(data)
    if data[:4] == b"\x1aE\xdf\xa3":
        return "video/x-matroska" if b"matroska" in data[:64] else "video/webm"
    if data[:2] == b"BM" and len(data) >= 26 and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return "image/bmp"
    if _is_mp3(data):
        return "audio/mpeg"
    if _SVG.match(data[:_HEAD].removeprefix(b"\xef\xbb\xbf")):
        return "image/svg+xml"
    return None


def shown_bytes(data: Any) -> bytes:
    """Give the bytes that an object shows: as they are, in base64, or the text of an SVG; b"" if it is none of them."""
    if isinstance(data, str):
        try:
            return data.encode() if data.lstrip("\ufeff \t\r\n").startswith("<") else base64.b64decode(data)
        except ValueError:
            return b""
    return bytes(data) if isinstance(data, bytes | bytearray | memoryview) else b""


def data_uri(data: bytes, kind: str) -> str:
    """Give bytes of a media type as a data URI in base64."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def parse_data_uri(uri: str) -> tuple[str, bytes]:
    """Return the media type and the bytes of a data URI in base64. Padding may be missing.

    Raises ``ValueError`` if it is something else, or if its base64 is damaged.
    """
    head, base64_mark, data = uri.partition(";base64,")
    if not (base64_mark and head.startswith("data:")):
        raise ValueError("not a data URI in base64")
    return head.removeprefix("data:"), base64.b64decode(data + "=" * (-len(data) % 4))


def format_size(size: int) -> str:
    """Tell a number of bytes in decimal units: 7.9 kB, 12.3 MB."""
    return f"{size / 1e6:,.1f} MB" if size >= 999_950 else f"{size / 1e3:.1f} kB"


def _by_brand(data: bytes) -> str | None:
    """Tell what an ISO media file is by its brand, and by the compatible ones if that is a container's."""
    brand = data[8:12]
    if brand in _CONTAINERS:
        others = data[16 : min(int.from_bytes(data[:4], "big"), 256)]
        brands = (others[n : n + 4] for n in range(0, len(others), 4))
        return next((kind for other in brands if (kind := _BRANDS.get(other))), "image/heic")
    if brand[:2] == b"3g":
        return "video/3gpp"
    return _BRANDS.get(brand, "video/mp4")


def _is_mp3(data: bytes) -> bool:
    """Tell a tag (its version is a number, the bytes of its size are below 128), or a frame of layer III."""
    if data[:3] == b"ID3":
        return data[3:4] in (b"\2", b"\3", b"\4") and all(byte < 0x80 for byte in data[6:10])
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE6 != 0xE2:
        return False
    return data[1] & 0x18 != 0x08 and data[2] & 0xF0 != 0xF0 and data[2] & 0x0C != 0x0C  # values that are reserved
