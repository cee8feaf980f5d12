"""Samples: a whole file of each media type, arrays with their pixels, images of Pillow in all modes."""

from __future__ import annotations

import io
import struct

import numpy as np
import pillow_heif
from IPython.display import Audio
from media_support import GREY, RGB, RGBA, SVG_TEXT, UNIT, encoded
from PIL import Image


def box(kind: bytes, data: bytes) -> bytes:
    """Return a box of an ISO media file."""
    return (8 + len(data)).to_bytes(4, "big") + kind + data


MP4 = box(b"ftyp", b"isom\0\0\0\0isom") + box(b"moov", bytes(50)) + box(b"mdat", bytes(500))
MP3 = (b"\xff\xfb\x90\x00" + bytes(413)) * 3
PDF = b"%PDF-1.7\n" + bytes(800) + b"startxref\n0\n%%EOF\n"
WAV = bytes(Audio(np.zeros(500), rate=8000, normalize=False).data)
WHOLE = {
    **{f"image/{kind.lower()}": encoded(kind) for kind in ("PNG", "JPEG", "GIF", "WebP", "BMP", "TIFF", "AVIF")},
    "application/pdf": PDF,
    "video/mp4": MP4,
    "audio/wav": WAV,
    "image/svg+xml": SVG_TEXT.encode(),
}


def ispe(width: int, height: int) -> bytes:
    """Return the box of an ISO media file that holds a width and a height."""
    return box(b"ispe", bytes(4) + width.to_bytes(4, "big") + height.to_bytes(4, "big"))


HEIC = box(b"ftyp", b"heic\0\0\0\0mif1heic") + box(
    b"meta",
    bytes(4) + box(b"hdlr", bytes(24)) + box(b"iprp", box(b"ipco", ispe(512, 512) + ispe(4032, 3024) + ispe(320, 240))),
)
ARRAYS = {
    "grey": (GREY, GREY),
    "one channel": (GREY[..., None], GREY),
    "rgb": (RGB, RGB),
    "rgba": (RGBA, RGBA),
    "bool": (GREY > 127, (GREY > 127) * np.uint8(255)),
    "floats": (UNIT, np.round(UNIT * 255).astype(np.uint8)),
    "half floats": (np.float16([[0, 0.5, 1]]), np.uint8([[0, 128, 255]])),
    "one pixel": (RGB[:1, :1], RGB[:1, :1]),
    "backwards": (RGB[::-1, ::-2], RGB[::-1, ::-2]),
    "channels of a larger one": (RGBA[..., :3], RGB),
    "by columns": (np.asfortranarray(RGB), RGB),
    "broadcast": (np.broadcast_to(np.uint8(7), (4, 5)), np.full((4, 5), 7)),
    "a subclass": (GREY.view(np.recarray), GREY),
    "nothing masked": (np.ma.masked_array(GREY), GREY),
    "many rows": (np.tile(GREY, (400, 280)), np.tile(GREY, (400, 280))),
}


def palette(**info) -> Image.Image:
    image = Image.fromarray(RGB).quantize(8)
    image.info.update(info)
    return image


def sixteen(mode: str) -> Image.Image:
    values = np.arange(35, dtype=np.int32).reshape(5, 7) * 1800
    return Image.fromarray(values).convert("I;16") if mode == "I;16" else Image.fromarray(values)


IMAGES = {
    **{mode: Image.fromarray(RGBA).convert(mode) for mode in ("1", "L", "LA", "RGB", "RGBA", "RGBa", "RGBX")},
    **{mode: Image.fromarray(RGB).convert(mode) for mode in ("CMYK", "YCbCr", "HSV")},
    "La": Image.fromarray(RGBA).convert("LA").convert("La"),
    "P": palette(),
    "P, transparent": palette(transparency=2),
    "P, of bytes": palette(transparency=bytes(range(0, 240, 30))),
    "PA": Image.fromarray(RGBA).convert("PA"),
    "I": sixteen("I"),
    "I;16": sixteen("I;16"),
    "I, of 8 bits": Image.fromarray(GREY).convert("I"),
    "F": Image.fromarray(UNIT[..., 0].astype(np.float32)),
    "F, as Pillow converts": Image.fromarray(GREY).convert("F"),
    "a JPEG": Image.open(io.BytesIO(encoded("JPEG"))),
    "a GIF": Image.open(io.BytesIO(encoded("GIF", save_all=True, append_images=[Image.new("RGB", (64, 64))]))),
}


def heic(image: Image.Image, **options) -> bytes:
    """Return an image as HEIC, as phones write it."""
    pillow_heif.from_pillow(image).save(file := io.BytesIO(), **options)
    return file.getvalue()


def psd(image: Image.Image) -> bytes:
    """Return an image as a Photoshop file with its merged picture only, which Pillow does not write."""
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, image.height, image.width, 8, 3)
    return head + bytes(12) + b"\0\0" + b"".join(band.tobytes() for band in image.convert("RGB").split())


MORE_TYPES = {
    "image/heic": heic(Image.fromarray(RGB).resize((64, 64))),
    "image/jp2": encoded("JPEG2000"),
    "image/jxl": b"\xff\x0a" + bytes(30),  # Pillow reads it with a plugin only
    "image/x-icon": encoded("ICO"),
    "image/x-portable-anymap": encoded("PPM"),
    "image/vnd.adobe.photoshop": psd(Image.fromarray(RGB).resize((64, 64))),
    "image/qoi": encoded("QOI"),
    "image/x-tga": encoded("TGA"),
    "audio/mpeg": MP3,
    "audio/mp4": box(b"ftyp", b"M4A \0\0\0\0"),
    "video/quicktime": box(b"ftyp", b"qt  \0\0\0\0"),
    "video/3gpp": box(b"ftyp", b"3gp4\0\0\0\0"),
    "video/x-matroska": b"\x1aE\xdf\xa3\x93B\x82\x88matroska",
    "video/webm": b"\x1aE\xdf\xa3\x9fB\x82\x84webm",
}
EVERY_TYPE = {**WHOLE, **MORE_TYPES}
