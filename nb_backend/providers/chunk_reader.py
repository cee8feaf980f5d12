"""Reads the completion chunks of OpenAI's dialect into events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from ..events import RawResponse
from ..transport.json_body import encode_json
from .reader import ResponseReader


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

    @property
    def has_begun(self) -> bool:
        """Whether text, reasoning, an image or a part of a tool call has arrived."""
        return super().has_begun or bool(self._tool_calls)

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


def _dicts(items: Any) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
