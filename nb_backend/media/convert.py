"""Values of the notebook become attachments."""

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
from .source import _content


def attach(thing: Any, name: str | None = None) -> Attachment:
    """Make a thing ready to be sent: whatever ``to_data_uri`` takes, under a file name.

    The name is the thing's own if none is given: that of the file, the end of the address, else one by its type. An
    image above the bounds of the settings (``max_image_side`` in pixels, ``max_image_bytes``) is scaled down. An SVG
    becomes a PNG if resvg_py or cairosvg is installed. The errors are those of ``to_data_uri``.
    """
    if not isinstance(name, str | None):
        raise TypeError(f"a file name is a text, not {type(name).__name__}")
    if type(thing) is Attachment:
        return thing if name is None else replace(thing, name=name)
    found, own, said = _content(thing, name)
    if isinstance(found, str):
        return Attachment(found, name or own)
    kind = _checked(found, said)
    if kind == "image/svg+xml" and (drawn := _drawn(found)):
        found, kind = drawn, "image/png"
        name = name and _with_suffix(name, kind)
    own = _with_suffix(own, kind) if own else file_name("", kind)
    found, remark = _within_bounds(found, kind, said)
    return Attachment(data_uri(found, kind), name or own, remark)


def attachments(things: Any) -> list[Attachment]:
    """Make one thing or several ready to be sent, each alone or as ``(thing, file name)``; other names are unique.

    What had to be done to one of them is logged as a warning.
    """
    found: list[Attachment] = []
    for thing in things if _are_several(things) else [things]:
        named = isinstance(thing, tuple) and len(thing) == 2 and isinstance(thing[1], str | None)
        given, name = thing if named else (thing, None)
        one = attach(given, name)
        if one.remark and not isinstance(given, Attachment):
            debug.warn(f"{one.name} was {one.remark}")
        found.append(one if name else replace(one, name=unique_name(one.name, [other.name for other in found])))
    return found


def _are_several(things: Any) -> bool:
    """Whether these are several things; a figure of plotly and an open file can be gone through, and are one."""
    kinds = (list, tuple, set, frozenset, ValuesView, Iterator)
    return isinstance(things, kinds) and not is_open_file(things)


def to_data_uri(data: Any, name: str | None = None) -> str:
    """Give what a person calls a picture as a data URI whose type its content decides; a URL as it is.

    Bytes, files by their path or open ones (read from the start, left where they stood), data URIs, arrays of pixels,
    figures, and objects that show themselves as a picture. A web address is checked, and never fetched. An image above
    the bounds of the settings is scaled down. (``attach`` also draws an SVG, and gives a name.)

    ``name`` stands in what is said of a failure. ``ValueError`` says in one line what the thing is and why it cannot go
    along; ``TypeError`` if it is no kind of thing that can be sent.
    """
    if type(data) is Attachment:
        return data.uri
    found, _, said = _content(data, name)
    if isinstance(found, str):
        return found
    kind = _checked(found, said)
    found, remark = _within_bounds(found, kind, said)
    if remark:
        debug.warn(f"{said} was {remark}")
    return data_uri(found, kind)


def _with_suffix(name: str, kind: str) -> str:
    """Give a name whose suffix is not that of another type: a JPEG that Pillow had opened is sent as a PNG."""
    known, packed = mimetypes.guess_type(name)
    stem = os.path.splitext(name)[0]
    if packed or (known != kind and mimetypes.guess_type(stem)[0] == kind):  # photo.png.gz, photo.png.bak
        return stem
    return name if known in (None, kind) else file_name(stem, kind)


def _checked(data: bytes, name: str) -> str:
    """Give the type of what can be sent."""
    if not data:
        raise ValueError(f"{shorten(name)} is empty: there is nothing to send")
    check_size(len(data), name)
    kind = media_type(data)
    if kind is None:
        raise ValueError(f"{shorten(name)} is no image, sound, film or PDF by its content: put text into the question")
    if is_truncated(data, kind):
        raise ValueError(f"{shorten(name)} is {kind} and cut off: its end is missing")
    return kind


def _within_bounds(data: bytes, kind: str, name: str) -> tuple[bytes, str]:
    from .resize import fit_within

    most_bytes, most_side = settings.image_bounds()
    if kind == "image/svg+xml" and len(data) > most_bytes:
        most = f"{format_size(most_bytes)} is the most for an SVG that cannot be drawn here"
        raise ValueError(f"{shorten(name)} has {format_size(len(data))}, and {most}")
    try:
        return fit_within(data, kind, most_bytes, most_side)
    except ValueError as error:
        raise ValueError(f"{shorten(name)} cannot be sent: {error}") from None


def _drawn(svg: bytes) -> bytes | None:
    from .svg import render_svg

    return render_svg(svg, settings.image_bounds()[1])
