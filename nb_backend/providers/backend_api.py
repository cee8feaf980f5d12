"""The backend API of g4f, and of the embedded backend."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import quote

from .. import settings
from ..errors import BackendError, ConnectionFailed
from ..media.convert import attachments
from ..typing import MediaListType, Messages
from .base import Provider
from .model import ABILITIES, Model


class BackendApi(Provider):
    """Streams answers from a server that speaks g4f's backend API; without a ``url``, from the embedded backend.

    >>> async for event in BackendApi.create_async_generator("gpt-4o", [{"role": "user", "content": "Hello"}]):
    ...     print(event, end="")
    """

    dialect: ClassVar[str] = "backend"
    has_server_state: ClassVar[bool] = True
    lists_all_models: ClassVar[bool] = False  # the list of all has ids only: what a model can is asked for by service
    path: ClassVar[str] = "/backend-api/v2/conversation"

    @classmethod
    async def endpoint(cls, key: settings.Secret) -> tuple[str, dict[str, str]]:
        """Give the server's url and the headers it wants; the embedded backend is started on first use."""
        if url := settings.url(cls.url):
            return url, dict(cls.headers)
        from ..local.process import ensure_running

        address = await ensure_running()
        return address.url, {**cls.headers, "Authorization": f"Bearer {address.token}"}

    @classmethod
    async def explain_error(cls, url: str, failure: BackendError) -> BackendError:
        """Say of a broken connection to the embedded backend whether that has ended."""
        if isinstance(failure, ConnectionFailed) and settings.url(cls.url) is None:
            from ..local.process import exit_reason

            if words := await exit_reason(url):
                return ConnectionFailed(words, partial=failure.partial, retryable=failure.retryable)
        return failure

    @classmethod
    def body(cls, model: str, messages: Messages, media: MediaListType, key: settings.Secret) -> dict[str, Any]:
        """Give the body that g4f takes; ``media`` as ``[[data URI, file name], ...]``."""
        given = [(data, name) for data, name in media or []]
        uris = [[one.uri, name and one.name] for one, (_, name) in zip(attachments(given), given, strict=True)]
        return {"model": model, "messages": messages, "media": None if media is None else uris, "api_key": key}

    @classmethod
    async def get_models(cls, provider: str | None = None, *, api_key: str | None = None) -> list[Model]:
        """Ask the server for its models: of one provider, with what each can, or the ids of all (g4f is slow there)."""
        path = "models" if provider is None else f"models/{quote(provider, safe='')}"
        given, api_key = settings.Secret(api_key), None

        def read(found: Any) -> list[Model]:
            if provider is None:
                return [Model.of(name, provider=owner) for owner, names in found.items() for name in names]
            return [_model(item, provider) for item in found]

        return await cls.get_document(f"/backend-api/v2/{path}", settings.secret(given), read)


def _model(item: dict[str, Any], provider: str) -> Model:
    can = {ability: item.get(ability) for ability in ABILITIES}
    return Model.of(item["id"], label=item.get("label"), provider=provider, **can)
