"""The dialect of OpenAI's chat completions, which many servers speak."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar
from urllib.parse import urlsplit

from .. import settings
from ..errors import BackendError
from ..media.attachment import Attachment
from ..media.convert import attachments
from ..media.message_parts import content_part, text_parts
from ..services import Service, service_of_url
from ..transport.error_body import one_line
from ..typing import MediaListType, Messages
from . import refused_fields
from .base import Provider
from .chat_fields import chat_fields
from .chat_state import with_state
from .chunk_reader import ChunkReader
from .common_fields import split_extra_body
from .key_errors import asked_service
from .known_hosts import known_path, takes_api_key_header
from .model import Model
from .model_list import read_models
from .other_dialect import with_missing_path
from .reader import ResponseReader
from .tool_results import with_pictures_apart
from .unknown_model import with_close_models


class OpenAIApi(Provider):
    """Streams answers from ``{url}/chat/completions``. A query of the url, as Azure's, is kept behind it.

    The format is https://platform.openai.com/docs/api-reference/chat-streaming, with ``reasoning_content`` in the form
    of DeepSeek, vLLM and llama.cpp. The events are those of ``BackendApi``.
    """

    dialect: ClassVar[str] = "openai"
    path: ClassVar[str] = "/chat/completions"

    @classmethod
    def accepts(cls, url: str) -> bool:
        """Whether the url ends in ``/v1`` or the like, contains ``/openai``, or has the host of a known service."""
        parts = urlsplit(url)
        if re.search(r"/v\d+(?:\.\d+)?\w*/?$|/openai", parts.path, re.IGNORECASE):
            return True
        return known_path(parts.hostname or "") is not None

    @classmethod
    def base_url(cls, url: str) -> str:
        """Return the url without the path of the call; the url of a known service gets the path of its API."""
        parts = urlsplit(base := super().base_url(url))
        return base if parts.path else f"{base}{known_path(parts.hostname or '') or ''}"

    @classmethod
    async def endpoint(cls, key: settings.Secret) -> tuple[str, dict[str, str]]:
        """Return the server's url and the headers, with the key; ``ValueError`` if no url is set."""
        url = settings.url(cls.url)
        if url is None:
            raise ValueError(f"{cls.__name__} needs a url, like http://localhost:11434/v1: set NB_BACKEND_URL")
        if not key.value:
            return url, dict(cls.headers)
        parts, is_token = urlsplit(url), key.value.startswith("eyJ")  # of Entra ID, for Azure
        named = cls.service is not None and cls.service.key_header == "api-key"
        if (named or takes_api_key_header(parts.hostname or "", parts.query)) and not is_token:
            return url, {"api-key": key.value, **cls.headers}
        return url, {**cls.headers, "Authorization": f"Bearer {key.value}"}

    @classmethod
    def body(cls, model: str, messages: Messages, media: MediaListType, key: settings.Secret) -> dict[str, Any]:
        """Return the body of a streamed chat completion, with ``media`` as content parts of the last user message."""
        messages = with_media([*map(with_state, messages)], attachments((data, name) for data, name in media or []))
        messages = with_pictures_apart(messages)
        service = cls._service()
        usage = {} if service and not service.takes_stream_options else {"stream_options": refused_fields.USAGE}
        return {"model": model, "messages": messages, "stream": True, **usage}

    @classmethod
    def _service(cls) -> Service | None:
        """Return the row of the service that is asked, if the table has it."""
        return cls.service or service_of_url(settings.url(cls.url))

    @classmethod
    def with_fields(cls, body: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
        """Return the body with the keywords of the call, as the service takes them.

        A field that is ``None`` is left out: ``stream_options=None``. Without a stream there are no ``stream_options``.
        The fields of the dict ``extra_body`` go into the body as they are, under any name, as in the openai library.
        """
        fields, extra = split_extra_body(fields)
        service, model = cls._service(), str(body.get("model") or "")
        limit = "max_completion_tokens" if service and service.takes_max_completion_tokens else "max_tokens"
        fields = chat_fields(fields, model, effort_form=service.effort if service else "reasoning_effort", limit=limit)
        body = {name: value for name, value in (body | fields).items() if value is not None} | extra
        if not body.get("stream"):
            body.pop("stream_options", None)
        return body

    @classmethod
    def accepted(cls, body: dict[str, Any]) -> str:
        """Return the header ``Accept`` of a request: JSON if the answer is not streamed."""
        return "text/event-stream" if body.get("stream") else "application/json"

    @classmethod
    def fitted(cls, url: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the body without what this server is known to refuse."""
        return refused_fields.fitted(url, body)

    @classmethod
    async def learn(
        cls, url: str, body: dict[str, Any], sent: dict[str, Any], failure: BackendError, key: settings.Secret
    ) -> bool:
        """Remember that a server refuses ``stream_options`` or wants its only model to be named; see ``Provider``."""
        return await refused_fields.learn(url, body, sent, failure, partial(cls._names, url, key, fresh=True))

    @classmethod
    async def explain_error(
        cls, url: str, failure: BackendError, body: dict[str, Any], key: settings.Secret
    ) -> BackendError:
        """Return the failure; it asks for the name of a model, or for ``stream=False``, if the server wants that.

        If the server does not have the model, the failure names those that are close.
        """
        if unknown := await with_close_models(cls.at(url), failure, body, key):
            return unknown
        listed = await cls._names(url, key) if refused_fields.wants_model(body, failure) else []
        names = [one_line(name, [key.value or ""], 60) for name in listed]
        return with_missing_path(refused_fields.explained(body, failure, names), cls.path)

    @classmethod
    async def _names(cls, url: str, key: settings.Secret, *, fresh: bool = False) -> list[str]:
        from .catalog import names_listed

        return await names_listed(cls.at(url), api_key=key.value, fresh=fresh)

    @classmethod
    def make_reader(cls, url: str, secrets: Sequence[str]) -> ResponseReader:
        """Return a reader of completion chunks."""
        return ChunkReader(url, secrets)

    @classmethod
    async def get_models(cls, provider: str | None = None, *, api_key: str | None = None) -> list[Model]:
        """Return all models that the server lists; ``vision`` is None unless the server reports it."""
        given, api_key = settings.Secret(api_key), None
        service = asked_service(cls)  # another server's key must not go to the service's list
        path = (service and service.models_url) or "/models"
        return await cls.get_document(path, given, read_models)


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
