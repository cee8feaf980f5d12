"""Any OpenAI-compatible server, with the same events out as ``BackendApi``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit

from .. import settings
from ..events import RawResponse
from ..media.attachment import Attachment
from ..media.convert import attachments
from ..media.message_parts import content_part
from ..transport.json_body import encode_json
from ..typing import MediaListType, Messages
from .base import Provider
from .model import Model
from .reader import ResponseReader


class OpenAIApi(Provider):
    """Streams answers from ``{url}/chat/completions``, where ``url`` ends in ``/v1`` or the like.

    Source of the format: https://platform.openai.com/docs/api-reference/chat-streaming, and ``reasoning_content`` as
    DeepSeek, vLLM and llama.cpp send it.
    """

    dialect: ClassVar[str] = "openai"
    path: ClassVar[str] = "/chat/completions"

    @classmethod
    def accepts(cls, url: str) -> bool:
        """Whether the url ends in ``/v1`` or the like."""
        return re.search(r"/v\d+\w*$", url) is not None

    @classmethod
    async def endpoint(cls, key: settings.Secret) -> tuple[str, dict[str, str]]:
        """Give the server's url, and the key as a header; ``ValueError`` if no url is set."""
        url = settings.url(cls.url)
        if url is None:
            raise ValueError("OpenAIApi needs a url, like http://localhost:11434/v1: set NB_BACKEND_URL")
        return url, {**cls.headers, **({"Authorization": f"Bearer {key.value}"} if key.value else {})}

    @classmethod
    def body(cls, model: str, messages: Messages, media: MediaListType, key: settings.Secret) -> dict[str, Any]:
        """Give the body of a streamed chat completion; ``media`` as parts of the last user message."""
        messages = with_media(messages, attachments((data, name) for data, name in media or []))
        return {"model": model, "messages": messages, "stream": True, "stream_options": {"include_usage": True}}

    @classmethod
    def make_reader(cls, url: str, secrets: Sequence[str]) -> ChunkReading:
        """Give what understands chunks."""
        return ChunkReading(url, secrets)

    @classmethod
    async def get_models(cls, provider: str | None = None, *, api_key: str | None = None) -> list[Model]:
        """Ask the server for its models, all in any case; whether they see images, only some servers say."""
        given, api_key = settings.Secret(api_key), None
        return await cls.get_document("/models", settings.secret(given), _models)


def _models(found: Any) -> list[Model]:
    return [Model.of(item["id"], provider=item.get("owned_by"), vision=_vision(item)) for item in found["data"]]


class ChunkReading(ResponseReader):
    """Reads ``chat.completion.chunk`` objects as the events that a backend would send."""

    def __init__(self, url: str, secrets: Sequence[str] = ()) -> None:
        super().__init__(url, secrets)
        self._name = urlsplit(url).hostname or url
        self._model = ""
        self._tool_calls: dict[int, dict[str, Any]] = {}

    def translate(self, events: list[RawResponse]) -> list[RawResponse]:
        """Give the events that the chunks stand for."""
        found: list[RawResponse] = []
        add = found.append
        for chunk in events:
            data = chunk._data
            try:  # whether it has a text and nothing else, as nearly every one; here, for a call takes a third of it
                (choice,) = data["choices"]
                delta = choice["delta"]
                text = delta["content"]
                if (
                    type(text) is str
                    and text
                    and len(delta) == 1
                    and data["model"] == self._model
                    and data["object"] == "chat.completion.chunk"
                    and not (choice["index"] or choice["finish_reason"] or data.get("usage") or data.get("error"))
                ):
                    chunk._data = {"type": "content", "content": text}
                    add(chunk)
                    continue
            except (KeyError, TypeError, ValueError):
                pass
            found += self._translated(chunk)
        return found

    def _translated(self, chunk: RawResponse) -> Iterable[RawResponse]:
        if chunk.get("error") or chunk.get("object") == "error":
            yield RawResponse(type="error", error=chunk.get("error") or chunk.get_dict())
            return
        if (model := chunk.get("model")) and model != self._model:
            self._model = model
            who = {"name": self._name, "label": self._name, "url": self._url, "model": model}
            yield RawResponse(type="provider", provider=who)
        for choice in _dicts(chunk.get("choices")):
            if not choice.get("index"):  # the others are other answers, asked for with n=2
                yield from self._choice(choice)
        if isinstance(usage := chunk.get("usage"), dict):
            yield RawResponse(type="usage", usage=usage, model=self._model, provider=self._name)

    def final_events(self, *, whole: bool) -> list[RawResponse]:
        """Give the tool calls, which come in pieces: half of one is worth nothing."""
        calls = [
            call | {"function": {key: "".join(pieces) for key, pieces in call["function"].items()}}
            for call in self._tool_calls.values()
        ]
        self._tool_calls = {}
        return [RawResponse(type="tool_calls", tool_calls=calls)] if calls and whole else []

    def _choice(self, choice: dict[str, Any]) -> Iterable[RawResponse]:
        delta = choice.get("delta") or choice.get("message")  # a server that does not stream sends a message
        if isinstance(delta, dict):
            for key in ("reasoning_content", "reasoning"):
                if delta.get(key):
                    yield RawResponse(type="reasoning", token=delta[key])
                    break
            for key in ("content", "refusal"):
                if delta.get(key):
                    yield RawResponse(type="content", content=delta[key])
            for call in _dicts(delta.get("tool_calls")):
                self._add_tool_call(call)
        if reason := choice.get("finish_reason"):
            yield from self.final_events(whole=True)
            yield RawResponse(type="finish", finish={"reason": reason})

    def _add_tool_call(self, piece: dict[str, Any]) -> None:
        index = piece.get("index")
        if not isinstance(index, int):  # some servers send none
            index = len(self._tool_calls) - (0 if piece.get("id") or not self._tool_calls else 1)
        call = self._tool_calls.setdefault(
            index, {"id": None, "type": "function", "function": {"name": [], "arguments": []}}
        )
        call["id"] = piece.get("id") or call["id"]
        if isinstance(function := piece.get("function"), dict):
            for key in ("name", "arguments"):
                if value := function.get(key):
                    call["function"][key].append(value if isinstance(value, str) else encode_json(value).decode())


def with_media(messages: Messages, media: list[Attachment]) -> Messages:
    """Give the messages with what goes along as parts of the user's last one; the caller's are left as they were."""
    if not media:
        return messages
    places = [index for index, message in enumerate(messages) if message.get("role") == "user"]
    if not places:
        raise ValueError("attachments go along with a message of the user, and there is none")
    last = messages[places[-1]]
    content = last.get("content") or []
    text = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
    parts = [content_part(one.uri, one.name) for one in media]
    return [*messages[: places[-1]], {**last, "content": [*parts, *text]}, *messages[places[-1] + 1 :]]


def _vision(item: dict[str, Any]) -> bool | None:
    """Find whether a model sees images, as g4f, Mistral or OpenRouter say it."""
    match item:
        case {"vision": False, "provider": False}:  # g4f's /v1 says this of every model, whatever it sees
            return None
        case {"vision": bool(said)} | {"capabilities": {"vision": bool(said)}}:
            return said
        case {"architecture": {"input_modalities": [_, *_] as inputs}}:
            return "image" in inputs
    return None


def _dicts(items: Any) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
