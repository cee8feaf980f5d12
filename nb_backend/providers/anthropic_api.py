"""The dialect of Anthropic's Messages API, which llama.cpp, LiteLLM, g4f and other servers speak as well."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit

from .. import settings
from ..errors import BackendError
from ..media.convert import attachments
from ..typing import MediaListType, Messages
from . import anthropic_params, anthropic_refusals
from .anthropic_body import split_system, turns, with_cache_marks
from .anthropic_reader import MessageReader
from .base import Provider
from .model import Model
from .model_list import read_models
from .openai_api import with_media
from .reader import ResponseReader
from .refused_parameter import with_refused_parameter
from .unknown_model import with_close_models

_HOST = "api.anthropic.com"
_TOKEN_START = "sk-ant-oat"  # noqa: S105  of a login, which is sent in another header than a key


class AnthropicApi(Provider):
    """Streams answers from ``{url}/messages``.

    The format is https://platform.claude.com/docs/en/build-with-claude/streaming. If the server pauses the answer
    (``pause_turn``), the request is sent again with what has come, and the events are those of one answer.
    """

    dialect: ClassVar[str] = "anthropic"
    path: ClassVar[str] = "/messages"

    @classmethod
    def accepts(cls, url: str) -> bool:
        """Whether the url is Anthropic's, or its path ends in ``/anthropic``, as those of compatible services do."""
        parts = urlsplit(url)
        return parts.hostname == _HOST or re.search(r"/anthropic(?:/v1)?/?$", parts.path, re.IGNORECASE) is not None

    @classmethod
    def base_url(cls, url: str) -> str:
        """Return the url without the path of the call, and with ``/v1`` unless it ends in a version.

        So do Anthropic's own libraries, for which the urls of gateways are written.
        """
        base = super().base_url(url)
        return base if re.search(r"/v\d+\w*$", base.partition("?")[0]) else cls.address(base, "/v1")

    @classmethod
    async def endpoint(cls, key: settings.Secret) -> tuple[str, dict[str, str]]:
        """Return the server's url and the headers, with the key; ``ValueError`` if no url is set."""
        url = settings.url(cls.url)
        if url is None:
            raise ValueError("AnthropicApi needs a url, like https://api.anthropic.com/v1: set NB_BACKEND_URL")
        headers = {"anthropic-version": "2023-06-01"}
        if (key.value or "").startswith(_TOKEN_START):
            headers |= {"anthropic-beta": "oauth-2025-04-20", "Authorization": f"Bearer {key.value}"}
        elif key.value:
            headers["x-api-key"] = key.value
        return cls.base_url(url), {**headers, **cls.headers}

    @classmethod
    def body(cls, model: str, messages: Messages, media: MediaListType, key: settings.Secret) -> dict[str, Any]:
        """Return the body of a streamed message, with ``media`` as blocks of the last user message."""
        messages = with_media(messages, attachments((data, name) for data, name in media or []))
        system, rest = split_system(messages)
        instructions, made = with_cache_marks(system, turns(rest))
        return {"model": model, **({"system": instructions} if system else {}), "messages": made, "stream": True}

    @classmethod
    def with_fields(cls, body: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
        """Return the body with the keywords of the call in the API's form, and with ``max_tokens``.

        A field that is ``None`` is left out. The fields of the dict ``extra_body`` go into the body as they are.
        """
        return anthropic_params.with_fields(body, fields)

    @classmethod
    def accepted(cls, body: dict[str, Any]) -> str:
        """Return the header ``Accept`` of a request: JSON if the answer is not streamed."""
        return "text/event-stream" if body.get("stream") else "application/json"

    @classmethod
    def fitted(cls, url: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the body without what the model is known to refuse."""
        return anthropic_refusals.fitted(url, body)

    @classmethod
    async def learn(
        cls, url: str, body: dict[str, Any], sent: dict[str, Any], failure: BackendError, key: settings.Secret
    ) -> bool:
        """Remember the limits of a model and the form in which it takes an effort or a schema; see ``Provider``."""
        return anthropic_refusals.learn(url, body, sent, failure)

    @classmethod
    async def explain_error(
        cls, url: str, failure: BackendError, body: dict[str, Any], key: settings.Secret
    ) -> BackendError:
        """Return the failure; it names close models if the server does not have this one, or what to leave out."""
        if unknown := await with_close_models(cls.at(url), failure, body, key):
            return unknown
        return with_refused_parameter(failure, body)

    @classmethod
    def make_reader(cls, url: str, secrets: Sequence[str]) -> MessageReader:
        """Return a reader of the events of a message."""
        return MessageReader(url, secrets)

    @classmethod
    def continuation(cls, sent: dict[str, Any], reader: ResponseReader) -> dict[str, Any] | None:
        """Return the request with what has come of the answer behind its messages, if the server has paused."""
        if not (isinstance(reader, MessageReader) and reader.paused):
            return None
        messages = sent["messages"][:-1] if reader.is_continued else sent["messages"]
        *blocks, last = reader.turn()
        if last["type"] == "text":
            last = {**last, "text": last["text"].rstrip()}  # the API refuses a space at the end of the messages
        container = {"container": reader.container} if reader.container else {}
        return {**sent, **container, "messages": [*messages, {"role": "assistant", "content": [*blocks, last]}]}

    @classmethod
    async def get_models(cls, provider: str | None = None, *, api_key: str | None = None) -> list[Model]:
        """Return all models that the server lists."""
        given, api_key = settings.Secret(api_key), None
        path = "/models" if "?" in (settings.url(cls.url) or "") else "/models?limit=1000"
        return await cls.get_document(path, given, _read_models)


def _read_models(document: Any) -> list[Model]:
    anthropic_params.note_limits(document)
    return read_models(document)
