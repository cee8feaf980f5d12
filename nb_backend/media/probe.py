"""Truncation and pixel size, read from the bytes of a file of a known type."""

from __future__ import annotations

import struct

from .types import TYPES


def is_truncated(data: bytes, media_type: str) -> bool:
    """Whether data of this type ends too early, as far as this shows without decoding."""
    known = TYPES.get(media_type)
    return known is not None and known.is_truncated(data)


def pixel_size(data: bytes, media_type: str) -> tuple[int, int] | None:
    """Return the width and height of an image of this type as they are stored, before it is turned upright.

    ``None`` if the header does not say, or if the type is unknown or has no pixels.
    """
    known = TYPES.get(media_type)
    try:
        size = known.size(data) if known else None
    except struct.error:  # the header is cut off
        return None
    return size if size and min(size) > 0 else None
