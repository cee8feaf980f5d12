"""What a file is by its content: the media types of pictures, sounds, films and PDFs, and whether its end is missing.

Names decide nothing. Only what is cheap is looked at: the first bytes, and the lengths that a format writes down. What
has no more than its first bytes is given the type that they say.
"""

from __future__ import annotations

import re

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
_PDF_LEAST = 512  # bytes from which on a PDF has to have an end
_UNKNOWN = 0x7FFFFFFF  # a RIFF file of this size or more was written to a pipe


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


def is_cut(data: bytes, kind: str) -> bool:
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


def _png_is_cut(data: bytes) -> bool:
    """Go through the chunks: one that is longer than what is left, or no IEND."""
    if len(data) < 16:
        return True
    if data[12:16] != b"IHDR":
        return False  # no order to go by
    at = len(_PNG)
    while at + 12 <= len(data):
        if data[at + 4 : at + 8] == b"IEND":
            return False
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return True


def _jpeg_is_cut(data: bytes) -> bool:
    """Go through the segments to the first scan, after which an end has to come."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xFF:  # a byte that fills
            at += 1
            continue
        if data[at + 1] == 0xDA:
            return b"\xff\xd9" not in data[at:]
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at + 4 > len(data) > 32  # below that there is no more than the first bytes


def _box_is_cut(data: bytes) -> bool:
    """Go through the boxes that follow the first one: one that is longer than what is left."""
    at = int.from_bytes(data[:4], "big")
    while at >= 8 and at + 8 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size < 8 or not kind.isalnum():
            return False  # to the end of the file, or nothing to go by
        at += size
    return at > len(data) > int.from_bytes(data[:4], "big")
