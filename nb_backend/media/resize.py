"""Images scaled down, turned upright and converted, and thumbnails. Pillow is imported when an image has to be read."""

from __future__ import annotations

import importlib
import io
import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

from ..text import shorten
from .orientation import EXIF_ORIENTATION
from .png import MAX_PIXELS, in_png_mode
from .probe import is_truncated, pixel_size
from .sniff import BITMAPS, data_uri, format_size
from .types import TYPES, MediaType, PillowFormat

_KEPT_INFO = ("icc_profile", "loop", "default_image")  # keys of Pillow's ``info`` that are saved again
_MAX_ANIMATION_PIXELS = 2**26  # of all frames together
_MIN_FRAME_PIXELS = 2**16  # a smaller frame counts as this many, which limits the number of small frames
_WEBP_HEADER = 2**16  # bytes, within which a lossless WebP shows that it is one
_MUCH_SMALLER = 2  # a picture is sent as JPEG if its PNG is more than this many times as large
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations of 90 degrees
_MAX_ENCODINGS = 8  # attempts to reach the number of bytes
_PILLOW_MODULES = re.compile(r"(?:PIL|pillow_heif)\b")
# An entry of warnings.filters. Pillow warns of large images and of odd metadata.
_IGNORE_PILLOW = ("ignore", None, Warning, _PILLOW_MODULES, 0)


class _CannotFitError(ValueError):
    """The image was read, and cannot be made small enough. The message says why."""


@dataclass
class _Image:
    """An image as it was read: frames are upright and within the wanted side; ``options`` are saved with them."""

    size: tuple[int, int]
    """Pixels before scaling, upright."""
    frames: list[Any]
    options: dict[str, Any]
    left_out: str = ""
    """What the user is told if frames or pages were left out."""
    same_quality: dict[str, Any] = field(default_factory=dict)
    """Options that lose as little as possible if an image is only turned."""


def fit_within(data: bytes, media_type: str, max_bytes: int, max_side: int) -> tuple[bytes, str]:
    """Return an image that every service reads, of at most ``max_bytes`` and ``max_side`` pixels a side.

    PNG, JPEG, WebP and GIF keep their format; other bitmaps become PNG or JPEG. EXIF, which may hold places, is not
    kept if the image is changed: the orientation goes into the pixels. Transparency, color profile and animation are
    kept. The text says how the image was changed, or is "".

    Other media types and SVGs are returned as they are. Raises ``ValueError`` in half a line if it cannot be done.
    """
    if not media_type.startswith("image/") or media_type == "image/svg+xml":
        return data, ""
    known = TYPES.get(media_type) or MediaType(media_type, "")
    if (reason := _reason(data, known, max_bytes, max_side)) is None:
        return data, ""
    try:
        image = _read(data, media_type, max_side, for_png=known.is_converted)
        if reason.verb == "scale" and len(data) <= max_bytes and max(image.size) <= max_side:
            return data, ""
        if reason.verb == "turn":
            image.options |= image.same_quality
        changed, reached = _encode_within(image, _formats_of(known), max_bytes)
    except _CannotFitError:
        raise
    except ImportError:
        if reason.verb == "turn":
            return data, "not turned upright: to turn it, pip install pillow"
        refused = ", which many services refuse" if reason.verb == "convert" else ""
        raise ValueError(f"{reason.problem}{refused}: to {reason.verb} it, pip install pillow") from None
    except Exception as error:  # Pillow raises many kinds of errors
        message = shorten(str(error).partition(" <")[0], 40)  # without the repr of a file
        why = f" ({message})" if reason.verb != "scale" and isinstance(error, OSError) else ""
        raise ValueError(f"{reason.problem}; Pillow cannot {reason.verb} it{why}: {reason.advice}") from error
    parts = [f"converted from {known.suffix.upper()}"] if reason.verb == "convert" else []
    if reached != image.size:
        parts.append(f"scaled from {_times(image.size)} to {_times(reached)}")
    elif reason.verb == "turn":
        parts.append("turned upright")
    elif reason.verb == "scale":
        parts.append(f"made smaller, from {format_size(len(data))} to {format_size(len(changed))}")
    return changed, f"{', '.join(parts)}{image.left_out}"


def is_reduced(remark: str) -> bool:
    """Whether a remark of ``fit_within`` says that less is sent than was given: pixels, bytes, frames or pages."""
    return any(word in remark for word in ("scaled", "smaller", "only", "not turned"))


class _Reason(NamedTuple):
    """Why an image cannot be sent as it is, what has to be done, and what the user can do instead."""

    problem: str
    verb: str
    advice: str


def _reason(data: bytes, known: MediaType, max_bytes: int, max_side: int) -> _Reason | None:
    size = pixel_size(data, known.name)
    if known.is_converted:
        return _Reason(f"it is {known.suffix.upper()}", "convert", "save it as PNG or JPEG")
    if size and max(size) > max_side:
        return _Reason(
            f"it has {_times(size)} pixels, and the limit is {max_side}", "scale", "make it smaller yourself"
        )
    if len(data) > max_bytes:
        too_large = f"it has {format_size(len(data))}, and the limit is {format_size(max_bytes)}"
        return _Reason(too_large, "scale", "make it smaller yourself")
    if known.orientation(data) != 1:
        return _Reason("it is turned by its EXIF", "turn", "save it again, upright")
    return None


def thumbnail(data: bytes, media_type: str, side: int = 160, most: int = 40_000) -> str | None:
    """Return an image within ``side`` × ``side`` pixels as a data URI of at most ``most`` characters.

    ``None`` for an SVG (``attach`` has rendered it, if it can be), for what is not an image, and if it cannot be read.
    """
    try:
        longest = max(pixel_size(data, media_type) or (0, 0))
        is_usable = len(data) < most and media_type in BITMAPS and not is_truncated(data, media_type)
        unscaled = data_uri(data, media_type) if is_usable else ""
        fits = longest and 0 < len(unscaled) <= most
        if fits and longest <= side:
            return unscaled
        try:
            frame = _as_8_bit(_read(data, media_type, side, animated=False).frames[0])
        except ImportError:
            return unscaled if fits and longest <= 2 * side else None
        return next((uri for uri in _thumbnails(frame) if len(uri) <= most), None)
    except Exception:  # damaged data; Pillow raises many kinds of errors
        return None


def _formats_of(known: MediaType) -> list[PillowFormat]:
    """Return the formats that an image of this type can be sent in, the preferred one first."""
    types = [TYPES["image/png"], TYPES["image/jpeg"]] if known.is_converted else [known]
    return [one.pillow for one in types if one.pillow is not None]


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"


def _within(size: tuple[int, int], side: int) -> tuple[int, int]:
    longest = max(size)
    if longest <= side:
        return size
    return max(1, round(size[0] * side / longest)), max(1, round(size[1] * side / longest))


def _check_pixels(size: tuple[int, int]) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        most = f"at most {MAX_PIXELS / 1e6:.0f} million can be scaled"
        raise _CannotFitError(f"it has {_times(size)} pixels, and {most}: make it smaller yourself")


@contextmanager
def _pillow_unwarned() -> Iterator[None]:
    """Ignore Pillow's warnings, with an entry in the list of filters that is there.

    ``warnings.catch_warnings`` replaces the list. Where threads overlap, the user's included, it would leave a wrong
    one behind.
    """
    filters: Any = warnings.filters
    filters.insert(0, _IGNORE_PILLOW)
    try:
        yield
    finally:
        with suppress(ValueError):  # another thread has reset the filters
            filters.remove(_IGNORE_PILLOW)


def _read(data: bytes, media_type: str, side: int, *, animated: bool = True, for_png: bool = False) -> _Image:
    """Read an image, scaled down to ``side`` pixels. Pillow raises many kinds of errors if it cannot.

    ``for_png`` converts it to a mode that PNG has.
    """
    _check_pixels(pixel_size(data, media_type) or (0, 0))  # before Pillow opens it: some decoders allocate then
    from PIL import Image

    if (pillow := TYPES[media_type].pillow) is None:
        raise LookupError(media_type)
    animated = animated and pillow.animation is not None
    _load_plugin(pillow, media_type)
    with _pillow_unwarned(), Image.open(io.BytesIO(data), formats=[pillow.name]) as image:
        _check_pixels(image.size)
        if pillow.name == "TIFF":
            image.load()  # Pillow turns a TIFF upright when it is loaded
        size, target = image.size, _within(image.size, side)
        if target != size:
            image.draft(None, (2 * target[0], 2 * target[1]))  # a JPEG is decoded at a smaller size
        max_frames = _MAX_ANIMATION_PIXELS // max(size[0] * size[1], _MIN_FRAME_PIXELS) if animated else 1
        frames: list[Any] = []
        durations = []
        for _ in _seek_frames(image) if animated else (0,):
            if frames and (len(frames) >= max_frames or image.size != size):  # damaged files have larger later frames
                del frames[1:]
                break
            image.load()
            orientation = image.getexif().get(EXIF_ORIENTATION)
            frame = _for_png(image) if for_png else image
            frames.append(_upright(_resized(_interpolable(frame), target), orientation))
            durations.append(image.info.get("duration", 0))
        options = {key: image.info[key] for key in _KEPT_INFO if key in image.info}
        if for_png and frame is not image:
            options.pop("icc_profile", None)  # it describes the colors before the conversion
        is_cut = len(frames) == 1 and bool(pillow.parts) and getattr(image, "is_animated", False)
        same_quality = _same_quality(data, image, orientation in _SIDEWAYS)
    if len(frames) > 1 and pillow.animation is not None:
        del durations[: bool(options.get("default_image"))]  # this first frame is not part of the animation
        options |= {**pillow.animation, "save_all": True, "duration": durations}
    left_out = f", its first {pillow.parts} only" if is_cut else ""
    upright_size = (size[1], size[0]) if orientation in _SIDEWAYS else size
    return _Image(upright_size, frames, options, left_out, same_quality)


def _for_png(image: Any) -> Any:
    try:
        return in_png_mode(image)
    except ValueError as error:
        raise _CannotFitError(str(error)) from None


def _load_plugin(pillow: PillowFormat, media_type: str) -> None:
    """Make sure that Pillow reads this format; the error names the package to install if it does not."""
    from PIL import Image

    Image.init()
    if pillow.name in Image.OPEN:
        return
    try:
        plugin = importlib.import_module(pillow.plugin.removesuffix("-plugin").replace("-", "_"))
    except (ImportError, ValueError):
        install = f"pip install {pillow.plugin or '--upgrade pillow'}"
        found = f"it is {TYPES[media_type].suffix.upper()}, which many services refuse"
        raise _CannotFitError(f"{found}: to convert it, {install}") from None
    if callable(register := getattr(plugin, "register_heif_opener", None)):
        register()


def _same_quality(data: bytes, image: Any, sideways: bool) -> dict[str, Any]:
    """Return the options that encode an image again as well as it was; the tables of a JPEG are turned with it."""
    if hasattr(image, "quantization"):
        from PIL.JpegImagePlugin import get_sampling

        sampling = 2 if get_sampling(image) == 2 else 0  # 4:2:0 or 4:4:4; 4:2:2 would have to be turned, too
        tables = {key: [*table] for key, table in image.quantization.items()}
        if sideways:
            tables = {key: [table[at % 8 * 8 + at // 8] for at in range(64)] for key, table in tables.items()}
        return {"quality": -1, "qtables": tables, "subsampling": sampling}
    return {"lossless": True} if b"VP8L" in data[:_WEBP_HEADER] else {}


def _seek_frames(image: Any) -> Iterator[int]:
    """Go to one frame after the other, and yield its number."""
    for number in count():
        try:
            image.seek(number)
        except EOFError:
            return
        yield number


def _interpolable(image: Any) -> Any:
    """Return an image in a mode whose values can be averaged; indexes of a palette cannot."""
    has_palette_alpha = image.palette and image.palette.mode == "RGBA"
    is_transparent = "transparency" in image.info or image.mode == "PA" or has_palette_alpha
    if image.mode in ("P", "PA", "RGB") and is_transparent:
        return image.convert("RGBA")
    if image.mode in ("P", "PA"):
        return image.convert("RGB")
    if image.mode in ("1", "L"):
        return image.convert("LA" if is_transparent else "L")
    return image


def _resized(image: Any, size: tuple[int, int]) -> Any:
    from PIL.Image import Resampling

    if image.mode.startswith("I;16"):  # not every Pillow resizes this mode
        return _resized(image.convert("I"), size).convert("I;16")
    return image.copy() if image.size == size else image.resize(size, Resampling.LANCZOS, reducing_gap=3.0)


def _upright(image: Any, orientation: object) -> Any:
    """Return an image turned as its EXIF orientation says, without metadata."""
    from PIL import ImageOps

    image.info = {}
    image.getexif()[EXIF_ORIENTATION] = orientation
    return ImageOps.exif_transpose(image)


def _encode_within(image: _Image, formats: list[PillowFormat], max_bytes: int) -> tuple[bytes, tuple[int, int]]:
    """Encode an image, smaller each time until it has at most ``max_bytes``; return it and its size in pixels."""
    size = image.frames[0].size
    for _ in range(_MAX_ENCODINGS):
        data = _encoded([_resized(frame, size) for frame in image.frames], formats, image.options)
        if len(data) <= max_bytes:
            return data, size
        size = _within(size, int(max(size) * min(0.9, 0.95 * math.sqrt(max_bytes / len(data)))) or 1)
    raise _CannotFitError(f"it cannot be scaled to {format_size(max_bytes)}, the limit: make it smaller yourself")


def _encoded(frames: list[Any], formats: list[PillowFormat], options: dict[str, Any]) -> bytes:
    """Encode an image in the first format, or in the next one that has it much smaller: a photo is smaller as JPEG."""
    best = b""
    for one in formats:
        if one.name == "JPEG" and best and frames[0].mode not in ("L", "RGB"):  # it is transparent, or has 16 bits
            continue
        data = _saved(frames, one.name, {**one.save, **options})
        best = data if not best or len(data) * _MUCH_SMALLER < len(best) else best
    return best


def _saved(frames: list[Any], format_name: str, options: dict[str, Any]) -> bytes:
    if format_name == "GIF":
        frames = [_clear_or_opaque(frame) for frame in frames]
    more = {"append_images": frames[1:]} if len(frames) > 1 else {}
    frames[0].save(file := io.BytesIO(), format=format_name, **options, **more)
    return file.getvalue()


def _clear_or_opaque(image: Any) -> Any:
    """Make each pixel either transparent or opaque: GIF has nothing in between."""
    if image.mode not in ("LA", "RGBA"):
        return image
    image = image.convert("RGBA")
    image.putalpha(image.getchannel("A").point(lambda alpha: 255 * (alpha > 127)))
    return image


def _as_8_bit(image: Any) -> Any:
    """Return an image in a mode of 8 bits per channel that PNG has."""
    if image.mode in ("F", "I") or image.mode.startswith("I;"):
        image = image.convert("I").convert("F") if image.mode != "F" else image
        brightest = image.getextrema()[1]
        return image.point(lambda value: value * (255 / max(brightest, 1e-9)) + 0).convert("L")
    return image if image.mode in ("L", "LA", "RGB", "RGBA") else image.convert("RGB")


def _thumbnails(image: Any) -> Iterator[str]:
    """Yield an image as data URIs that need less and less space."""
    lossy = "WEBP" if "A" in image.mode else "JPEG"
    for divisor in (1, 2, 4):
        small = _resized(image, (max(1, image.width // divisor), max(1, image.height // divisor)))
        for format_name, options in (("PNG", {}), (lossy, {"quality": 85}), (lossy, {"quality": 50})):
            yield data_uri(_saved([small], format_name, options), f"image/{format_name.lower()}")
