"""The dialect of OpenAI's chat completions, which many servers speak."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from .. import settings
from ..media.attachment import Attachment
from ..media.convert import attachments
from ..media.message_parts import content_part, text_parts
from ..typing import MediaListType, Messages
from .base import Provider
from .chunk_reader import ChunkReader
from .model import Model


class OpenAIApi(Provider):
    """Streams answers from ``{url}/chat/completions``, where the url ends in ``/v1`` or the like.

    The format is https://platform.openai.com/docs/api-reference/chat-streaming, with ``reasoning_content`` in the form
    of DeepSeek, vLLM and llama.cpp. The events are those of ``BackendApi``.
    """

    dialect: ClassVar[str] = "openai"
    path: ClassVar[str] = "/chat/completions"

    @classmethod
    def accepts(cls, url: str) -> bool:
        """Whether the url ends in ``/v1`` or the like."""
        return re.search(r"/v\d+\w*$", url) is not None

    @classmethod
    async def endpoint(cls, key: settings.Secret) -> tuple[str, dict[str, str]]:
        """Return the server's url and the headers, with the key; ``ValueError`` if no url is set."""
        url = settings.url(cls.url)
        if url is None:
            raise ValueError("OpenAIApi needs a url, like http://localhost:11434/v1: set NB_BACKEND_URL")
        return url, {**cls.headers, **({"Authorization": f"Bearer {key.value}"} if key.value else {})}

    @classmethod
    def body(cls, model: str, messages: Messages, media: MediaListType, key: settings.Secret) -> dict[str, Any]:
        """Return the body of a streamed chat completion, with ``media`` as content parts of the last user message."""
        messages = with_media(messages, attachments((data, name) for data, name in media or []))
        return {"model": model, "messages": messages, "stream": True, "stream_options": {"include_usage": True}}

    @classmethod
    def make_reader(cls, url: str, secrets: Sequence[str]) -> ChunkReader:
        """Return a reader of completion chunks."""
        return ChunkReader(url, secrets)

    @classmethod
    async def get_models(cls, provider: str | None = None, *, api_key: str | None = None) -> list[Model]:
        """Return all models that the server lists; ``vision`` is None unless the server reports it."""
        given, api_key = settings.Secret(api_key), None
        return await cls.get_document("/models", settings.secret(given), _models)


def _models(document: Any) -> list[Model]:
    return [Model.of(item["id"], provider=item.get("owned_by"), vision=_vision(item)) for item in document["data"]]


def with_media(messages: Messages, media: list[Attachment]) -> Messages:
    """Return the messages with attachments as parts of the last user message; the argument is not changed."""
    if not media:
        return messages
    places = [index for index, message in enumerate(messages) if message.get("role") == "user"]
    if not places:
        raise ValueError("attachments need a message with the role 'user', and there is none")
    last = messages[places[-1]]
    parts = [*(content_part(one.uri, one.name) for one in media), *text_parts(last.get("content"))]
    return [*messages[: places[-1]], {**last, "content": parts}, *messages[places[-1] + 1 :]]


def _vision(item: dict[str, Any]) -> bool | None:
    """Return whether a model has vision, from the fields of g4f, Mistral or OpenRouter; ``None`` if none has them."""
    match item:
        case {"vision": False, "provider": False}:  # g4f's /v1 sends this for every model
            return None
        case {"vision": bool(vision)} | {"capabilities": {"vision": bool(vision)}}:
            return vision
        case {"architecture": {"input_modalities": [_, *_] as inputs}}:
            return "image" in inputs
    return None
