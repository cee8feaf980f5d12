"""The content parts of a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
