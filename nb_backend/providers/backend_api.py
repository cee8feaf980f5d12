"""The backend API of g4f, and of the embedded backend."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, ClassVar
from urllib.parse import quote

from .. import debug, settings
from ..media import to_data_uri
from ..typing import AsyncResult, MediaListType, Messages
from .base import AsyncGeneratorProvider, Model, ProviderModelMixin, Reading
from .failures import not_a_backend


class BackendApi(AsyncGeneratorProvider, ProviderModelMixin):
    """Streams answers from a server that speaks g4f's backend API; without a ``url``, from the embedded backend.

    >>> async for event in BackendApi.create_async_generator("gpt-4o", [{"role": "user", "content": "Hello"}]):
    ...     print(event, end="")
    """

    headers: ClassVar[dict[str, str]] = {}

    @classmethod
    async def create_async_generator(
        cls, model: str, messages: Messages, media: MediaListType = None, api_key: str | None = None, **kwargs: Any
    ) -> AsyncResult:
        """Ask, and give the events of the answer as they come.

        ``media`` is a list of ``(data, file name)``, data being whatever ``to_data_uri`` takes; every other keyword
        goes into the body as it is. Raises one of the six ``BackendError`` kinds, ``.partial`` holding the text that
        had arrived; ``ValueError`` or ``TypeError`` for what cannot be sent, before anything is.
        """
        key = settings.api_key(api_key)
        debug.log(f"{cls.__name__}: model={model!r} api_key={'set' if key else 'none'}")
        body = {
            "model": model,
            "messages": messages,
            "media": None if media is None else [[to_data_uri(data, name), name] for data, name in media],
            "api_key": key,
            **kwargs,
        }
        url, headers = await cls._server()
        headers = {"Accept": "text/event-stream", **headers}
        async with aclosing(
            cls.stream(f"{url}/backend-api/v2/conversation", headers, body, Reading(secret=key))
        ) as events:
            async for event in events:
                yield event

    @classmethod
    async def get_models(cls, provider: str | None = None) -> list[Model]:
        """Ask the server for its models: of one provider, with what each can, or the ids of all (g4f is slow there)."""
        path = "models" if provider is None else f"models/{quote(provider, safe='')}"
        url, headers = await cls._server()
        key = settings.api_key()
        if key:
            headers = {"x-api-key": key, **headers}
        async with cls.session(headers, key) as session:
            found = await session.get_json(f"{url}/backend-api/v2/{path}", ssl=cls.ssl)
        try:
            if provider is None:
                return [Model.of(name, provider=owner) for owner, names in found.items() for name in names]
            return [
                Model.of(item["id"], label=item.get("label") or "", provider=provider, vision=item.get("vision"))
                for item in found
            ]
        except (AttributeError, KeyError, TypeError):
            raise not_a_backend(url, repr(found).encode(), key) from None

    @classmethod
    async def _server(cls) -> tuple[str, dict[str, str]]:
        """Give the server's url and the headers it wants; the embedded backend is started on first use."""
        if url := settings.url(cls.url):
            return url, dict(cls.headers)
        from ..local.process import ensure_running

        address = await ensure_running()
        return address.url, {**cls.headers, "Authorization": f"Bearer {address.token}"}
