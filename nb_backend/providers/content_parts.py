"""Content parts of an answer: text, reasoning, images and sources, in the shapes in which services send them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..events import content_text, reasoning_of
from ..media.sniff import data_uri, media_type
from ..media.sound import wav

_THINKING_TYPES = ("thinking", "reasoning", "thought", "redacted_thinking")  # of parts
_IMAGE_KEYS = frozenset({"image_url", "image", "inline_data", "inlineData", "b64_json"})  # a part with one is an image
_ADDRESS_KEYS = (*_IMAGE_KEYS, "source", "url", "data")
_MAX_PARTS = 1000  # more in one delta are ignored


@dataclass
class Content:
    """What a ``content`` value holds. ``images`` are addresses or data URIs; ``annotations`` may hold sources."""

    text: str = ""
    reasoning: str = ""
    images: list[str] = field(default_factory=list)
    annotations: list[Any] = field(default_factory=list)

    @classmethod
    def of(cls, value: Any) -> Content:
        """Read a content value: a string, a part, or a list of both.

        Parts are those of OpenAI (``text``, ``refusal``, ``image_url``), Mistral (``thinking``, ``tool_reference``),
        Anthropic (``thinking``, ``image``) and Gemini (``inline_data``).
        """
        content = cls()
        for part in _parts(value):
            content._add(part)
        return content

    def _add(self, part: Any) -> None:
        if not isinstance(part, dict):
            self.text += content_text(part)
            return
        kind = part.get("type")
        if kind in _THINKING_TYPES or "thinking" in part or part.get("thought") is True:
            self.reasoning += reasoning_of(part)
        elif isinstance(text := part.get("text"), dict):
            self.text += content_text(text.get("value"))
        elif text is not None:
            self.text += content_text(text)
        elif refusal := part.get("refusal"):
            self.text += content_text(refusal)
        elif kind == "tool_reference":
            self.annotations.append(part)
        elif ("image" in str(kind) or part.keys() & _IMAGE_KEYS) and (image := image_address(part)):
            self.images.append(image)
        self.annotations += [part[key] for key in ("annotations", "citations") if part.get(key)]


def dicts(items: Any) -> list[dict[str, Any]]:
    """Return the objects of a list; an empty list for anything else."""
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _parts(value: Any) -> Iterator[Any]:
    for part in (value if isinstance(value, list) else [value])[:_MAX_PARTS]:
        if isinstance(part, list):
            yield from _parts(part)
        else:
            yield part


def images_in(value: Any) -> list[str]:
    """Return the images in ``images`` of a delta or a message: parts, addresses, data URIs or base64."""
    return [image for part in _parts(value) if (image := image_address(part))]


def image_address(part: Any) -> str:
    """Return the address or the data URI of an image part, or ``""`` if it has none."""
    if isinstance(part, str):
        is_address = part.startswith(("data:image/", "http://", "https://"))
        return part if is_address else _base64_image(part) or (part if part.startswith("/") else "")
    if not isinstance(part, dict):
        return ""
    return next((found for key in _ADDRESS_KEYS if (found := image_address(part.get(key)))), "")


def _base64_image(text: str) -> str:
    try:
        start = base64.b64decode(text[:64], validate=True)
    except (binascii.Error, ValueError):
        return ""
    kind = media_type(start)
    return f"data:{kind};base64,{text}" if kind and kind.startswith("image/") else ""


def decoded_sound(data: Any) -> list[bytes]:
    """Return a piece of sound in base64 as bytes, ``[]`` if it is anything else."""
    try:
        return [base64.b64decode(data)] if isinstance(data, str) and data else []
    except (binascii.Error, ValueError):
        return []


def sound_uri(sound: bytes, *, is_file: bool) -> str:
    """Return a file of sound, or the samples that are streamed (``pcm16``), as a data URI."""
    kind = (media_type(sound) or "") if is_file or sound.startswith(b"RIFF") else ""
    return data_uri(sound, kind) if kind.startswith("audio/") else data_uri(wav(sound), "audio/wav")
