"""A question as it goes to a server, with what was said before."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import memory, settings
from .typing import MediaListType, Messages

if TYPE_CHECKING:
    from .providers.backend_api import BackendApi
    from .providers.openai_api import OpenAIApi
    from .providers.response import RawResponse


@dataclass(frozen=True)
class Request:
    """What is asked, whom, and how. ``before`` is what was said, with its marks; ``state`` what the server wants back.

    The key is in no repr of it, and in no ``body``.
    """

    provider: type[BackendApi] | type[OpenAIApi]
    model: str
    question: dict[str, Any]
    before: Messages = field(default_factory=list)
    system: str | None = None
    media: MediaListType = None
    params: dict[str, Any] = field(default_factory=dict)
    state: Any = None
    api_key: settings.Secret = field(default_factory=settings.Secret)

    @property
    def trimmed(self) -> int:
        """How many of the oldest turns are left out from the start."""
        return memory.left_out(self.before)

    def messages(self, without: int) -> Messages:
        """Give the messages as they are sent, without so many of the oldest turns."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, *memory.to_send(self.before, without), *memory.to_send([self.question])]

    def send(self, without: int) -> AsyncGenerator[RawResponse, None]:
        """Ask, and give the events of the answer."""
        messages, fields = self.messages(without), self._fields(without)
        return self.provider.create_async_generator(self.model, messages, self.media, self.api_key.value, **fields)

    def body(self) -> dict[str, Any]:
        """Give the body that would be posted, but for the key. ``ValueError`` for an image that cannot be sent."""
        body = self.provider.body(self.model, self.messages(self.trimmed), self.media, None)
        return {name: value for name, value in (body | self._fields(self.trimmed)).items() if name != "api_key"}

    @property
    def url(self) -> str | None:
        """Where it is posted; ``None`` is the embedded backend."""
        server = settings.url(self.provider.url)
        return server and server + self.provider.path

    def _fields(self, without: int) -> dict[str, Any]:
        # what the server remembers is too long, too, where more is left out than it has heard of
        goes_on = self.state is not None and without == self.trimmed
        return {**({"conversation": self.state} if goes_on else {}), **self.params}
