"""Media types recognized by content, and data URIs.

File names decide nothing: only the first bytes do.
"""

from __future__ import annotations

import base64
from typing import Any

from .formats import iso_brands
from .types import TYPES

BITMAPS = frozenset(row.name for row in TYPES.values() if row.is_web_bitmap)
"""The image types that every browser shows and that cannot run a script."""
DISPLAY_TYPES = (*(row.name for row in TYPES.values() if row.is_web_bitmap), "image/svg+xml")
"""The types that objects of a notebook show themselves as, the best first."""

_CANON_RAW = b"crx "  # brand of a camera's raw images, which no model reads


def media_type(data: bytes) -> str | None:
    """Return the media type of an image, audio, video or PDF by its first bytes; ``None`` for anything else."""
    if brands := iso_brands(data):
        return _iso_type(brands)
    return next((row.name for row in TYPES.values() if row.signature(data)), None)


def shown_bytes(data: Any) -> bytes:
    """Return the bytes that a display hook gave as bytes, base64 or the text of an SVG; b"" for anything else."""
    if isinstance(data, str):
        try:
            return data.encode() if data.lstrip("\ufeff \t\r\n").startswith("<") else base64.b64decode(data)
        except ValueError:
            return b""
    return bytes(data) if isinstance(data, bytes | bytearray | memoryview) else b""


def data_uri(data: bytes, media_type: str) -> str:
    """Return the bytes as a data URI in base64."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def parse_data_uri(uri: str) -> tuple[str, bytes]:
    """Return the media type and the bytes of a data URI in base64. Padding may be missing; image/jpg is image/jpeg.

    Raises ``ValueError`` if it is something else, or if its base64 is damaged.
    """
    head, base64_mark, data = uri.partition(";base64,")
    if not (base64_mark and head.startswith("data:")):
        raise ValueError("not a data URI in base64")
    named = head.removeprefix("data:")
    return "image/jpeg" if named == "image/jpg" else named, base64.b64decode(data + "=" * (-len(data) % 4))


def format_size(size: int) -> str:
    """Return a number of bytes in decimal units: ``7.9 kB``, ``12.3 MB``."""
    return f"{size / 1e6:,.1f} MB" if size >= 999_950 else f"{size / 1e3:.1f} kB"


def _iso_type(brands: list[bytes]) -> str | None:
    types = {brand: row.name for row in TYPES.values() for brand in row.brands}
    known = next((types[brand] for brand in brands if brand in types), None)
    major = brands[-1]
    if known is None and major != _CANON_RAW:
        return types.get(major[:2], "video/mp4")
    return known
