"""The result of a call, as a value that ``tools.results`` makes text and images of."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Sequence
from typing import Any

from mcp import types

from ...media.attachment import Attachment
from ...media.convert import attach
from ...redaction import mask
from ...text import shorten
from ..tool import ToolFailed


def value_of(result: types.CallToolResult, secrets: Sequence[str] = ()) -> Any:
    """Return the content of a result: a text, or a list of texts and attachments. ``ToolFailed`` if it is an error.

    What the server was given and nobody is to see, it may repeat: ``secrets`` are masked.
    """
    parts = [*_parts(result.content)]
    texts = [mask(part, secrets) for part in parts if isinstance(part, str)]
    if result.is_error:
        raise ToolFailed("\n".join(texts).strip() or "it failed, and does not say why")
    if result.structured_content is not None and not any(texts):
        texts = [mask(json.dumps(result.structured_content, ensure_ascii=False), secrets)]
    pictures = [part for part in parts if isinstance(part, Attachment)]
    text = "\n".join(texts)
    return [*([text] if text else []), *pictures] if pictures else text


def _parts(content: list[Any]) -> Iterator[str | Attachment]:
    for block in content:
        match block:
            case types.TextContent():
                yield block.text
            case types.ImageContent():
                yield _picture(block.data)
            case types.AudioContent():
                yield f"[audio, {shorten(block.mime_type, 40)}: left out]"
            case types.ResourceLink():
                yield f"[{shorten(block.name)}: {shorten(str(block.uri), 500)}]"
            case types.EmbeddedResource(resource=types.TextResourceContents() as resource):
                yield resource.text
            case types.EmbeddedResource(resource=types.BlobResourceContents() as resource):
                yield _file(resource)


def _file(resource: types.BlobResourceContents) -> str | Attachment:
    if (resource.mime_type or "").startswith("image/"):
        return _picture(resource.blob)
    return f"[{shorten(str(resource.uri), 500)}, {shorten(resource.mime_type or 'binary', 40)}: left out]"


def _picture(data: str) -> str | Attachment:
    try:
        found = attach(base64.b64decode(data, validate=True))
    except (ValueError, TypeError, binascii.Error) as error:
        return f"[a picture that cannot be read: {shorten(str(error))}]"
    return found if found.is_image else "[a picture that is not one: left out]"
