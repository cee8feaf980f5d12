"""Pictures made smaller. Pillow is imported only when one has to be read."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

from .probe import is_truncated, pixel_size
from .sniff import BITMAPS, data_uri, format_size

_FORMATS = {f"image/{name.lower()}": name for name in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")}
_FORMATS["image/heic"] = "HEIF"  # which Pillow has if pillow-heif was registered
_SAVED: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 90},
    "WEBP": {"quality": 90},
    "AVIF": {"quality": 85},
    "TIFF": {"compression": "tiff_lzw"},
}
_MOVING: dict[str, dict[str, Any]] = {
    "GIF": {"disposal": 2},
    "PNG": {"disposal": 0, "blend": 0},
    "WEBP": {},
    "AVIF": {},
}
_KEPT = ("icc_profile", "loop", "default_image")  # of what Pillow knows beside the pixels
_MOST_PIXELS = 2**27
_MOST_MOVING = 2**26  # pixels of all the frames
_LEAST_FRAME = 2**16  # pixels, so that there are not too many small ones
_ROUNDS = 8  # of encoding, until there are few enough bytes
_ORIENTATION = 0x0112  # EXIF's number for it
_READERS = re.compile(r"(?:PIL|pillow_heif)\b")  # which warn of large pictures and of odd metadata
_UNWARNED = ("ignore", None, Warning, _READERS, 0)  # as in warnings.filters


class _Refused(ValueError):
    """What is said when a picture is read, and cannot be made to fit."""


@dataclass
class _Picture:
    """What was read: its size as it is seen, its frames, upright and within the side, and what is saved with them."""

    size: tuple[int, int]
    frames: list[Any]
    options: dict[str, Any]
    left_out: str = ""


def fit_within(data: bytes, kind: str, max_bytes: int, max_side: int) -> tuple[bytes, str]:
    """Give a picture of at most so many bytes, and pixels a side, and what was done to it: "" if nothing had to be.

    Its format, orientation, transparency, colour profile and animation are kept; its EXIF, which holds places, is not.
    What is no picture, or an SVG, is given back. ``ValueError`` says in half a line why it cannot be made smaller.
    """
    if not kind.startswith("image/") or kind == "image/svg+xml":
        return data, ""
    size, small = pixel_size(data, kind), len(data) <= max_bytes
    if small and (size is None or max(size) <= max_side):
        return data, ""
    what = f"{format_size(len(data))}, {format_size(max_bytes)}"
    if size and max(size) > max_side:
        what = f"{_times(size)} pixels, {max_side}"
    try:
        picture = _read(data, kind, max_side)
        if small and max(picture.size) <= max_side:
            return data, ""
        fitting, reached = _fitting(picture, kind, max_bytes)
    except _Refused:
        raise
    except ImportError:
        missing = "Pillow, which would scale it, is not installed: pip install pillow"
        raise ValueError(f"it has {what} is the most, and {missing}") from None
    except Exception as error:  # whatever Pillow raises
        raise ValueError(f"it has {what} is the most, and Pillow cannot read it: make it smaller yourself") from error
    if reached == picture.size:
        return fitting, f"made smaller, from {format_size(len(data))} to {format_size(len(fitting))}{picture.left_out}"
    return fitting, f"scaled from {_times(picture.size)} to {_times(reached)}{picture.left_out}"


def thumbnail(data: bytes, kind: str, side: int = 160, most: int = 40_000) -> str | None:
    """Give a picture within side×side pixels as a data URI of at most so many characters; ``None`` if there is none.

    An SVG has none: it would have been drawn, if it could be.
    """
    try:
        longest = max(pixel_size(data, kind) or (0, 0))
        same = data_uri(data, kind) if len(data) < most and kind in BITMAPS and not is_truncated(data, kind) else ""
        fits = longest and 0 < len(same) <= most
        if fits and longest <= side:
            return same
        try:
            frame = _plain(_read(data, kind, side, moving=False).frames[0])
        except ImportError:
            return same if fits and longest <= 2 * side else None
        return next((uri for uri in _tries(frame) if len(uri) <= most), None)
    except Exception:  # damaged, and whatever Pillow raises
        return None


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"


def _within(size: tuple[int, int], side: int) -> tuple[int, int]:
    longest = max(size)
    if longest <= side:
        return size
    return max(1, round(size[0] * side / longest)), max(1, round(size[1] * side / longest))


def _check_pixels(size: tuple[int, int]) -> None:
    if size[0] * size[1] > _MOST_PIXELS:
        most = f"{_MOST_PIXELS / 1e6:.0f} million are the most that are scaled"
        raise _Refused(f"it has {_times(size)} pixels, and {most}: make it smaller yourself")


@contextmanager
def _unwarned() -> Iterator[None]:
    """Let Pillow warn of nothing, with a filter in the list that is there, and out of the same list again.

    ``warnings.catch_warnings`` changes lists, which it would leave for good where threads, the user's too, overlap.
    """
    filters: Any = warnings.filters
    filters.insert(0, _UNWARNED)
    try:
        yield
    finally:
        with suppress(ValueError):  # somebody has reset them
            filters.remove(_UNWARNED)


def _read(data: bytes, kind: str, side: int, *, moving: bool = True) -> _Picture:
    """Read a picture within a side; whatever Pillow raises if it cannot."""
    _check_pixels(pixel_size(data, kind) or (0, 0))  # some decoders take their memory when they are opened
    from PIL import Image

    name = _FORMATS[kind]
    moving = moving and name in _MOVING
    with _unwarned(), Image.open(io.BytesIO(data), formats=[name]) as image:
        _check_pixels(image.size)
        if name == "TIFF":
            image.load()  # which turns it upright
        size, target = image.size, _within(image.size, side)
        if target != size:
            image.draft(None, (2 * target[0], 2 * target[1]))  # a JPEG is decoded smaller
        most = _MOST_MOVING // max(size[0] * size[1], _LEAST_FRAME) if moving else 1
        frames: list[Any] = []
        durations = []
        for _ in _frames(image) if moving else (0,):
            if frames and (len(frames) >= most or image.size != size):  # a later one may be larger than the picture
                del frames[1:]
                break
            image.load()
            turn = image.getexif().get(_ORIENTATION)
            frames.append(_turned(_resized(_scalable(image), target), turn))
            durations.append(image.info.get("duration", 0))
        options = {key: image.info[key] for key in _KEPT if key in image.info}
        cut = len(frames) == 1 and name != "JPEG" and getattr(image, "is_animated", False)
    if len(frames) > 1:
        del durations[: bool(options.get("default_image"))]  # which is shown where nothing moves
        options |= _MOVING[name] | {"save_all": True, "duration": durations}
    left_out = f", its first {'page' if name == 'TIFF' else 'frame'} only" if cut else ""
    return _Picture(
        (size[1], size[0]) if turn in (5, 6, 7, 8) else size, frames, _SAVED.get(name, {}) | options, left_out
    )


def _frames(image: Any) -> Iterator[int]:
    """Go to one frame after the other."""
    for number in count():
        try:
            image.seek(number)
        except EOFError:
            return
        yield number


def _scalable(image: Any) -> Any:
    """Give a picture in a mode whose values can be mixed."""
    clear = "transparency" in image.info or image.mode == "PA" or (image.palette and image.palette.mode == "RGBA")
    if image.mode in ("P", "PA", "RGB") and clear:
        return image.convert("RGBA")
    if image.mode in ("P", "PA"):
        return image.convert("RGB")
    if image.mode in ("1", "L"):
        return image.convert("LA" if clear else "L")
    return image


def _resized(image: Any, size: tuple[int, int]) -> Any:
    from PIL.Image import Resampling

    if image.mode.startswith("I;16"):  # which not every Pillow resizes
        return _resized(image.convert("I"), size).convert("I;16")
    return image.copy() if image.size == size else image.resize(size, Resampling.LANCZOS, reducing_gap=3.0)


def _turned(image: Any, turn: object) -> Any:
    """Turn a picture upright, and drop what came with it."""
    from PIL import ImageOps

    image.info = {}
    image.getexif()[_ORIENTATION] = turn
    return ImageOps.exif_transpose(image)


def _fitting(picture: _Picture, kind: str, max_bytes: int) -> tuple[bytes, tuple[int, int]]:
    """Encode a picture, smaller and smaller until it has few enough bytes; give its size then."""
    size = picture.frames[0].size
    for _ in range(_ROUNDS):
        data = _encoded([_resized(frame, size) for frame in picture.frames], _FORMATS[kind], picture.options)
        if len(data) <= max_bytes:
            return data, size
        size = _within(size, int(max(size) * min(0.9, 0.95 * math.sqrt(max_bytes / len(data)))) or 1)
    raise _Refused(f"it has more than {format_size(max_bytes)}, however small it is made")


def _encoded(frames: list[Any], name: str, options: dict[str, Any]) -> bytes:
    if name == "GIF":
        frames = [_all_or_nothing(frame) for frame in frames]
    more = {"append_images": frames[1:]} if len(frames) > 1 else {}
    frames[0].save(file := io.BytesIO(), format=name, **options, **more)
    return file.getvalue()


def _all_or_nothing(image: Any) -> Any:
    """Make each pixel clear or opaque: a GIF knows nothing between."""
    if image.mode not in ("LA", "RGBA"):
        return image
    image = image.convert("RGBA")
    image.putalpha(image.getchannel("A").point(lambda alpha: 255 * (alpha > 127)))
    return image


def _plain(image: Any) -> Any:
    """Give a picture in a mode that a PNG has, of 8 bits."""
    if image.mode in ("F", "I") or image.mode.startswith("I;"):
        image = image.convert("I").convert("F") if image.mode != "F" else image
        brightest = image.getextrema()[1]
        return image.point(lambda value: value * (255 / max(brightest, 1e-9)) + 0).convert("L")
    return image if image.mode in ("L", "LA", "RGB", "RGBA") else image.convert("RGB")


def _tries(image: Any) -> Iterator[str]:
    """Give a picture in the ways that a thumbnail may have, the best first."""
    lossy = "WEBP" if "A" in image.mode else "JPEG"
    for part in (1, 2, 4):
        small = _resized(image, (max(1, image.width // part), max(1, image.height // part)))
        for name, options in (("PNG", {}), (lossy, {"quality": 85}), (lossy, {"quality": 50})):
            yield data_uri(_encoded([small], name, options), f"image/{name.lower()}")
