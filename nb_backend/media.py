"""What goes along with a question: bytes, files, URIs and whatever shows itself as a picture, as data URIs."""

from __future__ import annotations

import base64
import mimetypes
import os
import re
from collections.abc import Iterable, Iterator, Mapping, ValuesView
from dataclasses import dataclass, replace
from itertools import count
from typing import Any
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from . import debug, settings
from .files import check_size, is_open_file, path_of, read, read_open, reason, short
from .media_types import amount, data_uri, is_cut, pixel_size
from .media_types import media_type as media_type

_DATA_URI = re.compile(r"data:(?:[\w.+-]+/[\w.+-]+)?(?:;[^,]*?)??(;base64)?,(.*)", re.DOTALL | re.IGNORECASE)
_URL = re.compile(r"\s*https?://", re.IGNORECASE)
_SENT = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,|(?i:https?)://")
_BLOCK = 2**20  # characters decoded at a time
_LONGEST_NAME = 100  # characters; percent-encoded, each takes twelve at the most
_STEMS = ("image", "audio", "video")
_SUFFIXES = {"image/svg+xml": "svg", "audio/mpeg": "mp3", "audio/mp4": "m4a", "video/quicktime": "mov"}
_SUFFIXES |= {"video/x-matroska": "mkv", "video/3gpp": "3gp"}


@dataclass(frozen=True, repr=False)
class Attachment:
    """What goes along with a question, as it is sent.

    ``uri`` is a data URI whose type its content decided, or the address of something in the web, which is passed on
    and never fetched; ``name`` is its file name; ``remark`` says what was done to it, "" if nothing was: ``scaled from
    6000×4000 to 2048×1365``. In a notebook it shows itself small.
    """

    uri: str
    name: str
    remark: str = ""

    def __post_init__(self) -> None:
        if not _SENT.match(self.uri):
            raise ValueError(f"{short(self.uri)!r} is neither a data URI in base64 nor an address of the web")

    @property
    def media_type(self) -> str:
        """Its media type; "" for an address, of which nothing is known."""
        return self.uri[5 : self.uri.index(";")] if self.uri.startswith("data:") else ""

    @property
    def data(self) -> bytes:
        """Its bytes; none for an address."""
        return base64.b64decode(self.uri.partition(",")[2]) if self.media_type else b""

    @property
    def is_image(self) -> bool:
        """Whether it is a picture, as far as is known: an address may be one."""
        return self.media_type.startswith("image/") or not self.media_type

    def thumbnail(self) -> str | None:
        """Give a small picture of it, as a data URI of at most 40,000 characters; ``None`` if there is none."""
        from .scaling import thumbnail

        return thumbnail(self.data, self.media_type) if self.media_type.startswith("image/") else None

    def __str__(self) -> str:
        return f"{short(self.name)} ({', '.join(self._facts())})"

    def __repr__(self) -> str:
        return f"<Attachment {self}>"

    def _repr_markdown_(self) -> str:
        from .markdown_parts import entities

        shown = self.thumbnail()
        return "\n\n".join([*([f"![image]({shown})"] if shown else []), f"<code>{entities(str(self))}</code>"])

    def _facts(self) -> Iterator[str]:
        if not self.media_type:
            yield short(self.uri)
            return
        data = self.data
        yield self.media_type
        if pixels := pixel_size(data, self.media_type):
            yield f"{pixels[0]}×{pixels[1]}"
        yield amount(len(data))
        if self.remark:
            yield self.remark


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
        found.append(one if name else replace(one, name=free_name(one.name, [other.name for other in found])))
    return found


def _are_several(things: Any) -> bool:
    """Whether these are several things; a figure of plotly and an open file can be gone through, and are one."""
    kinds = (list, tuple, set, frozenset, ValuesView, Iterator)
    return isinstance(things, kinds) and not is_open_file(things)


def free_name(name: str, others: Iterable[str]) -> str:
    """Give a file name that is none of the others, in capitals or not: plot.png, plot_2.png."""
    taken = {other.casefold() for other in others}
    stem, suffix = os.path.splitext(name)
    numbered = (f"{stem}_{number}{suffix}" for number in count(2))
    return name if name.casefold() not in taken else next(free for free in numbered if free.casefold() not in taken)


def file_name(stem: str, kind: str) -> str:
    """Give a file name for something of this media type, whose stem says only that if there is none."""
    major = kind.partition("/")[0]
    stem = stem or (major if major in _STEMS else "document")
    return f"{stem}.{_SUFFIXES.get(kind) or kind.partition('/')[2] or 'image'}"


def text_of(message: Mapping[str, Any]) -> str:
    """Give what a message says, with a word for each part of it that is no text."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n\n".join(text if isinstance(text := part.get("text"), str) else "(an attachment)" for part in content)


def content_part(uri: str, name: str | None = None) -> dict[str, Any]:
    """Give an attachment as a part of a message's content.

    Source: https://platform.openai.com/docs/api-reference/chat/create, "content parts": ``image_url``, ``input_audio``
    of wav and mp3, ``file``.
    """
    kind, _, data = uri.partition(";base64,")
    if kind in ("data:audio/wav", "data:audio/mpeg"):
        sound = "wav" if kind == "data:audio/wav" else "mp3"
        return {"type": "input_audio", "input_audio": {"data": data, "format": sound}}
    if kind.startswith("data:") and not kind.startswith("data:image/"):
        return {"type": "file", "file": {"filename": name or "file", "file_data": uri}}
    return {"type": "image_url", "image_url": {"url": uri}}


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


def _content(thing: Any, name: str | None) -> tuple[bytes | str, str, str]:
    """Give what a thing holds, or its address; its own file name, if it has one; and what to call it in an error."""
    try:
        return _content_of(thing, name)
    except (ValueError, TypeError):
        raise
    except (Exception, SystemExit, GeneratorExit) as error:  # whatever somebody's object raises
        raise ValueError(f"{short(name or f'the {type(thing).__name__}')} cannot be sent: {reason(error)}") from error


def _content_of(thing: Any, name: str | None) -> tuple[bytes | str, str, str]:
    if isinstance(thing, str):
        thing = getattr(thing, "data_uri", None) or thing  # an image of an answer, which may be gone from the web
        if thing.lstrip()[:5].lower() == "data:":
            return _decode_data_uri(thing), "", name or "the data URI"
        if is_address(thing):
            address = _web_address(thing.strip(), name or "the URL")
            end = urlsplit(address).path[-20 * _LONGEST_NAME :]  # to unquote takes a hundred times the memory
            return address, _name_of(unquote(end)) or "image", address
    if isinstance(thing, bytes | bytearray | memoryview):
        return _bytes_of(thing, name or "the bytes"), "", name or "the bytes"
    if isinstance(thing, str | os.PathLike):
        path = path_of(thing)
        return read(path), _name_of(path), str(path)
    return _content_of_object(thing, name)


def _content_of_object(value: Any, name: str | None) -> tuple[bytes | str, str, str]:
    from .pictures import picture_of, pixels_of  # only when they are needed

    kind = short(type(value).__name__)
    said = name or f"the {kind}"
    try:
        own = getattr(value, "filename", None)  # of Pillow and of IPython
        found = picture_of(value)
        if found is None:
            found = pixels_of(value)
        if found is None and is_open_file(value):
            own = getattr(value, "name", None)
            said = name or (own if isinstance(own, str) and own else "the file")
            found = read_open(value)
    except (Exception, SystemExit, GeneratorExit) as error:  # whatever somebody's object raises
        raise ValueError(f"{short(said)} cannot be sent: {reason(error)}") from error
    own = _name_of(own) if isinstance(own, str | os.PathLike) else ""
    if isinstance(found, str):
        return _content(found, name)
    if found is None:
        wanted = "give bytes, a path or a data URI, a URL, a picture, a figure, an array or an open file"
        raise TypeError(f"{short(name or 'this', 40)} is of type {short(kind, 40)}: {wanted}")
    return found, own, said


def _name_of(path: str | os.PathLike[Any]) -> str:
    """Give the last part of a path as a file name that can be shown."""
    name = os.fsdecode(path).replace("\\", "/").rpartition("/")[2].encode(errors="replace").decode()
    name = "".join(sign for sign in name if sign.isprintable())[-_LONGEST_NAME:]
    return name if name.strip(".") else ""


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
        raise ValueError(f"{short(name)} is empty: there is nothing to send")
    check_size(len(data), name)
    kind = media_type(data)
    if kind is None:
        raise ValueError(f"{short(name)} is no image, sound, film or PDF by its content: put text into the question")
    if is_cut(data, kind):
        raise ValueError(f"{short(name)} is {kind} and cut off: its end is missing")
    return kind


def _within_bounds(data: bytes, kind: str, name: str) -> tuple[bytes, str]:
    from .scaling import fit

    most_bytes, most_side = settings.image_bounds()
    if kind == "image/svg+xml" and len(data) > most_bytes:
        most = f"{amount(most_bytes)} is the most for an SVG that cannot be drawn here"
        raise ValueError(f"{short(name)} has {amount(len(data))}, and {most}")
    try:
        return fit(data, kind, most_bytes, most_side)
    except ValueError as error:
        raise ValueError(f"{short(name)} cannot be sent: {error}") from None


def _drawn(svg: bytes) -> bytes | None:
    from .drawing import render_svg

    return render_svg(svg, settings.image_bounds()[1])


def _bytes_of(data: bytes | bytearray | memoryview, name: str) -> bytes:
    if isinstance(data, memoryview):
        if data.itemsize != 1:
            what = f"a memoryview whose items have {data.itemsize} bytes"
            raise ValueError(f"{short(name)} is {what}: give its bytes, with .cast('B') or .tobytes()")
        check_size(data.nbytes, name)
    else:
        check_size(len(data), name)
    return bytes(data)


def _decode_data_uri(uri: str) -> bytes:
    check_size(len(uri) // 3, "the data URI")  # percent-encoded, a byte takes three characters
    found = _DATA_URI.fullmatch(uri.strip())
    if found is None:
        raise ValueError("the data URI has no comma between its type and its data")
    try:
        raw = b"".join(map(unquote_to_bytes, _blocks(found[2])))
    except ValueError:
        raise ValueError("the data URI has a character in it that no file can have") from None
    if not found[1]:
        return raw
    try:
        raw = re.sub(rb"\s", b"", raw).translate(bytes.maketrans(b"-_", b"+/"))
        return base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
    except ValueError:
        raise ValueError("the data URI's base64 is damaged") from None


def _blocks(text: str) -> Iterator[str]:
    """Cut a percent-encoded text, which takes a hundred times its memory to decode; not within an escape."""
    at = 0
    while at < len(text):
        end = at + _BLOCK
        if end < len(text) and (escape := text.rfind("%", end - 2, end)) >= 0:
            end = escape
        yield text[at:end]
        at = end


def is_address(text: str) -> bool:
    """Whether a text is meant as an address of the web."""
    return _URL.match(text) is not None


def _web_address(url: str, name: str) -> str:
    try:
        parts = urlsplit(url)
        host, has_key = parts.hostname, "@" in parts.netloc
    except ValueError:
        host, has_key = None, False
    if has_key:
        raise ValueError("an address with a password in it is not passed on: give one without")
    if not host or re.search(r"[\s\x00-\x1f\x7f\ud800-\udfff]", url):
        raise ValueError(f"{short(name)} is no address of the web: {short(url)!r}")
    return url
