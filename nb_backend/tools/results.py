"""What a tool returned, as text and images for the model.

A text is sent as it is. Lists, dicts, dataclasses and pydantic models are sent as JSON, iterators as a list of their
first items. A list with pictures in it is sent as its parts. Any other value is written as in a prompt (``values``).
Pictures go along as attachments, and the text says ``[image: image.png]`` in their place.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Set
from contextlib import suppress
from enum import Enum
from itertools import islice
from typing import Any

from .. import settings
from ..media.attachment import Attachment, unique_name
from ..media.from_object import figure_of, is_of
from ..redaction import mask
from ..text import error_summary, unicode_text
from .table_text import ShortenedText
from .values import show

MAX_RESULT = 20_000  # bytes of text
MAX_IMAGES = 8  # of one result
MAX_ITEMS = 1000  # of an iterator
_MAX_PARTS = 100  # of a list of texts and pictures
_MAX_WRITTEN = 500_000  # characters of JSON; a result that is longer is not written to its end
_MAX_READ = 1_000_000  # characters in which keys are masked; they become shorter by it, and 20 kB have to be left


def result_of(value: Any, figures: Set[int] = frozenset()) -> tuple[str, list[Attachment]]:
    """Return the value of a tool as a text of at most ``MAX_RESULT`` bytes, and its images.

    The text says how much was cut. API keys are masked. A figure of pyplot that the tool returned is closed if it is
    not one of ``figures``, those that were open before: else it would appear below the cell, too.
    """
    writer = _Writer()
    text = writer.text(value)
    writer.close_figures(figures)
    return _cut(text), writer.images


def open_figures() -> Set[int]:
    """Return the numbers of the figures that are open in pyplot."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    return frozenset(pyplot.get_fignums()) if pyplot is not None else frozenset()


class _Writer:
    """Writes a value as text, and collects its images."""

    def __init__(self) -> None:
        self.images: list[Attachment] = []
        self._pictures = 0  # that were found, with those that are not sent
        self._figures: dict[int, tuple[Any, str]] = {}  # by id: each figure, and the text in its place

    def text(self, value: Any) -> str:
        """Return a value as text, whatever it is."""
        if isinstance(value, str):
            return str.__str__(value)
        note = ""
        if isinstance(value, Iterator):
            items = [*islice(value, MAX_ITEMS + 1)]
            note = f"\n[only the first {MAX_ITEMS:,} items]" if len(items) > MAX_ITEMS else ""
            value = items[:MAX_ITEMS]
        if isinstance(value, list | tuple) and len(value) <= _MAX_PARTS:
            parts = [one if isinstance(one, str) else self._picture(one) for one in value]
            if self._pictures:
                given = zip(parts, value, strict=True)
                return "\n".join(self.text(one) if part is None else part for part, one in given) + note
        written = self._written(value)
        return f"{written}{note}" if note else written

    def close_figures(self, before: Set[int]) -> None:
        """Close the figures that the result has and that were not open before."""
        if (pyplot := sys.modules.get("matplotlib.pyplot")) is None:
            return
        for figure, _ in self._figures.values():
            number = getattr(figure, "number", None)
            if number in pyplot.get_fignums() and number not in before and pyplot.figure(number) is figure:
                pyplot.close(figure)

    def _written(self, value: Any) -> str:
        if isinstance(value, list | tuple | Mapping) or _fields(value) is not None:
            with suppress(TypeError, ValueError, RecursionError):  # a key that JSON does not have, or a circle
                return self._json(value)
        return self._shown(value)

    def _json(self, value: Any) -> str:
        encoder = json.JSONEncoder(ensure_ascii=False, default=self._plain)
        written: list[str] = []
        length = 0
        for piece in encoder.iterencode(value if isinstance(value, list | tuple | dict) else self._plain(value)):
            written.append(piece)
            length += len(piece)
            if length > _MAX_WRITTEN:
                return ShortenedText("".join(written), "it has more than half a million characters")
        return "".join(written)

    def _plain(self, value: Any) -> Any:
        """Return a value that JSON does not have as one that it has."""
        if (fields := _fields(value)) is not None:
            return fields
        if isinstance(value, Mapping):
            return dict(value)
        if isinstance(value, Enum):
            return value.value
        if isinstance(value, set | frozenset):
            return sorted(value, key=repr)
        if is_of(value, "numpy", "generic"):
            return value.item()
        if isinstance(value, Iterator):
            return [*islice(value, MAX_ITEMS)]
        return self._shown(value)

    def _picture(self, value: Any) -> str | None:
        """Attach the picture that a value is, and return the text in its place; ``None`` if it is not one."""
        if type(value).__module__ == "builtins" and not isinstance(value, bytes | bytearray | memoryview):
            return None
        before = self._pictures
        text = self._shown(value)
        return text if self._pictures > before else None

    def _shown(self, value: Any) -> str:
        """Return a value as a prompt shows it, with a text in place of a picture."""
        figure = _figure(value)
        if figure is not None and id(figure) in self._figures:
            self._pictures += 1
            return self._figures[id(figure)][1]
        found = _show(value)
        if isinstance(found, str):
            return found
        text = self._attached(found)
        if figure is not None:
            self._figures[id(figure)] = figure, text
        return text

    def _attached(self, one: Attachment) -> str:
        self._pictures += 1
        if not one.is_image:
            return f"[{one}: not sent]"
        if len(self.images) == MAX_IMAGES:
            return f"[image: {one.name}, not sent: {MAX_IMAGES} are sent at most]"
        one = dataclasses.replace(one, name=unique_name(one.name, [other.name for other in self.images]))
        self.images.append(one)
        return f"[image: {one.name}]"


def _fields(value: Any) -> dict[str, Any] | None:
    """Return the fields of a dataclass or of a pydantic model; ``None`` for any other value."""
    if isinstance(value, type | Attachment) or is_of(value, "nb_backend", "Answer"):
        return None
    if dataclasses.is_dataclass(value):
        return {one.name: getattr(value, one.name, None) for one in dataclasses.fields(value) if one.repr}
    return dict(value) if is_of(value, "pydantic", "BaseModel") else None


def _figure(value: Any) -> Any:
    try:
        return figure_of(value)
    except Exception:  # it has parts of several figures
        return None


def _show(value: Any) -> str | Attachment:
    try:
        return show(value)
    except Exception as error:  # its own code fails, or a package that draws it is missing
        return f"<{type(value).__name__}: it cannot be shown: {error_summary(error)}>"


def _cut(text: str) -> str:
    """Return a text of at most ``MAX_RESULT`` bytes without keys, and without what no service takes."""
    remark = getattr(text, "remark", "")
    length, text = len(text), text[:_MAX_READ]
    unread = length - len(text)
    text = mask(unicode_text(text).replace("\0", "\ufffd"), settings.known_keys())
    data = text.encode()
    if not unread and len(data) <= MAX_RESULT:
        return text
    kept = data[: MAX_RESULT - 200].decode(errors="ignore")
    rest = f"{len(text) - len(kept) + unread:,} more characters left out"
    return f"{kept}\n… [cut: {remark[:100] or rest}]"
