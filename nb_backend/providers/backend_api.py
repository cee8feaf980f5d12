"""The dialect of g4f's backend API, which the embedded backend speaks too."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar
from urllib.parse import quote

from .. import settings
from ..errors import BackendError, ConnectionFailed, ProtocolError
from ..media.convert import attachments
from ..typing import MediaListType, Messages
from .base import Provider
from .model import Model
from .model_list import read_models

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
        """Return the failure; if the embedded backend has exited, or this is no server of g4f, it says so."""
        if settings.url(cls.url) is not None and _is_another_server(failure):
            failure.args = (f"{failure}; {_OTHER_DIALECT}",)
        if isinstance(failure, ConnectionFailed) and settings.url(cls.url) is None:
            from ..local.process import exit_reason

            if reason := await exit_reason(url):
                return ConnectionFailed(reason, partial=failure.partial, retryable=failure.retryable)
        return failure

    @classmethod
    def body(cls, model: str, messages: Messages, media: MediaListType, key: settings.Secret) -> dict[str, Any]:
        """Return the body in g4f's form, with ``media`` as ``[[data URI, file name], ...]``."""
        pairs = [(data, name) for data, name in media or []]
        uris = [[one.uri, name and one.name] for one, (_, name) in zip(attachments(pairs), pairs, strict=True)]
        return {"model": model, "messages": messages, "media": None if media is None else uris, "api_key": key}

    @classmethod
    async def get_models(cls, provider: str | None = None, *, api_key: str | None = None) -> list[Model]:
        """Return the ids of all models, or one service's models with their abilities, for which g4f takes long."""
        path = "models" if provider is None else f"models/{quote(provider, safe='')}"
        given, api_key = settings.Secret(api_key), None
        read = partial(read_models, owner=provider or "")
        return await cls.get_document(f"/backend-api/v2/{path}", settings.secret(given), read)


def _is_another_server(failure: BackendError) -> bool:
    """Whether the server does not have the address of g4f's call, or answers with a page of another kind."""
    return failure.status in (404, 405, 501) or isinstance(failure, ProtocolError) or BackendApi.path in str(failure)
