"""The media types that can be attached, one row each.

To add a type, add a row, and a sample to tests/support/media_samples.py. Files of the type are then recognized, named,
checked for a missing end, and sent. Bitmaps other than PNG, JPEG, WebP and GIF are converted to PNG or JPEG before. If
servers want the type in a content part of its own, ``message_parts`` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import formats, orientation
from .formats import Size, is_riff, starts_with


@dataclass(frozen=True)
class PillowFormat:
    """How Pillow reads the images of a type, and writes them after they were changed."""

    name: str
    save: Mapping[str, Any] = field(default_factory=dict)
    """Options of ``Image.save``."""
    animation: Mapping[str, Any] | None = None
    """More options if there are several frames; ``None`` if only the first one is kept."""
    parts: str = "frame"
    """What the user is told that the first one of is sent; "" if the others are not pictures of their own."""
    plugin: str = ""
    """The package that adds this format to Pillow; "" if Pillow has it."""


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
    orientation: Callable[[bytes], int] = lambda data: 1
    """The EXIF orientation, 1 to 8; 1 is upright."""
    pillow: PillowFormat | None = None
    """``None`` if files of this type are never changed."""
    is_web_bitmap: bool = False
    """Whether every browser shows it, every service reads it, and no script can be in it."""
    brands: tuple[bytes, ...] = ()
    """The brands of an ISO media file, in place of a signature; two bytes stand for all brands that begin so."""
    other_suffixes: tuple[str, ...] = ()
    """Suffixes that its files may have besides ``suffix``."""

    @property
    def is_converted(self) -> bool:
        """Whether it is a bitmap that not every service reads, which is sent as PNG or JPEG."""
        return self.pillow is not None and not self.is_web_bitmap


def _iso(name: str, suffix: str, *brands: bytes, **more: Any) -> MediaType:
    return MediaType(name, suffix, is_truncated=formats.iso_is_truncated, brands=brands, **more)


_ROWS = (
    # PNG, JPEG, WebP, GIF: an object that can show itself in several of them is sent as the first.
    MediaType("image/png", "png", starts_with(formats.PNG), formats.png_is_truncated, formats.png_size,
              orientation.png_orientation, PillowFormat("PNG", animation={"disposal": 0, "blend": 0}),
              is_web_bitmap=True),
    MediaType("image/jpeg", "jpeg", starts_with(b"\xff\xd8\xff"), formats.jpeg_is_truncated, formats.jpeg_size,
              orientation.jpeg_orientation, PillowFormat("JPEG", {"quality": 90}, parts=""), is_web_bitmap=True),
    MediaType("image/webp", "webp", is_riff(b"WEBP"), formats.riff_is_truncated, formats.webp_size,
              orientation.webp_orientation, PillowFormat("WEBP", {"quality": 90}, animation={}), is_web_bitmap=True),
    MediaType("image/gif", "gif", starts_with(b"GIF87a", b"GIF89a"), formats.gif_is_truncated, formats.gif_size,
              pillow=PillowFormat("GIF", animation={"disposal": 2}), is_web_bitmap=True),
    # Bitmaps that are converted to PNG or JPEG.
    MediaType("image/bmp", "bmp", formats.is_bmp, formats.bmp_is_truncated, formats.bmp_size,
              pillow=PillowFormat("BMP"), other_suffixes=("dib",)),
    MediaType("image/tiff", "tiff", starts_with(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), formats.tiff_is_truncated,
              formats.tiff_size, pillow=PillowFormat("TIFF", parts="page"), other_suffixes=("tif",)),
    _iso("image/avif", "avif", b"avif", b"avis", size=formats.iso_size, pillow=PillowFormat("AVIF")),
    _iso("image/heic", "heic", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", *formats.CONTAINER_BRANDS,
         size=formats.iso_size, pillow=PillowFormat("HEIF", plugin="pillow-heif"), other_suffixes=("heif", "hif")),
    MediaType("image/jp2", "jp2", starts_with(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
              pillow=PillowFormat("JPEG2000"), other_suffixes=("j2k",)),
    MediaType("image/jxl", "jxl", starts_with(b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a"),
              pillow=PillowFormat("JXL", plugin="pillow-jxl-plugin")),
    MediaType("image/x-icon", "ico", formats.is_ico, pillow=PillowFormat("ICO", parts="")),
    MediaType("image/x-portable-anymap", "pnm", formats.is_netpbm, pillow=PillowFormat("PPM"),
              other_suffixes=("pbm", "pgm", "ppm")),
    MediaType("image/vnd.adobe.photoshop", "psd", starts_with(b"8BPS\0\1"), pillow=PillowFormat("PSD", parts="")),
    MediaType("image/qoi", "qoi", starts_with(b"qoif"), pillow=PillowFormat("QOI")),
    MediaType("application/pdf", "pdf", starts_with(b"%PDF-"), formats.pdf_is_truncated),
    MediaType("audio/wav", "wav", is_riff(b"WAVE"), formats.riff_is_truncated),
    MediaType("audio/mpeg", "mp3", formats.is_mp3),
    _iso("audio/mp4", "m4a", b"M4A ", b"M4B ", b"M4P "),
    _iso("video/quicktime", "mov", b"qt  "),
    _iso("video/3gpp", "3gp", b"3g"),
    _iso("video/mp4", "mp4"),  # every brand that no other row has
    MediaType("video/x-matroska", "mkv", formats.is_matroska),
    MediaType("video/webm", "webm", formats.is_webm),
    MediaType("image/x-tga", "tga", formats.is_tga, pillow=PillowFormat("TGA")),
    MediaType("image/svg+xml", "svg", formats.is_svg, formats.svg_is_truncated),  # last: the slowest to recognize
)  # fmt: skip

TYPES = {row.name: row for row in _ROWS}


def converted_suffixes() -> set[str]:
    """Return the suffixes of files that are converted, in small letters and without the dot."""
    return {suffix for row in TYPES.values() if row.is_converted for suffix in (row.suffix, *row.other_suffixes)}
