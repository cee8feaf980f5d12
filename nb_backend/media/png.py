"""Arrays of pixels and images of Pillow, encoded as PNG. Arrays do not need Pillow."""

from __future__ import annotations

import io
import struct
import sys
import threading
import zlib
from typing import Any

from ..text import float_text
from .formats import PNG
from .orientation import EXIF_ORIENTATION

MAX_PIXELS = 2**27
"""Pixels of one image: more than a camera gives, and few enough for the memory."""
UNIT_TOLERANCE = 1e-3
"""How far outside of 0..1 the floats of an image may be by rounding, as after resizing; they are clipped."""
render_lock = threading.RLock()
"""Held while a figure is drawn or an image is read: Matplotlib and Pillow are not safe to use from several threads."""


_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_CONVERTED_MODES = {
    "La": "LA",
    "PA": "RGBA",
    "RGBa": "RGBA",
    **dict.fromkeys(("RGBX", "CMYK", "YCbCr", "HSV"), "RGB"),
    **dict.fromkeys(("I;16L", "I;16B", "I;16N"), "I"),
}
_PNG_COLOR_TYPES = {1: 0, 3: 2, 4: 6}  # by the number of channels
_ENCODED_AT_ONCE = 2**20  # values
_EXIF_IFD, _EXIF_SIZE = 0x8769, (0xA002, 0xA003)  # tags of EXIF: its directory, PixelXDimension, PixelYDimension


def check_pixels(height: int, width: int) -> None:
    """Raise ``ValueError`` if an image of this size has no pixels or too many."""
    if not height * width:
        raise ValueError(f"it has no pixels: {width}×{height}")
    if height * width > MAX_PIXELS:
        most = f"at most {MAX_PIXELS / 1e6:.0f} million can be sent"
        raise ValueError(f"it has {width}×{height} pixels, and {most}: make it smaller")


def png_of_image(image: Any) -> bytes:
    """Return an image of Pillow as PNG, upright; the image is not changed.

    16 bits per pixel are kept. The values of mode I have to be 0..65535, those of mode F 0..1, or 0..255 as Pillow
    converts them. ``ValueError`` for other values or a mode that PNG does not have.
    """
    check_pixels(image.height, image.width)
    with render_lock:
        try:
            image.load()  # before its EXIF is read: Pillow turns a TIFF upright as it loads it
        except (AssertionError, AttributeError):  # Pillow has no message for it
            raise ValueError("its file is closed, and it was not loaded before: open it again") from None
        turned = _turned_upright(image)
        ready = in_png_mode(turned)
        profile = ready.info.get("icc_profile") if ready is turned else None  # else of the colors before the conversion
        ready.save(file := io.BytesIO(), format="PNG", icc_profile=profile)
    return file.getvalue()


def in_png_mode(image: Any) -> Any:
    """Return an image of Pillow in a mode that PNG has, or the image itself; raises as ``png_of_image`` does."""
    mode = image.mode
    if mode in _CONVERTED_MODES:
        image = image.convert(_CONVERTED_MODES[mode])
    if image.mode == "I":
        low, high = image.getextrema()
        if low < 0 or high > 0xFFFF:
            raise ValueError(f"it has the mode {mode} and values of {low}..{high}: give 0..65535, or the mode L")
        return image.convert("L" if high <= 0xFF and mode == "I" else "I;16")
    if image.mode == "F":
        low, high = image.getextrema()
        if not (low >= -UNIT_TOLERANCE and high <= 0xFF + UNIT_TOLERANCE):
            found = f"{float_text(low, 'f')}..{float_text(high, 'f')}"
            raise ValueError(f"it has the mode F and values of {found}: give 0..1, or the mode L")
        scale = 0xFF if high <= 1 + UNIT_TOLERANCE else 1
        return image.point(lambda value: value * scale + 0.5).convert("L")  # which clips
    if image.mode == "LAB":
        return _from_lab(image)
    if image.mode not in _PNG_MODES:
        raise ValueError(f"it has the mode {mode}, which PNG does not have: give image.convert('RGB')")
    return image


def _turned_upright(image: Any) -> Any:
    """Return an image turned as its EXIF orientation says, or the image itself.

    An image that was made from an opened one keeps its EXIF, even if the user has turned it by hand. This shows if EXIF
    tells the stored size: one is upright, the other is not.
    """
    exif = image.getexif()
    if exif.get(EXIF_ORIENTATION, 1) not in range(2, 9):
        return image
    from PIL import ImageOps

    if image.format is None and exif[EXIF_ORIENTATION] >= 5:
        width, height = (exif.get_ifd(_EXIF_IFD).get(tag, 0) for tag in _EXIF_SIZE)
        if (width - height) * (image.width - image.height) < 0:
            return image
    return ImageOps.exif_transpose(image)


def _from_lab(image: Any) -> Any:
    from PIL import ImageCms

    return ImageCms.profileToProfile(
        image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )


def png_of_array(value: Any) -> bytes:
    """Return an array as PNG: H×W, H×W×1, H×W×3 or H×W×4, of uint8, bool, or floats in 0..1.

    ``value`` is an array of numpy or has ``__array__``. It is not changed, and not copied as a whole. Raises
    ``ValueError`` for other shapes, types or values.
    """
    _check_shape(tuple(getattr(value, "shape", (1, 1))))  # before __array__, which may copy it
    array = value.__array__() if not _is_numpy_array(value) else value
    if not _is_numpy_array(array):
        raise ValueError(f"its __array__ returns {type(array).__name__}, not an array of numpy")
    numpy = sys.modules["numpy"]
    _check_shape(array.shape)
    if isinstance(array, numpy.ma.MaskedArray) and array.mask.any():
        raise ValueError("some of its values are masked: give array.filled(0)")
    array = numpy.asarray(array)  # a subclass may define other arithmetic
    if array.dtype.kind == "f":
        low, high = array.min(), array.max()
        if not (low >= -UNIT_TOLERANCE and high <= 1 + UNIT_TOLERANCE):
            found = "..".join(float_text(float(one), one.dtype.char) for one in (low, high))
            raise ValueError(f"its floats are {found} and have to be in 0..1: scale them, or give uint8")
    elif array.dtype != numpy.uint8 and array.dtype != bool:
        raise ValueError(f"it has values of {array.dtype}: give uint8 (0..255), bool, or floats in 0..1")
    return _encode_array(array)


def _is_numpy_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in _PNG_COLOR_TYPES):
        advice = ": put the channels last" if len(shape) == 3 and shape[0] in _PNG_COLOR_TYPES else ""
        found = "×".join(map(str, shape[:6])) or "()"
        raise ValueError(f"its shape is {found}, and that of an image is H×W, H×W×1, H×W×3 or H×W×4{advice}")
    check_pixels(shape[0], shape[1])


def _encode_array(array: Any) -> bytes:
    """Encode an array a few rows at a time, each row as its difference from the one above (PNG's filter "up")."""
    numpy = sys.modules["numpy"]
    height, width = array.shape[:2]
    channels = array.shape[2] if array.ndim == 3 else 1
    step = max(1, _ENCODED_AT_ONCE // (width * channels))
    compressor, compressed = zlib.compressobj(), []
    above = numpy.zeros((1, width * channels), numpy.uint8)
    for top in range(0, height, step):
        block = _as_uint8(array[top : top + step]).reshape(-1, width * channels)
        lines = numpy.full((len(block), 1 + width * channels), 2, numpy.uint8)
        lines[:, 1:] = block - numpy.concatenate([above, block[:-1]])
        above = block[-1:]
        compressed.append(compressor.compress(lines))
    header = struct.pack(">IIBBBBB", width, height, 8, _PNG_COLOR_TYPES[channels], 0, 0, 0)
    pixels = b"".join([*compressed, compressor.flush()])
    return PNG + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _as_uint8(block: Any) -> Any:
    if block.dtype.kind == "f":
        return (block.astype("float64").clip(0, 1) * 255).round().astype("uint8")
    return block if block.dtype.kind == "u" else block.astype("uint8") * 255


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
