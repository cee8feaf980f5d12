"""The media types that can be attached, one row each.

To add a type, add a row, and a sample to tests/support/media_samples.py. Files of the type are then recognized, named,
checked for a missing end, and sent. If servers want the type in a content part of its own, ``message_parts`` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import formats
from .formats import Size, is_riff, starts_with


@dataclass(frozen=True)
class PillowFormat:
    """How Pillow writes the images of a type, after they were scaled down."""

    name: str
    save: Mapping[str, Any] = field(default_factory=dict)
    """Options of ``Image.save``."""
    animation: Mapping[str, Any] | None = None
    """More options if there are several frames; ``None`` if only the first one is kept."""


@dataclass(frozen=True)
class MediaType:
    """How the files of one media type are recognized, named, checked and scaled."""

    name: str
    suffix: str
    signature: Callable[[bytes], bool] = lambda data: False
    """Whether bytes begin as this type does."""
    is_truncated: Callable[[bytes], bool] = lambda data: False
    """Whether the end is missing, as far as this shows without decoding."""
    size: Callable[[bytes], Size] = lambda data: None
    """Width and height in pixels, as the header says."""
    pillow: PillowFormat | None = None
    """``None`` if files of this type are never scaled."""
    is_web_bitmap: bool = False
    """Whether every browser shows it, and no script can be in it."""
    brands: tuple[bytes, ...] = ()
    """The brands of an ISO media file, in place of a signature; two bytes stand for all brands that begin so."""


def _iso(name: str, suffix: str, *brands: bytes, **more: Any) -> MediaType:
    return MediaType(name, suffix, is_truncated=formats.iso_is_truncated, brands=brands, **more)


_ROWS = (
    # PNG, JPEG, WebP, GIF: an object that can show itself in several of them is sent as the first.
    MediaType("image/png", "png", starts_with(formats.PNG), formats.png_is_truncated, formats.png_size,
              PillowFormat("PNG", animation={"disposal": 0, "blend": 0}), is_web_bitmap=True),
    MediaType("image/jpeg", "jpeg", starts_with(b"\xff\xd8\xff"), formats.jpeg_is_truncated, formats.jpeg_size,
              PillowFormat("JPEG", {"quality": 90}), is_web_bitmap=True),
    MediaType("image/webp", "webp", is_riff(b"WEBP"), formats.riff_is_truncated, formats.webp_size,
              PillowFormat("WEBP", {"quality": 90}, animation={}), is_web_bitmap=True),
    MediaType("image/gif", "gif", starts_with(b"GIF87a", b"GIF89a"), formats.gif_is_truncated, formats.gif_size,
              PillowFormat("GIF", animation={"disposal": 2}), is_web_bitmap=True),
    MediaType("image/bmp", "bmp", formats.is_bmp, formats.bmp_is_truncated, formats.bmp_size, PillowFormat("BMP")),
    MediaType("image/tiff", "tiff", starts_with(b"II*\0", b"MM\0*"), formats.tiff_is_truncated, formats.tiff_size,
              PillowFormat("TIFF", {"compression": "tiff_lzw"})),
    _iso("image/avif", "avif", b"avif", b"avis", size=formats.iso_size,
         pillow=PillowFormat("AVIF", {"quality": 85}, animation={})),
    _iso("image/heic", "heic", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", *formats.CONTAINER_BRANDS,
         size=formats.iso_size, pillow=PillowFormat("HEIF")),  # Pillow has it if pillow-heif was registered
    MediaType("application/pdf", "pdf", starts_with(b"%PDF-"), formats.pdf_is_truncated),
    MediaType("audio/wav", "wav", is_riff(b"WAVE"), formats.riff_is_truncated),
    MediaType("audio/mpeg", "mp3", formats.is_mp3),
    _iso("audio/mp4", "m4a", b"M4A ", b"M4B ", b"M4P "),
    _iso("video/quicktime", "mov", b"qt  "),
    _iso("video/3gpp", "3gp", b"3g"),
    _iso("video/mp4", "mp4"),  # every brand that no other row has
    MediaType("video/x-matroska", "mkv", formats.is_matroska),
    MediaType("video/webm", "webm", formats.is_webm),
    MediaType("image/svg+xml", "svg", formats.is_svg, formats.svg_is_truncated),  # last: the slowest to recognize
)  # fmt: skip

TYPES = {row.name: row for row in _ROWS}
