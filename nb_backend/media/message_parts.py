"""The content parts of a message: how attachments are sent inside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_INPUT_AUDIO = {"audio/wav": "wav", "audio/mpeg": "mp3"}


def text_of(message: Mapping[str, Any]) -> str:
    """Return the text of a message, with "(an attachment)" for each content part that has no text."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n\n".join(text if isinstance(text := part.get("text"), str) else "(an attachment)" for part in content)


def text_parts(content: Any) -> list[Any]:
    """Return the content of a message as a list of parts; servers refuse a part with an empty text, so it has none."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content.strip() else []
    return [*(content or ())]


def content_part(uri: str, name: str | None = None) -> dict[str, Any]:
    """Return an attachment as a content part: ``image_url``, ``input_audio`` (wav and mp3) or ``file``.

    Source: https://platform.openai.com/docs/api-reference/chat/create, "content parts".
    """
    start, _, data = uri.partition(";base64,")
    media_type = start.removeprefix("data:") if start.startswith("data:") else ""
    if media_type in _INPUT_AUDIO:
        return {"type": "input_audio", "input_audio": {"data": data, "format": _INPUT_AUDIO[media_type]}}
    if media_type and not media_type.startswith("image/"):
        return {"type": "file", "file": {"filename": name or "file", "file_data": uri}}
    return {"type": "image_url", "image_url": {"url": uri}}
