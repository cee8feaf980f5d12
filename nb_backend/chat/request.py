"""A question as it goes to a server, with what was said before."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import settings
from ..media.attachment import Attachment
from ..media.message_parts import text_of
from ..redaction import is_worth_hiding
from ..text import error_summary, shorten
from ..typing import MediaListType, Messages
from . import history as memory
from .cell_run import CellRun

if TYPE_CHECKING:
    from ..events import RawResponse
    from ..providers.base import Provider
    from .answer import Answer
    from .cache import AnswerCache
    from .images import ImageFetcher
    from .recording import CachedAnswer, EventRecorder


@dataclass
class Request:
    """What is asked, whom, and how. ``history`` is what was said, with its marks; ``state`` what the server wants back.

    ``cell_run`` is the run of the cell that asks, ``instead`` the question whose place this takes.
    ``lacks_vision`` says that the model is known to see no images: those of earlier questions stay behind. ``store``
    is where the answer is kept, and looked for unless ``refresh``. The key is in no repr of it, and in no ``body``.
    """

    provider: type[Provider]
    model: str
    question: dict[str, Any]
    history: Messages = field(default_factory=list)
    system: str | None = None
    media: list[Attachment] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    state: Any = None
    api_key: settings.Secret = field(default_factory=settings.Secret)
    cell_run: CellRun | None = None
    instead: dict[str, Any] | None = None
    lacks_vision: bool = False
    store: AnswerCache | None = None
    refresh: bool = False
    _identities: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def trimmed(self) -> int:
        """How many of the oldest turns are left out from the start."""
        return memory.trimmed_turns(self.history)

    def messages(self, trim: int) -> Messages:
        """Give the messages as they are sent, without so many of the oldest turns."""
        history = memory.wire_messages(self.history, trim, pictures=not self.lacks_vision)
        return [*self._instructions, *history, *memory.wire_messages([self.question])]

    @property
    def _instructions(self) -> Messages:
        return [{"role": "system", "content": self.system}] if self.system else []

    @property
    def digest(self) -> str:
        """What tells this question from others, in hex: the same for the same model, messages, files, parameters and
        kind of server.
        """
        from .recording import cache_key

        return cache_key(self._cache_key_fields(self._kind))

    def recorded(self) -> CachedAnswer | None:
        """Give the answer that the store has. ``ValueError`` if it has none, and no server is to be asked."""
        from ..providers.registry import all_dialects

        only = settings.cache_only()
        if self.store is None or (self.refresh and not only):
            return None
        # where no server is named, and none will be, the answer of any serves
        kinds = [self._kind, *(all_dialects() if only and self.url is None else ())]
        found = next(filter(None, (self.store.get(self._cache_key_fields(kind)) for kind in kinds)), None)
        if found is None and only:
            asked = shorten(text_of(self.question), 60)
            whom = f"{self.model} is" if self.model else "the server's own model is"
            raise ValueError(
                f"no answer to {asked!r} in {self.store.folder.name}, and NB_BACKEND_CACHE_ONLY forbids to ask for one"
                f" ({whom} asked): unset it and run this once"
            )
        return found

    def record(self, answer: Answer, recording: EventRecorder) -> None:
        """Keep the answer in the store; why that fails is said in it."""
        from .cache import now

        if self.store is None:
            return
        answer.recorded, answer.seconds = now(), round(answer.seconds, 3)
        try:
            self.store.put(self._cache_key_fields(self._kind), answer, recording.events(self._secret))
        except (OSError, ValueError) as error:
            answer.recorded, answer._cache_error = "", error_summary(error)

    @property
    def _kind(self) -> str:
        return self.provider.dialect if self.url else "embedded"

    @property
    def _secret(self) -> str | None:
        key = settings.api_key(self.api_key.value)
        return key if key and is_worth_hiding(key) else None

    def _cache_key_fields(self, kind: str) -> dict[str, Any]:
        from .recording import cache_key_fields

        if kind not in self._identities:
            asked = {**self.question, "media": self.media}
            messages = [
                *self._instructions,
                *memory.wire_messages(self.history, self.trimmed),
                *memory.wire_messages([asked]),
            ]
            self._identities[kind] = cache_key_fields(kind, self.model, messages, self.params, self._secret)
        return self._identities[kind]

    async def prepare(self) -> None:
        """Ask the server, if images would be sent, whether the model sees them.

        ``ValueError`` if it says no, and this question brings some: it names models that do.
        """
        images = [one.name for one in self.media if one.is_image]
        if not images and not any(one.is_image for message in self.history for one in message.get("media", ())):
            return
        from ..providers.catalog import models_with_vision, sees_images

        provider = self.params.get("provider")
        self.lacks_vision = await sees_images(self.provider, self.model, provider, api_key=self.api_key.value) is False
        if self.lacks_vision and images:
            who = (self.model or "the model") if self.url else "the embedded model"
            raise _sees_no_images(who, images, models_with_vision(self.provider, provider, api_key=self.api_key.value))

    def send(self, trim: int) -> AsyncGenerator[RawResponse, None]:
        """Ask, and give the events of the answer."""
        messages, fields = self.messages(trim), self._fields(trim)
        return self.provider.create_async_generator(self.model, messages, self._media(), self.api_key.value, **fields)

    def body(self) -> dict[str, Any]:
        """Give the body that would be posted, but for the key. ``ValueError`` for an image that cannot be sent."""
        body = self.provider.body(self.model, self.messages(self.trimmed), self._media(), settings.Secret())
        return {name: value for name, value in (body | self._fields(self.trimmed)).items() if name != "api_key"}

    @property
    def url(self) -> str | None:
        """Where it is posted; ``None`` is the embedded backend."""
        server = settings.url(self.provider.url)
        return server and server + self.provider.path

    def _media(self) -> MediaListType:
        return [(one, one.name) for one in self.media] or None

    def image_fetcher(self) -> ImageFetcher:
        """Give what fetches the images of the answer from the server."""
        from .images import ImageFetcher

        async def server() -> str:
            return (await self.provider.endpoint(settings.secret(self.api_key)))[0]

        async def get(url: str, most: int) -> bytes:
            return await self.provider.get_file(url, most, self.api_key.value)

        return ImageFetcher(server, get)

    def _fields(self, trim: int) -> dict[str, Any]:
        # what the server remembers is too long, too, where more is left out than it has heard of
        goes_on = self.state is not None and trim == self.trimmed
        return {**({"conversation": self.state} if goes_on else {}), **self.params}


def _sees_no_images(model: str, images: list[str], others: list[str]) -> ValueError:
    them = images[0] if len(images) == 1 else f"{images[0]} and {len(images) - 1} more"
    instead = f"ask one that does: {', '.join(others[:5])}" if others else "ask a server with a model that does"
    return ValueError(f"{model} sees no images, so {them} cannot be sent: {instead}")
