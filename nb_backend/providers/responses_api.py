"""The dialect of OpenAI's responses, which answers with reasoning, sources and tools of the service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit

from .. import settings
from ..errors import BackendError
from ..media.convert import attachments
from ..typing import MediaListType, Messages
from . import responses_refusals
from .openai_api import OpenAIApi, with_media
from .responses_body import ENCRYPTED, input_items, with_parameters
from .responses_reader import ResponsesReader


class ResponsesApi(OpenAIApi):
    """Streams answers from ``{url}/responses``. A query of the url, as Azure's, is kept behind it.

    The format is https://platform.openai.com/docs/api-reference/responses. The service stores nothing (``store`` is
    false), and the reasoning that it wants back is sent with each request. The events are those of ``BackendApi``.
    """

    dialect: ClassVar[str] = "openai-responses"
    keeps_state: ClassVar[bool] = True
    path: ClassVar[str] = "/responses"

    @classmethod
    def accepts(cls, url: str) -> bool:
        """Whether a server with this base url is asked in this dialect if the user names none: the service decides."""
        return False

    @classmethod
    def base_url(cls, url: str) -> str:
        """Return the url without the path of the call; a host alone gets the path of its API, ``/v1`` if not known."""
        base = super().base_url(url)
        is_whole = urlsplit(base).path or urlsplit(url).path.rstrip("/") == cls.path
        return base if is_whole else cls.address(base, "/v1")

    @classmethod
    def body(cls, model: str, messages: Messages, media: MediaListType, key: settings.Secret) -> dict[str, Any]:
        """Return the body of a streamed response, with ``media`` as parts of the last user message."""
        messages = with_media(messages, attachments((data, name) for data, name in media or []))
        items = input_items(messages)
        return {"model": model, "input": items, "stream": True, "store": False, "include": ENCRYPTED}

    @classmethod
    def with_fields(cls, body: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
        """Return the body with the keywords of the call under this dialect's names; see ``with_parameters``."""
        return with_parameters(body, fields)

    @classmethod
    def fitted(cls, url: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the body without what this server is known to refuse."""
        return responses_refusals.fitted(url, super().fitted(url, body))

    @classmethod
    async def learn(
        cls, url: str, body: dict[str, Any], sent: dict[str, Any], failure: BackendError, key: settings.Secret
    ) -> bool:
        """Remember that a model does not reason, or sums up nothing, or that the only model has to be named."""
        if responses_refusals.learn(url, sent, failure):
            return True
        return await super().learn(url, body, sent, failure, key)

    @classmethod
    def make_reader(cls, url: str, secrets: Sequence[str]) -> ResponsesReader:
        """Return a reader of the events of a response."""
        return ResponsesReader(url, secrets)
