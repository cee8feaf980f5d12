"""The value that is sent with a prompt."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count

from ..text import shorten
from .probe import pixel_size
from .sniff import format_size, parse_data_uri
from .types import TYPES

_SENDABLE_URI = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,|(?i:https?)://")


@dataclass(frozen=True, repr=False)
class Attachment:
    """A file that is sent with a prompt: an image, audio, a video or a document.

    ``uri`` is a data URI whose media type was found from the content, or a web address, which is passed on to the
    server and never fetched. ``name`` is the file name. ``remark`` says how the content was changed ("scaled from
    6000×4000 to 2048×1365"), or is "". In a notebook an attachment shows a thumbnail.

    Raises ``ValueError`` if ``uri`` is neither a data URI in base64 nor a web address.
    """

    uri: str
    name: str
    remark: str = ""

    def __post_init__(self) -> None:
        if not _SENDABLE_URI.match(self.uri):
            raise ValueError(
                f"{shorten(self.uri)!r} is neither a data URI in base64 nor a web address: use attach(...) to make one"
            )

    @property
    def media_type(self) -> str:
        """The media type, such as "image/png"; "" for a web address."""
        return self.uri[5 : self.uri.index(";")] if self.uri.startswith("data:") else ""

    @property
    def data(self) -> bytes:
        """The content; empty for a web address."""
        return parse_data_uri(self.uri)[1] if self.media_type else b""

    @property
    def is_image(self) -> bool:
        """Whether this is an image. A web address counts as one."""
        return self.media_type.startswith("image/") or not self.media_type

    def thumbnail(self) -> str | None:
        """Return a small image as a data URI of at most 40,000 characters; ``None`` if there is none."""
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
    """Return the name, with a number if another one differs from it only in case: plot.png, plot_2.png."""
    taken = {other.casefold() for other in others}
    stem, suffix = os.path.splitext(name)
    numbered = (f"{stem}_{number}{suffix}" for number in count(2))
    return name if name.casefold() not in taken else next(free for free in numbered if free.casefold() not in taken)


def file_name(stem: str, media_type: str) -> str:
    """Return a file name for content of this type; without a stem it is image, audio, video or document."""
    major, _, minor = media_type.partition("/")
    stem = stem or (major if major in ("image", "audio", "video") else "document")
    known = TYPES.get(media_type)
    return f"{stem}.{known.suffix if known else minor or 'image'}"
