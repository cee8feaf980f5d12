"""One request: messages, parameters, and the server it goes to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Self

from .. import settings
from ..media.attachment import Attachment
from ..media.message_parts import text_of
from ..media.resize import is_reduced
from ..providers.tool_calls import names_of_tools, with_free_choice
from ..redaction import is_worth_hiding
from ..text import error_summary, shorten
from ..tools.consent import Consents
from ..typing import MediaListType, Messages
from .cell_run import CellRun
from .messages import count_turns, trimmed_turns
from .rounds import MAX_STEPS, Asked
from .tool_rounds import ToolRound, round_messages, rounds_of
from .wire import wire_messages

if TYPE_CHECKING:
    from ..events import RawResponse
    from ..providers.base import Provider
    from ..tools.tool import Tool
    from .answer import Answer
    from .cache import AnswerCache
    from .images import ImageFetcher
    from .recording import CachedAnswer, EventRecorder
    from .schema import Schema

_FORMAT: Final = "response_format"  # the field of a request that has a schema


@dataclass
class Request:
    """One request. No repr and no ``body`` of it contains the key.

    ``question`` is the new message, ``history`` those before it, with their local keys. ``state`` is what the
    server wants back. ``cell_run`` is the cell run that asks, ``instead`` the message that ``question`` replaces.
    ``lacks_vision`` is true if the model is known to have no vision: images of earlier messages are then not sent.
    ``store`` is the cache for the answer; with ``refresh`` the answer is put there, but not taken from there.
    ``tools`` are those that can be carried out, by the names that are sent, at most ``max_steps`` rounds of them;
    ``consents`` decides about their calls. With ``act``, the calls of a stored answer are carried out again. ``rounds``
    are those of the answer so far. ``remarks`` say what was left out of the question. ``schema`` is what the answer
    must fit: see ``expect``.
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
    remarks: list[str] = field(default_factory=list)
    schema: Schema | None = None
    tools: Mapping[str, Tool] = field(default_factory=dict)
    max_steps: int = MAX_STEPS
    consents: Consents = field(default_factory=Consents)
    act: bool = False
    rounds: list[ToolRound] = field(default_factory=list)
    _fields_by_dialect: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False, compare=False)
    _is_vision_known: bool = field(default=False, repr=False, compare=False)

    @property
    def trimmed(self) -> int:
        """How many of the oldest turns the first request leaves out."""
        return trimmed_turns(self.history)

    @property
    def all_remarks(self) -> list[str]:
        """What was left out of the question, and which of its images are sent smaller."""
        return [*self.remarks, *(f"{one.name}: {one.remark}" for one in self.media if is_reduced(one.remark))]

    def messages(self, trim: int) -> Messages:
        """Return the messages as they are sent, without the ``trim`` oldest turns."""
        owner = self.provider.state_owner() if self.provider.keeps_state else None
        messages = [*self._instructions, *self.history, self.question]
        if self.rounds:
            messages[-1] = {**self.question, "media": self.media}
            for one in self.rounds:
                state = {"owner": owner, "items": one.state} if one.state else None
                messages += round_messages(one, one.text, state)
        return wire_messages(messages, trim, pictures=not self.lacks_vision, state_owner=owner)

    def expect(self, schema: Schema, *, formatted: bool = True) -> Self:
        """Ask for an answer that fits a schema, and return the request itself, which must not be sent yet.

        The system prompt has the schema, and with ``formatted`` so has the field ``response_format``, which a server
        may refuse: it is then asked again without the field. Engines on this machine hold a model to all of a schema,
        so they get it as it is; services get its strict form.
        """
        service = self.provider.service
        is_engine = self.url is None or (service is not None and service.runs_models)
        form = schema.original_format if is_engine else schema.response_format
        self.schema, self.system = schema, schema.instructions(self.system)
        self.params = {**self.params, _FORMAT: form} if formatted else _plain(self.params)
        self._fields_by_dialect = {}
        return self

    @property
    def asked(self) -> Asked:
        """What decides whether the answer needs another request."""
        others = names_of_tools(self.params.get("tools")) - self.tools.keys() if self.tools else set()
        return Asked(count_turns(self.history), self.is_formatted, self.tools, others, self.max_steps)

    @property
    def is_formatted(self) -> bool:
        """Whether the request has a schema in ``response_format``, which can be left out."""
        return self.schema is not None and _FORMAT in self.params

    def drop_format(self) -> None:
        """Leave out ``response_format``."""
        self.params, self._fields_by_dialect = _plain(self.params), {}

    @property
    def _instructions(self) -> Messages:
        return [{"role": "system", "content": self.system}] if self.system else []

    @property
    def digest(self) -> str:
        """Hash of the request in hex: equal for the same model, messages, files, parameters and dialect."""
        from .recording import cache_key

        return cache_key(self._cache_key_fields(self._server_kind))

    def recorded(self) -> CachedAnswer | None:
        """Return the answer from the cache, or ``None`` if there is none.

        Raises ``ValueError`` instead if ``NB_BACKEND_CACHE_ONLY`` is set.
        """
        from ..providers.registry import all_dialects

        only = settings.cache_only()
        if self.store is None or (self.refresh and not only):
            return None
        # with only the cache and no url, an answer of any dialect will do
        kinds = [self._server_kind, *(all_dialects() if only and self.url is None else ())]
        plain = replace(self, params=_plain(self.params), _fields_by_dialect={}) if self.is_formatted else None
        keys = (one._cache_key_fields(kind) for one in (self, plain) if one is not None for kind in kinds)
        found = next(filter(None, map(self.store.get, keys)), None)
        if found is None and only:
            prompt = shorten(text_of(self.question), 60)
            model = self.model or "the server's default model"
            raise ValueError(
                f"no answer to {prompt!r} in {self.store.folder.name}, and NB_BACKEND_CACHE_ONLY does not allow to"
                f" request one from {model}: unset it and run this once"
            )
        return found

    def record(self, answer: Answer, recording: EventRecorder) -> None:
        """Put the answer into the cache. If that fails, the answer's status line says why."""
        from .cache import now

        if self.store is None:
            return
        answer.recorded, answer.seconds = now(), round(answer.seconds, 3)
        try:
            self.store.put(self._cache_key_fields(self._server_kind), answer, recording.events(self._secret))
        except (OSError, ValueError) as error:
            answer.recorded, answer._cache_error = "", error_summary(error)

    @property
    def _server_kind(self) -> str:
        if self.url:
            return self.provider.dialect
        from ..local.process import used_name  # the model answers under any name, so a request need not name it

        return " ".join(filter(None, ["embedded", used_name()]))

    @property
    def _secret(self) -> str | None:
        key = self.provider.key(self.api_key).value
        return key if key and is_worth_hiding(key) else None

    def _cache_key_fields(self, kind: str) -> dict[str, Any]:
        from .recording import cache_key_fields

        if kind not in self._fields_by_dialect:
            asked = {**self.question, "media": self.media}
            messages = wire_messages([*self._instructions, *self.history, asked], self.trimmed)
            params = self.params
            if self.schema is not None and self.is_formatted:  # stored answers outlive the rules of the strict form
                params = {**params, _FORMAT: self.schema.original_format}
            self._fields_by_dialect[kind] = cache_key_fields(kind, self.model, messages, params, self._secret)
        return self._fields_by_dialect[kind]

    async def prepare(self) -> None:
        """If images would be sent, ask the server whether the model has vision.

        Raises ``ValueError``, which names models with vision, if it has none and ``media`` contains images.
        """
        images = [one.name for one in self.media if one.is_image]
        if not images and not any(map(_has_picture, self.history)):
            return
        await self._ask_for_vision()
        if self.lacks_vision and images:
            from ..providers.catalog import models_with_vision
            from ..providers.unknown_model import as_written

            provider = self.params.get("provider")
            who = (self.model or "the model") if self.url else "the embedded model"
            others = models_with_vision(self.provider, provider, api_key=self.api_key.value)
            raise _no_vision(who, images, [as_written(self.provider, name) for name in others])

    async def add_rounds(self, rounds: list[ToolRound]) -> None:
        """Set the rounds of the answer so far. If a tool returned the first image, ask whether the model has vision."""
        self.rounds = rounds
        if any(step.images for step in rounds[-1].steps):
            await self._ask_for_vision()

    async def _ask_for_vision(self) -> None:
        if self._is_vision_known:
            return
        from ..providers.catalog import sees_images

        provider, self._is_vision_known = self.params.get("provider"), True
        self.lacks_vision = await sees_images(self.provider, self.model, provider, api_key=self.api_key.value) is False

    def send(self, trim: int) -> AsyncGenerator[RawResponse, None]:
        """Send the request without the ``trim`` oldest turns, and return the events of the answer."""
        messages, fields = self.messages(trim), self._fields(trim)
        media = None if self.rounds else self._media()
        return self.provider.create_async_generator(self.model, messages, media, self.api_key.value, **fields)

    def body(self) -> dict[str, Any]:
        """Return the body of the request without the key. Raises ``ValueError`` for an image that cannot be sent."""
        messages, fields = self.messages(self.trimmed), self._fields(self.trimmed)
        body = self.provider.request_body(self.model, messages, self._media(), settings.Secret(), fields)
        return {name: value for name, value in body.items() if name != "api_key"}

    @property
    def url(self) -> str | None:
        """Url that the request is posted to; ``None`` is the embedded backend."""
        server = settings.url(self.provider.url)
        return server and self.provider.call_address(server, {"model": self.model})

    def _media(self) -> MediaListType:
        return [(one, one.name) for one in self.media] or None

    def image_fetcher(self) -> ImageFetcher:
        """Return a fetcher for images of the answer."""
        from .images import ImageFetcher

        async def server() -> str:
            return (await self.provider.endpoint(self.provider.key(self.api_key)))[0]

        async def get(url: str, max_bytes: int) -> bytes:
            return await self.provider.get_file(url, max_bytes, self.api_key.value)

        return ImageFetcher(server, get)

    def _fields(self, trim: int) -> dict[str, Any]:
        # a state that holds more turns than are sent would exceed the context as well
        continues = self.state is not None and trim == self.trimmed and not self.rounds
        params = with_free_choice(self.params) if self.rounds else self.params
        return {**({"conversation": self.state} if continues else {}), **params}


def _has_picture(message: Mapping[str, Any]) -> bool:
    """Whether a message of the history has an image, or the result of a tool in it has one."""
    if any(one.is_image for one in message.get("media", ())):
        return True
    return "rounds" in message and any(step.images for one in rounds_of(message) for step in one.steps)


def _no_vision(model: str, images: list[str], with_vision: list[str]) -> ValueError:
    names = images[0] if len(images) == 1 else f"{images[0]} and {len(images) - 1} more"
    choice = f"a model with vision: {', '.join(with_vision[:5])}" if with_vision else "a server with a vision model"
    return ValueError(f"{model} has no vision, so {names} cannot be sent: ask {choice}")


def _plain(params: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a request without ``response_format``."""
    return {name: value for name, value in params.items() if name != _FORMAT}
