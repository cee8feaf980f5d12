"""A question as it goes to a server, with what was said before."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import memory, settings
from .media import Attachment
from .typing import MediaListType, Messages

if TYPE_CHECKING:
    from .answer_images import OwnImages
    from .providers.backend_api import BackendApi
    from .providers.openai_api import OpenAIApi
    from .providers.response import RawResponse


@dataclass
class Request:
    """What is asked, whom, and how. ``before`` is what was said, with its marks; ``state`` what the server wants back.

    ``run`` is the run of the cell that asks, ``instead`` the question whose place this takes.
    ``blind`` says that the model is known to see no images: those of earlier questions stay behind. The key is in no
    repr of it, and in no ``body``.
    """

    provider: type[BackendApi] | type[OpenAIApi]
    model: str
    question: dict[str, Any]
    before: Messages = field(default_factory=list)
    system: str | None = None
    media: list[Attachment] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    state: Any = None
    api_key: settings.Secret = field(default_factory=settings.Secret)
    run: memory.CellRun | None = None
    instead: dict[str, Any] | None = None
    blind: bool = False

    @property
    def trimmed(self) -> int:
        """How many of the oldest turns are left out from the start."""
        return memory.left_out(self.before)

    def messages(self, without: int) -> Messages:
        """Give the messages as they are sent, without so many of the oldest turns."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        before = memory.to_send(self.before, without, pictures=not self.blind)
        return [*system, *before, *memory.to_send([self.question])]

    async def prepare(self) -> None:
        """Ask the server, if images would be sent, whether the model sees them.

        ``ValueError`` if it says no, and this question brings some: it names models that do.
        """
        images = [one.name for one in self.media if one.is_image]
        if not images and not any(one.is_image for message in self.before for one in message.get("media", ())):
            return
        from .models import models_with_vision, sees_images

        provider = self.params.get("provider")
        self.blind = await sees_images(self.provider, self.model, provider, api_key=self.api_key.value) is False
        if self.blind and images:
            who = (self.model or "the model") if self.url else "the embedded model"
            raise _sees_no_images(who, images, models_with_vision(self.provider, provider, api_key=self.api_key.value))

    def send(self, without: int) -> AsyncGenerator[RawResponse, None]:
        """Ask, and give the events of the answer."""
        messages, fields = self.messages(without), self._fields(without)
        return self.provider.create_async_generator(self.model, messages, self._media(), self.api_key.value, **fields)

    def body(self) -> dict[str, Any]:
        """Give the body that would be posted, but for the key. ``ValueError`` for an image that cannot be sent."""
        body = self.provider.body(self.model, self.messages(self.trimmed), self._media(), None)
        return {name: value for name, value in (body | self._fields(self.trimmed)).items() if name != "api_key"}

    @property
    def url(self) -> str | None:
        """Where it is posted; ``None`` is the embedded backend."""
        server = settings.url(self.provider.url)
        return server and server + self.provider.path

    def _media(self) -> MediaListType:
        return [(one, one.name) for one in self.media] or None

    def own_images(self) -> OwnImages:
        """Give what fetches the images of the answer from the server."""
        from .answer_images import OwnImages

        async def server() -> str:
            return (await self.provider.server(settings.api_key(self.api_key.value)))[0]

        async def get(url: str, most: int) -> bytes:
            return await self.provider.get_file(url, most, self.api_key.value)

        return OwnImages(server, get)

    def _fields(self, without: int) -> dict[str, Any]:
        # what the server remembers is too long, too, where more is left out than it has heard of
        goes_on = self.state is not None and without == self.trimmed
        return {**({"conversation": self.state} if goes_on else {}), **self.params}


def _sees_no_images(model: str, images: list[str], others: list[str]) -> ValueError:
    them = images[0] if len(images) == 1 else f"{images[0]} and {len(images) - 1} more"
    instead = f"ask one that does: {', '.join(others[:5])}" if others else "ask a server with a model that does"
    return ValueError(f"{model} sees no images, so {them} cannot be sent: {instead}")
