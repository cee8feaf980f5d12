"""The dialect of OpenAI's chat completions, which many servers speak."""

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
    """Streams answers from ``{url}/chat/completions``, where the url ends in ``/v1`` or the like.

    The format is https://platform.openai.com/docs/api-reference/chat-streaming, with ``reasoning_content`` in the form
    of DeepSeek, vLLM and llama.cpp. The events are those of ``BackendApi``.
    """

    dialect: ClassVar[str] = "openai"
    path: ClassVar[str] = "/chat/completions"

    @classmethod
    def accepts(cls, url: str) -> bool:
        """Whether the url ends in ``/v1`` or the like."""
        return re.search(r"/v\d+\w*$", url) is not None

    @classmethod
    async def endpoint(cls, key: settings.Secret) -> tuple[str, dict[str, str]]:
        """Return the server's url and the headers, with the key; ``ValueError`` if no url is set."""
        url = settings.url(cls.url)
        if url is None:
            raise ValueError("OpenAIApi needs a url, like http://localhost:11434/v1: set NB_BACKEND_URL")
        return url, {**cls.headers, **({"Authorization": f"Bearer {key.value}"} if key.value else {})}

    @classmethod
    def body(cls, model: str, messages: Messages, media: MediaListType, key: settings.Secret) -> dict[str, Any]:
        """Return the body of a streamed chat completion, with ``media`` as content parts of the last user message."""
        messages = with_media(messages, attachments((data, name) for data, name in media or []))
        return {"model": model, "messages": messages, "stream": True, "stream_options": {"include_usage": True}}

    @classmethod
    def make_reader(cls, url: str, secrets: Sequence[str]) -> ChunkReader:
        """Return a reader of completion chunks."""
        return ChunkReader(url, secrets)

    @classmethod
    async def get_models(cls, provider: str | None = None, *, api_key: str | None = None) -> list[Model]:
        """Return all models that the server lists; ``vision`` is None unless the server reports it."""
        given, api_key = settings.Secret(api_key), None
        return await cls.get_document("/models", settings.secret(given), _models)


def _models(document: Any) -> list[Model]:
    return [Model.of(item["id"], provider=item.get("owned_by"), vision=_vision(item)) for item in document["data"]]


class ChunkReader(ResponseReader):
    """Translates ``chat.completion.chunk`` objects into the events of a g4f backend."""

    def __init__(self, url: str, secrets: Sequence[str] = ()) -> None:
        super().__init__(url, secrets)
        self._name = urlsplit(url).hostname or url
        self._model = ""
        self._tool_calls: dict[int, dict[str, Any]] = {}  # by index, with lists of pieces

    def translate(self, events: list[RawResponse]) -> list[RawResponse]:
        """Return the events of these chunks."""
        found: list[RawResponse] = []
        add = found.append
        for chunk in events:
            data = chunk._data
            try:  # nearly all chunks have a text and nothing else; a function call for each would take a third longer
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
            if not choice.get("index"):  # others are further answers, requested with n=2
                yield from self._choice(choice)
        if isinstance(usage := chunk.get("usage"), dict):
            yield RawResponse(type="usage", usage=usage, model=self._model, provider=self._name)

    def final_events(self, *, whole: bool) -> list[RawResponse]:
        """Return the tool calls, joined from their pieces; none if the body broke off, as they may be incomplete."""
        calls = [
            call | {"function": {key: "".join(pieces) for key, pieces in call["function"].items()}}
            for call in self._tool_calls.values()
        ]
        self._tool_calls = {}
        return [RawResponse(type="tool_calls", tool_calls=calls)] if calls and whole else []

    def _choice(self, choice: dict[str, Any]) -> Iterable[RawResponse]:
        delta = choice.get("delta") or choice.get("message")  # servers that do not stream send a message
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
        if not isinstance(index, int):  # some servers do not send an index
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
    """Return the messages with attachments as parts of the last user message; the argument is not changed."""
    if not media:
        return messages
    places = [index for index, message in enumerate(messages) if message.get("role") == "user"]
    if not places:
        raise ValueError("attachments need a message with the role 'user', and there is none")
    last = messages[places[-1]]
    content = last.get("content") or []
    text = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
    parts = [content_part(one.uri, one.name) for one in media]
    return [*messages[: places[-1]], {**last, "content": [*parts, *text]}, *messages[places[-1] + 1 :]]


def _vision(item: dict[str, Any]) -> bool | None:
    """Return whether a model has vision, from the fields of g4f, Mistral or OpenRouter; ``None`` if none has them."""
    match item:
        case {"vision": False, "provider": False}:  # g4f's /v1 sends this for every model
            return None
        case {"vision": bool(vision)} | {"capabilities": {"vision": bool(vision)}}:
            return vision
        case {"architecture": {"input_modalities": [_, *_] as inputs}}:
            return "image" in inputs
    return None


def _dicts(items: Any) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
