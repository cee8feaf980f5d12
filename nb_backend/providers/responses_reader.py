"""Reads the events of OpenAI's responses into ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from ..events import RawResponse, content_text
from .content_parts import decoded_sound, dicts, image_address, sound_uri
from .reader import ResponseReader
from .responses_items import (
    Item,
    Part,
    break_after,
    calls_of,
    images_of,
    is_apart,
    progress_of,
    state_of,
    text_of_part,
)
from .sources import SourceList
from .stream_errors import find_error

_TEXT_DELTA: Final = "response.output_text.delta"
_TEXTS: Final = {
    "output_text": ("message", "content", "text"),
    "refusal": ("message", "content", "refusal"),
    "audio.transcript": ("message", "content", "transcript"),
    "output_audio_transcript": ("message", "content", "transcript"),
    "reasoning_text": ("reasoning", "content", "text"),
    "reasoning": ("reasoning", "content", "text"),
    "reasoning_summary_text": ("reasoning", "summary", "text"),
    "reasoning_summary": ("reasoning", "summary", "text"),
    "function_call_arguments": ("function_call", "", "arguments"),
    "custom_tool_call_input": ("custom_tool_call", "", "input"),
}
"""For the events ``NAME.delta`` and ``NAME.done``: the type of the item, the key of its list of parts, and the key of
the whole text in the event."""
_PART_ENDS: Final = {"content_part.done": "content", "reasoning_summary_part.done": "summary"}
_ENDS: Final = ("completed", "incomplete", "failed", "cancelled")
_MAX_ITEMS: Final = 1000  # of one response; what comes of more is passed on, and not kept
_NEEDS_APPROVAL: Final = (
    'The model asks to call {name} of the MCP server {server}, which needs your approval: set "require_approval" of'
    ' this tool to "never" if you trust it'
)


class ResponsesReader(ResponseReader):
    """Translates the events of ``/responses`` into the events of a g4f backend.

    A text arrives in deltas, and again as a whole with each thing that ends: the text, its part, its item, and the
    response. Only what is new is passed on, so a server may leave out any of them. A body that is one ``response``
    object, the answer to a request without ``stream``, is read too.
    """

    api = "openai-responses"
    usage_ends_answer = False

    def __init__(self, url: str, secrets: Sequence[str] = ()) -> None:
        super().__init__(url, secrets)
        self._items: dict[Any, Item] = {}  # by output_index, or by number if the server does not tell it
        self._growing: tuple[Any, Any] = (object(), 0)  # item_id and content_index of the text that arrives
        self._part = Part()  # of this text
        self._last = {"content": "", "reasoning": ""}  # the latest delta
        self._said: Item | None = None  # the message of the latest text
        self._thought: Part | None = None  # the part of the latest reasoning
        self._is_refused = self._has_text = False
        self._images: set[int] = set()  # hashes of the images that were sent
        self._partial_images: dict[int, str] = {}  # by the id of the item
        self._sound: list[bytes] = []
        self._sources = SourceList()
        self._has_ended = False  # whether the response has

    def translate(self, events: list[RawResponse]) -> list[RawResponse]:
        """Return the events of this dialect's events."""
        found: list[RawResponse] = []
        add = found.append
        size = 0
        item_id, index = self._growing
        for event in events:
            data = event._data
            try:  # nearly all events are these; a function call for each would take a third longer
                if (
                    data["type"] == _TEXT_DELTA
                    and data["item_id"] == item_id
                    and data["content_index"] == index
                    and type(text := data["delta"]) is str
                    and text
                ):
                    size += len(text)
                    event._data = {"type": "content", "content": text}
                    add(event)
                    continue
            except KeyError:
                pass
            self._count(size, found)
            size = 0
            found += self._translated(event)
            item_id, index = self._growing
        self._count(size, found)
        return found

    def _count(self, size: int, found: list[RawResponse]) -> None:
        if size:
            self._part.size += size
            self._last["content"] = found[-1]._data["content"]

    def _translated(self, event: RawResponse) -> Iterator[RawResponse]:
        data, kind = event._data, event.type
        if kind.startswith("response."):
            self._is_answer = True
            yield from self._event(kind.removeprefix("response."), data)
        elif kind == "error":
            yield event
        elif data.get("object") == "response" and isinstance(data.get("output"), list):
            self._is_answer = True
            yield from self._response(data, str(data.get("status") or "completed"))
        elif not kind and find_error(data):
            yield event

    def _event(self, kind: str, data: dict[str, Any]) -> Iterator[RawResponse]:
        name, _, change = kind.rpartition(".")
        if isinstance(response := data.get("response"), dict):
            yield from self.answered_by(response.get("model"))
            if kind in _ENDS or kind == "done":
                status = response.get("status")
                yield from self._response(response, status if status in _ENDS else kind)
        elif name in _TEXTS and change in ("delta", "done"):
            yield from self._piece(name, data, whole=change == "done")
        elif name == "output_item" and isinstance(item := data.get("item"), dict):
            known = self._item(data, str(item.get("type")), item)
            if change == "done":
                yield from self._done(known, item)
            else:
                known.data = item
                if label := progress_of(item):
                    yield RawResponse(type="progress", progress={"label": label})
        elif kind in _PART_ENDS and isinstance(part := data.get("part"), dict):
            is_reasoning = part.get("type") in ("reasoning_text", "summary_text")
            item = self._item(data, "reasoning" if is_reasoning else "message")
            yield from self._whole_part(item, _PART_ENDS[kind], _index(data), part)
        elif change == "added" and "annotation" in data:
            yield from self._sources_of(data["annotation"])
        elif kind == "image_generation_call.partial_image":
            item = self._item(data, "image_generation_call")
            self._partial_images[id(item)] = image_address(data.get("partial_image_b64"))
        elif kind in ("audio.delta", "output_audio.delta"):
            self._sound += decoded_sound(data.get("delta"))

    def _item(self, data: dict[str, Any], kind: str, item: dict[str, Any] | None = None) -> Item:
        """Return the item that an event is about.

        It is found by ``output_index``; if the server does not tell that, by its id; else it is the newest of its type,
        unless an item has just been added.
        """
        place, id_ = data.get("output_index"), (item or {}).get("id") or data.get("item_id")
        if type(place) is not int:
            is_added = item and data.get("type") == "response.output_item.added"
            place = self._place(kind, id_, is_added=bool(is_added))
        found = self._items.get(place)
        if found is None or (found.kind != kind and item):
            found = Item(kind, item or {"id": id_})
            if place in self._items or len(self._items) < _MAX_ITEMS:
                self._items[place] = found
        return found

    def _place(self, kind: str, id_: Any, *, is_added: bool) -> int:
        """Return the key of an item whose ``output_index`` the server does not tell, or of a new one."""
        newest_first = [*reversed(self._items.items())]
        places = [place for place, known in newest_first if id_ and known.id == id_ and known.kind == kind]
        if not places and not is_added:
            places = [place for place, known in newest_first if known.kind == kind and not known.is_done]
        return places[0] if places else len(self._items)

    def _piece(self, name: str, data: dict[str, Any], *, whole: bool) -> Iterator[RawResponse]:
        """Pass on a delta of a text, or what its end adds."""
        kind, list_key, text_key = _TEXTS[name]
        item, text = self._item(data, kind), content_text(data.get(text_key if whole else "delta"))
        if not list_key:
            if whole and text:
                item.pieces.clear()
            item.pieces.append(text)
            return
        self._is_refused = self._is_refused or name == "refusal"
        self._has_text = self._has_text or (name == "output_text" and bool(text))
        yield from self._grow(item, list_key, _index(data), text, whole=whole)
        if data.get("type") == _TEXT_DELTA and isinstance(item_id := data.get("item_id"), str):
            self._growing, self._part = (item_id, data.get("content_index")), item.parts["content", _index(data)]

    def _grow(self, item: Item, list_key: str, index: int, text: str, *, whole: bool) -> Iterator[RawResponse]:
        """Yield an event with what is new in a text, with a paragraph break before it if it begins a paragraph."""
        part = item.parts.setdefault((list_key, index), Part())
        if not (text := text[part.size :] if whole else text):
            return
        if item.kind == "reasoning":
            if any(other.size for (key, _), other in item.parts.items() if key != list_key):
                return  # a summary of what was sent in full, or the other way round
            kind, text_key = "reasoning", "token"
            is_new, self._thought = part is not self._thought, part
        else:
            kind, text_key = "content", "content"
            before, self._said = self._said or item, item
            is_new = before is not item and is_apart(before.data, item.data)
        part.size += len(text)
        if is_new:
            text = break_after(self._last[kind]) + text
        self._last[kind] = text
        yield RawResponse(**{"type": kind, text_key: text})

    def _whole_part(self, item: Item, list_key: str, index: int, part: dict[str, Any]) -> Iterator[RawResponse]:
        self._is_refused = self._is_refused or part.get("type") == "refusal"
        self._has_text = self._has_text or (part.get("type") == "output_text" and bool(part.get("text")))
        yield from self._grow(item, list_key, index, text_of_part(part), whole=True)
        yield from self._sources_of(part.get("annotations"))
        if part.get("type") == "output_audio" and not self._sound:
            self._sound += decoded_sound(part.get("data"))

    def _done(self, item: Item, data: dict[str, Any]) -> Iterator[RawResponse]:
        """Pass on what a complete item adds to what has arrived of it."""
        item.data, item.is_done = data, True
        if item.kind in ("message", "reasoning"):
            keys = ("content", "summary") if item.kind == "reasoning" else ("content",)
            for key in keys:
                for index, part in enumerate(dicts(data.get(key))):
                    yield from self._whole_part(item, key, index, part)
        images = images_of(data)
        if item.kind == "image_generation_call" and not images and (image := self._partial_images.get(id(item))):
            images = [(image, str(data.get("revised_prompt") or ""))]
        for image, alt in images:
            if hash(image) not in self._images:
                self._images.add(hash(image))
                yield RawResponse(type="content", content=None, urls=[image], alt=alt)

    def _sources_of(self, annotations: Any) -> Iterator[RawResponse]:
        if annotations and (sources := self._sources.add(annotations)):
            yield RawResponse(type="sources", sources=sources)

    def _response(self, response: dict[str, Any], kind: str) -> Iterator[RawResponse]:
        """Pass on what the object of the whole response adds, and how it ended."""
        if self._has_ended:
            return
        self._has_ended = True
        yield from self.answered_by(response.get("model"))
        output: list[Item] = []
        for item, data in self._matched(dicts(response.get("output"))):
            output.append(item)
            yield from self._done(item, data)
        output = output or [self._items[place] for place in sorted(self._items) if self._items[place].is_done]
        yield from self._heard()
        if (calls := calls_of(output, response.get("tools"))) and kind != "failed":
            yield RawResponse(type="tool_calls", tool_calls=calls)
        if isinstance(usage := response.get("usage"), dict):
            yield RawResponse(type="usage", usage=usage, model=self._model, provider=self._name)
        if kind == "completed" and (state := state_of([item.data for item in output])):
            yield RawResponse(type="state", state=state)
        yield self._end_of(response, kind, output)

    def _end_of(self, response: dict[str, Any], kind: str, output: list[Item]) -> RawResponse:
        """Return the finish event, or the error event of a response that failed."""
        if kind == "failed" or response.get("error"):
            return RawResponse(type="error", error=response.get("error") or _FAILED)
        request = next((item.data for item in output if item.kind == "mcp_approval_request"), None)
        if request and not self._has_text:
            names = {"name": str(request.get("name")), "server": str(request.get("server_label"))}
            return RawResponse(type="error", message=_NEEDS_APPROVAL.format(**names))
        details = response.get("incomplete_details")
        reason = (details.get("reason") if isinstance(details, dict) else None) or kind
        if kind == "completed" and self._is_refused and not self._has_text:
            reason = "refusal"
        elif kind == "completed" and self._is_at_limit(response):
            reason = "max_output_tokens"
        return RawResponse(type="finish", finish={"reason": reason})

    def _is_at_limit(self, response: dict[str, Any]) -> bool:
        """Whether a server that never says that an answer is cut, as llama.cpp, sent all tokens that were allowed."""
        usage, limit = response.get("usage"), self.sent.get("max_output_tokens")
        count = usage.get("output_tokens") if isinstance(usage, dict) else None
        return "incomplete_details" not in response and type(limit) is type(count) is int and count >= limit

    def _matched(self, output: list[dict[str, Any]]) -> Iterator[tuple[Item, dict[str, Any]]]:
        """Yield what is known of each item of the whole response: the one with its id, else the next of its type."""
        free: dict[str, dict[int, Item]] = {}  # by type and identity
        by_id: dict[tuple[str, str], Item] = {}
        for item in self._items.values():
            free.setdefault(item.kind, {})[id(item)] = item
            by_id.setdefault((item.kind, item.id), item)
        for data in output:
            kind, id_ = str(data.get("type")), str(data.get("id") or "")
            others = free.get(kind, {})
            found = by_id.get((kind, id_)) if id_ else None
            if found is None or id(found) not in others:
                found = next(iter(others.values()), None)
            if found is None:
                found = self._items[len(self._items), "at the end"] = Item(kind, data)
            others.pop(id(found), None)
            yield found, data

    @property
    def has_begun(self) -> bool:
        """Whether text, reasoning, an image, sound or a part of a tool call has arrived."""
        is_call = any(item.pieces or item.call for item in self._items.values())
        return super().has_begun or is_call or bool(self._sound)

    def final_events(self, *, whole: bool) -> list[RawResponse]:
        """Return the sound and the tool calls of a body without its last event; no calls if the body broke off."""
        calls = calls_of(self._items.values()) if whole and not self._has_ended else []
        return [*self._heard(), *([RawResponse(type="tool_calls", tool_calls=calls)] if calls else [])]

    def _heard(self) -> list[RawResponse]:
        sound, self._sound = b"".join(self._sound), []
        return [RawResponse(type="audio", audio=sound_uri(sound, is_file=True))] if sound else []


_FAILED = "The service says that the response failed, and not why: ask again"


def _index(data: dict[str, Any]) -> int:
    index = data.get("summary_index", data.get("content_index"))
    return index if type(index) is int else 0
