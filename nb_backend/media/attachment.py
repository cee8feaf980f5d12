"""The value that is sent with a prompt."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count

from ..text import shorten
from .probe import pixel_size
from .sniff import format_size

_SENT = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,|(?i:https?)://")
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
            raise ValueError(f"{shorten(self.uri)!r} is neither a data URI in base64 nor an address of the web")

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
        from .resize import thumbnail

        return thumbnail(self.data, self.media_type) if self.media_type.startswith("image/") else None

    def __str__(self) -> str:
        return f"{shorten(self.name)} ({', '.join(self._facts())})"

    def __repr__(self) -> str:
        return f"<Attachment {self}>"

    def _repr_markdown_(self) -> str:
        from ..text import entities

        shown = self.thumbnail()
        return "\n\n".join([*([f"![image]({shown})"] if shown else []), f"<code>{entities(str(self))}</code>"])

    def _facts(self) -> Iterator[str]:
        if not self.media_type:
            yield shorten(self.uri)
            return
        data = self.data
        yield self.media_type
        if pixels := pixel_size(data, self.media_type):
            yield f"{pixels[0]}×{pixels[1]}"
        yield format_size(len(data))
        if self.remark:
            yield self.remark


def unique_name(name: str, others: Iterable[str]) -> str:
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
