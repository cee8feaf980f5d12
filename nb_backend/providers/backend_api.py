"""The dialect of g4f's backend API, which the embedded backend speaks too."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar
from urllib.parse import quote

from .. import settings
from ..errors import BackendError, ConnectionFailed, ProtocolError
from ..media.convert import attachments
from ..transport.refusal import with_hint
from ..typing import MediaListType, Messages
from .base import Provider
from .catalog import openai_url, url_hint
from .model import Model
from .model_list import read_models
from .tool_results import with_pictures_apart
from .unknown_model import with_close_models

_OTHER_DIALECT = (
    "if it is an OpenAI-compatible server, set its url that ends in /v1, or the full address of /chat/completions"
)


class BackendApi(Provider):
    """Streams answers from a server with g4f's backend API; without a url, from the embedded backend.

    >>> async for event in BackendApi.create_async_generator("gpt-4o", [{"role": "user", "content": "Hello"}]):
    ...     print(event, end="")
    """

    dialect: ClassVar[str] = "backend"
    has_server_state: ClassVar[bool] = True
    keeps_state: ClassVar[bool] = False
    lists_all_models: ClassVar[bool] = False  # that list has ids only; a list by service has abilities
    path: ClassVar[str] = "/backend-api/v2/conversation"

    @classmethod
    async def endpoint(cls, key: settings.Secret) -> tuple[str, dict[str, str]]:
        """Return the server's url and the headers; without a url, start the embedded backend if it does not run."""
        if url := settings.url(cls.url):
            return url, dict(cls.headers)
        from ..local.process import ensure_running

        address = await ensure_running()
        return address.url, {**cls.headers, "Authorization": f"Bearer {address.token}"}

    @classmethod
    async def explain_error(
        cls, url: str, failure: BackendError, body: dict[str, Any], key: settings.Secret
    ) -> BackendError:
        """Return the failure, or what it is due to.

        The embedded backend may have exited, the server may not have the model, or it may speak OpenAI's dialect below
        ``/v1``. The last is found out by asking it for its models there.
        """
        if settings.url(cls.url) is None:
            from ..local.process import exit_reason

            reason = await exit_reason(url) if isinstance(failure, ConnectionFailed) else ""
            return ConnectionFailed(reason, partial=failure.partial, retryable=failure.retryable) if reason else failure
        if unknown := await with_close_models(cls.at(url), failure, body, key):
            return unknown
        has_no_path = failure.status in (404, 405, 501) or cls.path in str(failure)
        if has_no_path and (other := await openai_url(url, key.value)):
            return with_hint(failure, url_hint(other))
        if has_no_path or (isinstance(failure, ProtocolError) and "--api" not in str(failure)):
            failure.args = (f"{failure}; {_OTHER_DIALECT}",)
        return failure

    @classmethod
    def body(cls, model: str, messages: Messages, media: MediaListType, key: settings.Secret) -> dict[str, Any]:
        """Return the body in g4f's form, with ``media`` as ``[[data URI, file name], ...]``."""
        pairs = [(data, name) for data, name in media or []]
        uris = [[one.uri, name and one.name] for one, (_, name) in zip(attachments(pairs), pairs, strict=True)]
        messages = with_pictures_apart(messages)
        return {"model": model, "messages": messages, "media": None if media is None else uris, "api_key": key}

    @classmethod
    def with_fields(cls, body: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
        """Return the body with the keywords of the call.

        ``effort`` becomes ``reasoning_effort``, which g4f passes on; the embedded backend does not know it.
        """
        fields = dict(fields)
        effort = fields.pop("effort", None)
        is_known = effort is not None and settings.url(cls.url) is not None
        return body | ({"reasoning_effort": effort} if is_known else {}) | fields

    @classmethod
    async def get_models(cls, provider: str | None = None, *, api_key: str | None = None) -> list[Model]:
        """Return the ids of all models, or one service's models with their abilities, for which g4f takes long."""
        path = "models" if provider is None else f"models/{quote(provider, safe='')}"
        given, api_key = settings.Secret(api_key), None
        read = partial(read_models, owner=provider or "")
        return await cls.get_document(f"/backend-api/v2/{path}", given, read)
