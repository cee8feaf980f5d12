"""Values of the notebook become attachments: ``attach`` and ``to_data_uri``."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Iterator, ValuesView
from dataclasses import replace
from typing import Any

from .. import debug, settings
from ..text import shorten
from .attachment import Attachment, file_name, unique_name
from .files import check_size, is_open_file
from .probe import is_truncated
from .sniff import data_uri, format_size, media_type
from .source import read_source
from .types import converted_suffixes

_SVG = "image/svg+xml"


def attach(thing: Any, name: str | None = None) -> Attachment:
    """Return a value as an attachment, ready to be sent: anything that ``to_data_uri`` accepts.

    The file name is ``name``, else the value's own: that of the file, or the end of the address, else one made from
    the media type. An image is sent upright, as PNG, JPEG, GIF or WebP. Others (TIFF, BMP, AVIF, HEIC, ...) become PNG
    or JPEG. One above the limits of the settings (``max_image_side`` in pixels, ``max_image_bytes``) is scaled down. An
    SVG becomes a PNG if resvg_py or cairosvg is installed.

    Raises ``ValueError`` and ``TypeError`` as ``to_data_uri`` does.
    """
    if not isinstance(name, str | None):
        raise TypeError(f"the file name has to be a string, not {type(name).__name__}")
    if type(thing) is Attachment:
        return thing if name is None else replace(thing, name=name)
    content, own_name, label = read_source(thing, name)
    if isinstance(content, str):
        return Attachment(content, name or own_name)
    found_type = _checked_type(content, label)
    if found_type == _SVG and (png := _render(content)):
        content, found_type = png, "image/png"
        name = name and _with_suffix(name, found_type)
    content, sent_type, remark = _sendable(content, found_type, label)
    if sent_type != found_type:
        name = name and _with_suffix(name, sent_type)
    own_name = _with_suffix(own_name, sent_type) if own_name else file_name("", sent_type)
    return Attachment(data_uri(content, sent_type), name or own_name, remark)


def attachments(values: Any) -> list[Attachment]:
    """Return one value or several as attachments. A value may come with its file name, as ``(value, name)``.

    Names that were not given are made unique. A warning is logged for each image that had to be scaled down or lost a
    part. Raises ``ValueError`` and ``TypeError`` as ``to_data_uri`` does.
    """
    from .resize import is_reduced

    found: list[Attachment] = []
    for item in values if _are_several(values) else [values]:
        is_named = isinstance(item, tuple) and len(item) == 2 and isinstance(item[1], str | None)
        value, name = item if is_named else (item, None)
        one = attach(value, name)
        if is_reduced(one.remark) and not isinstance(value, Attachment):
            debug.warn(f"{one.name} was {one.remark}")
        found.append(one if name else replace(one, name=unique_name(one.name, [other.name for other in found])))
    return found


def to_data_uri(data: Any, name: str | None = None) -> str:
    """Return a value as a data URI in base64, with the media type that its content shows; a web address as it is.

    Accepts bytes; the path of a file, or its address (``file:///…``); an open file (read from its start, its position
    is kept); a data URI; an array H×W or H×W×(1, 3, 4) of uint8, bool or floats in 0..1; an image of Pillow; a figure
    or part of one; any object that displays itself as an image. A web address is checked, and never fetched. Images are
    sent as ``attach`` sends them, which also renders an SVG and finds a file name.

    Error messages call the value ``name``. Raises ``ValueError`` with one line if the value cannot be sent (it is
    missing, empty, cut off, too large, or of a type that models do not read), ``TypeError`` if no value of its class
    can be.
    """
    from .resize import is_reduced

    if type(data) is Attachment:
        return data.uri
    content, _, label = read_source(data, name)
    if isinstance(content, str):
        return content
    found_type = _checked_type(content, label)
    content, found_type, remark = _sendable(content, found_type, label)
    if is_reduced(remark):
        debug.warn(f"{label} was {remark}")
    return data_uri(content, found_type)


def _are_several(values: Any) -> bool:
    """Whether these are several values. A figure of plotly and an open file can be iterated, and are one value."""
    collections = (list, tuple, set, frozenset, ValuesView, Iterator)
    return isinstance(values, collections) and not is_open_file(values)


def _with_suffix(name: str, media_type: str) -> str:
    """Return the name without a suffix of another type: an opened photo.jpg of Pillow is sent as photo.png."""
    named_type, compression = mimetypes.guess_type(name)
    stem, suffix = os.path.splitext(name)
    if suffix.lower().removeprefix(".") in converted_suffixes():  # Python does not know all of them
        return file_name(stem, media_type)
    if compression or (named_type != media_type and mimetypes.guess_type(stem)[0] == media_type):
        return stem  # photo.png.gz, photo.png.bak
    return name if named_type in (None, media_type) else file_name(stem, media_type)


def _checked_type(data: bytes, label: str) -> str:
    """Return the media type of data that can be sent."""
    if not data:
        raise ValueError(f"{shorten(label)} is empty: there is nothing to send")
    check_size(len(data), label)
    found_type = media_type(data)
    if found_type is None:
        raise ValueError(f"{shorten(label)} is not an image, audio, video or PDF: put text into the prompt instead")
    if is_truncated(data, found_type):
        raise ValueError(f"{shorten(label)} is {found_type} and cut off: copy or save it again")
    return found_type


def _sendable(data: bytes, found_type: str, label: str) -> tuple[bytes, str, str]:
    """Return data in a form that services read, within the limits of the settings, its type, and how it was changed."""
    from .resize import fit_within

    max_bytes, max_side = settings.image_bounds()
    if found_type == _SVG and len(data) > max_bytes:
        limit = f"an SVG that cannot be rendered here can have at most {format_size(max_bytes)}"
        raise ValueError(f"{shorten(label)} has {format_size(len(data))}, and {limit}: save it as PNG")
    try:
        changed, remark = fit_within(data, found_type, max_bytes, max_side)
    except ValueError as error:
        raise ValueError(f"{shorten(label)} cannot be sent: {error}") from None
    return changed, (media_type(changed) or found_type) if remark else found_type, remark


def _render(svg: bytes) -> bytes | None:
    from .svg import render_svg

    return render_svg(svg, settings.image_bounds()[1])
