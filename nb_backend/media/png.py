"""Pixels as PNG: pictures of Pillow in every mode, and arrays, which need no Pillow."""

from __future__ import annotations

import io
import struct
import sys
import threading
import zlib
from typing import Any

MOST_PIXELS = 2**27  # more than a camera gives, and little enough for the memory
render_lock = threading.RLock()
"""Held while somebody's figure is drawn, or picture read: neither matplotlib nor Pillow takes two threads at that."""


_AS_THEY_ARE = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")  # the modes that a PNG has
_CONVERTED = {
    "La": "LA",
    "PA": "RGBA",
    "RGBa": "RGBA",
    **dict.fromkeys(("RGBX", "CMYK", "YCbCr", "HSV"), "RGB"),
    **dict.fromkeys(("I;16L", "I;16B", "I;16N"), "I"),
}
_COLOUR_TYPES = {1: 0, 3: 2, 4: 6}  # a PNG's number for so many channels
_BLOCK = 2**20  # values encoded at a time
_ORIENTATION = 0x0112  # EXIF's number for how a picture is turned


def check_size(height: int, width: int) -> None:
    """Refuse what has no pixels, or too many."""
    if not height * width:
        raise ValueError(f"it has no pixels: {width}×{height}")
    if height * width > MOST_PIXELS:
        most = MOST_PIXELS / 1e6
        raise ValueError(f"it has {width}×{height} pixels, and {most:.0f} million are the most: make it smaller")


def png_of_image(image: Any) -> bytes:
    """Give a picture of Pillow as PNG; the picture stays as it was.

    16 bits a pixel, and the orientation in its EXIF, are kept; "I" has to be of 0..65535, and "F" of 0..1, or of 0..255
    as Pillow converts.
    """
    check_size(image.height, image.width)
    with render_lock:
        return _png_of(image)


def _png_of(image: Any) -> bytes:
    mode = image.mode
    options: dict[str, Any] = {}
    turn = image.getexif().get(_ORIENTATION, 1)
    if mode in _CONVERTED:
        image = image.convert(_CONVERTED[mode])
        options["icc_profile"] = None  # it was for the other colours
    if image.mode == "I":
        low, high = image.getextrema()
        if low < 0 or high > 0xFFFF:
            raise ValueError(f"it has the mode {mode} and values of {low}..{high}: give 0..65535, or the mode L")
        image = image.convert("L" if high <= 0xFF and mode == "I" else "I;16")
    elif image.mode == "F":
        low, high = image.getextrema()
        if not (low >= 0 and high <= 0xFF):
            raise ValueError(f"it has the mode F and values of {low:.4g}..{high:.4g}: give 0..1, or the mode L")
        scale = 0xFF if high <= 1 else 1
        image = image.point(lambda value: value * scale + 0.5).convert("L")
    elif image.mode == "LAB":
        image = _from_lab(image)
        options["icc_profile"] = None
    elif image.mode not in _AS_THEY_ARE:
        raise ValueError(f"it has the mode {mode}, which no PNG has: give image.convert('RGB')")
    if turn != 1:
        options["exif"] = image.getexif().__class__()
        options["exif"][_ORIENTATION] = turn
    image.save(file := io.BytesIO(), format="PNG", **options)
    return file.getvalue()


def _from_lab(image: Any) -> Any:
    from PIL import ImageCms

    return ImageCms.profileToProfile(
        image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )


def png_of_array(value: Any) -> bytes:
    """Give an array as PNG: H×W, H×W×1, ×3 or ×4 of uint8, of bool, or of floats in 0..1.

    ``value`` is an array of numpy or has ``__array__``; it is neither written nor copied whole.
    """
    _check_shape(tuple(getattr(value, "shape", (1, 1))))  # before it is made an array of numpy
    array = value.__array__() if not _is_numpy(value) else value
    if not _is_numpy(array):
        raise ValueError(f"its __array__ gives {type(array).__name__}, no array of numpy")
    numpy = sys.modules["numpy"]
    _check_shape(array.shape)
    if isinstance(array, numpy.ma.MaskedArray) and array.mask.any():
        raise ValueError("some of its values are masked: give array.filled(0)")
    array = numpy.asarray(array)  # a subclass may mean something else by its arithmetic
    if array.dtype.kind == "f":
        low, high = array.min(), array.max()
        if not (low >= 0 and high <= 1):
            raise ValueError(f"its floats are {low:.4g}..{high:.4g} and have to be in 0..1: scale them, or give uint8")
    elif array.dtype != numpy.uint8 and array.dtype != bool:
        raise ValueError(f"it has values of {array.dtype}: give uint8 (0..255), bool, or floats in 0..1")
    return _encode(array)


def _is_numpy(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in _COLOUR_TYPES):
        swap = ": put the channels last" if len(shape) == 3 and shape[0] in _COLOUR_TYPES else ""
        size = "×".join(map(str, shape[:6])) or "()"
        raise ValueError(f"its shape is {size}, and a picture's is H×W, H×W×1, H×W×3 or H×W×4{swap}")
    check_size(shape[0], shape[1])


def _encode(array: Any) -> bytes:
    """Encode some rows after the other, each as its difference from the one above (the filter "up")."""
    numpy = sys.modules["numpy"]
    height, width = array.shape[:2]
    channels = array.shape[2] if array.ndim == 3 else 1
    step = max(1, _BLOCK // (width * channels))
    packer, packed = zlib.compressobj(), []
    above = numpy.zeros((1, width * channels), numpy.uint8)
    for top in range(0, height, step):
        block = _to_bytes(array[top : top + step]).reshape(-1, width * channels)
        lines = numpy.full((len(block), 1 + width * channels), 2, numpy.uint8)
        lines[:, 1:] = block - numpy.concatenate([above, block[:-1]])
        above = block[-1:]
        packed.append(packer.compress(lines))
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", b"".join([*packed, packer.flush()])), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, chunks))


def _to_bytes(block: Any) -> Any:
    if block.dtype.kind == "f":
        return (block.astype("float64") * 255).round().astype("uint8")
    return block if block.dtype.kind == "u" else block.astype("uint8") * 255


def _chunk(part: tuple[bytes, bytes]) -> bytes:
    kind, data = part
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
