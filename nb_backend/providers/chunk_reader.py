"""Reads the completion chunks of OpenAI's dialect into events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..events import RawResponse, content_text, reasoning_of
from .chat_state import ChatState
from .content_parts import Content, decoded_sound, dicts, images_in, sound_uri
from .reader import ResponseReader
from .sources import SourceList
from .stream_errors import find_error, find_message
from .tool_calls import ToolCallCollector

_REASONING_KEYS = ("reasoning_content", "reasoning", "reasoning_text", "thinking")
_REASONING_DETAILS = ("reasoning_details", "thinking_blocks")  # repeat, in parts, what one of the keys above has
_BESIDE_AN_ERROR = ("message", "code", "status", "status_code", "retry_after", "retry_after_ms")
_SOURCE_KEYS = (
    *("annotations", "citations", "search_results", "executed_tools", "web_search", "search_info", "references"),
    *("sources", "context", "grounding_metadata", "groundingMetadata", "vertex_ai_grounding_metadata"),
)


class ChunkReader(ResponseReader):
    """Translates ``chat.completion.chunk`` objects into the events of a g4f backend.

    Beside ``delta``, a choice may have a ``message`` with all of the answer so far, or nothing but such a message. What
    a message repeats is not added again.
    """

    api = "openai-chat"
    usage_ends_answer = False

    def __init__(self, url: str, secrets: Sequence[str] = ()) -> None:
        super().__init__(url, secrets)
        self._plain_sizes = (0, 0)  # numbers of keys of a chunk and its choice if nothing but the text has to be read
        self._index: str | None = None  # of the choice that is read
        self._sent_text = SentText()
        self._sent_reasoning = SentText()
        self._has_plain_reasoning = False  # details repeat it
        self._images: set[int] = set()  # hashes of the images that were sent
        self._sources = SourceList()
        self._tool_calls = ToolCallCollector()
        self._had_tool_calls = False
        self._has_deltas = False  # a message repeats them
        self._state = ChatState()
        self._sound: list[bytes] = []  # samples, or a whole file
        self._is_sound_file = False

    def translate(self, events: list[RawResponse]) -> list[RawResponse]:
        """Return the events of these chunks."""
        found: list[RawResponse] = []
        add = found.append
        length = 0
        model, (data_size, choice_size) = self._model, self._plain_sizes
        for chunk in events:
            data = chunk._data
            try:  # nearly all chunks have a text and nothing else; a function call for each would take a third longer
                (choice,) = data["choices"]
                delta = choice["delta"]
                text = delta["content"]
                if (
                    type(text) is str
                    and (size := len(text))
                    and len(delta) == 1
                    and len(data) == data_size
                    and len(choice) == choice_size
                    and data["model"] == model
                    and not (choice["index"] or choice["finish_reason"])
                    and not ("error" in data or "error" in choice or (data.get("usage")))
                ):
                    length += size
                    chunk._data = {"type": "content", "content": text}
                    add(chunk)
                    continue
            except (KeyError, TypeError, ValueError):
                pass
            self._sent_text.length += length
            length = 0
            if (plain := self._plain_event(data)) is not None:
                chunk._data = plain
                add(chunk)
                continue
            found += self._translated(chunk)
            model, (data_size, choice_size) = self._model, self._plain_sizes
        self._sent_text.length += length
        return found

    def _plain_event(self, data: dict[str, Any]) -> dict[str, Any] | None:
        """Return the event of a chunk with a text or reasoning beside empty fields, as most have that are not plain.

        ``None`` if the chunk has anything else. This takes a fifth of the time of ``_translated``.
        """
        try:
            (choice,) = data["choices"]
            ((key, text),) = ((key, value) for key, value in choice["delta"].items() if value and key != "role")
            is_other = (
                (len(data), len(choice)) != self._plain_sizes
                or data["model"] != self._model
                or choice["index"]
                or choice["finish_reason"]
                or ("error" in data or "error" in choice or data.get("usage"))
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        if is_other or type(text) is not str:
            return None
        if key == "content":
            self._sent_text.length += len(text)
            return {"type": "content", "content": text}
        if key not in ("reasoning_content", "reasoning"):
            return None
        self._sent_reasoning.length += len(text)
        self._has_plain_reasoning = self._has_deltas = True
        if key == "reasoning_content":
            self._state.add_reasoning(text)
        return {"type": "reasoning", "token": text}

    def _translated(self, chunk: RawResponse) -> Iterable[RawResponse]:
        choices = [one for one in dicts(chunk.get("choices")) if self._is_ours(one)]
        x_groq = chunk.get("x_groq")
        told = chunk.get("error") or (x_groq.get("error") if isinstance(x_groq, dict) else None)
        if not told and (not choices or chunk.get("base_resp")):
            told = find_error(chunk.get_dict())
            if not (choices or told or chunk.get("usage")) and (message := find_message(chunk.get_dict())):
                yield RawResponse(type="message", message=message)
        yield from self.answered_by(chunk.get("model"))
        for choice in choices:
            yield from self._choice(choice)
        yield from self._sources_of(chunk.get_dict())
        if usage := _usage(chunk, choices):
            yield RawResponse(type="usage", usage=usage, model=self._model, provider=self._name)
        if told:
            beside = {key: chunk.get(key) for key in _BESIDE_AN_ERROR if chunk.get(key) is not None}
            yield RawResponse(type="error", error=told, **beside)
        self._plain_sizes = _plain_sizes(chunk.get_dict(), choices) if self._index == "0" else (0, 0)

    @property
    def has_begun(self) -> bool:
        """Whether text, reasoning, an image, sound or a part of a tool call has arrived."""
        return super().has_begun or bool(self._tool_calls or self._sound)

    def final_events(self, *, whole: bool) -> list[RawResponse]:
        """Return the sound, the tool calls and the opaque state; of a body that broke off the sound only."""
        calls, self._tool_calls = self._tool_calls.calls(), ToolCallCollector()
        sound, self._sound = b"".join(self._sound), []
        events = [RawResponse(type="audio", audio=sound_uri(sound, is_file=self._is_sound_file))] if sound else []
        if whole:
            state, self._state = self._state.items(calls, self._sent_text.length), ChatState()
            events += [RawResponse(type="tool_calls", tool_calls=calls)] if calls else []
            events += [RawResponse(type="state", state=state)] if state else []
        return events

    def _is_ours(self, choice: dict[str, Any]) -> bool:
        """Whether a choice belongs to the answer: its index is that of the first one. Others are asked with n=2."""
        index = str(choice.get("index") or 0)
        if self._index is None:
            self._index = index
        return index == self._index

    def _choice(self, choice: dict[str, Any]) -> Iterable[RawResponse]:
        delta, message = _fields(choice.get("delta")), _fields(choice.get("message"))
        yield from self._delta(delta)
        # Writer's message repeats its delta
        message = {key: value for key, value in message.items() if value != delta.get(key)}
        if message:
            yield from self._delta(message, is_message=True)
        if not (delta.get("content") or message) and (text := content_text(choice.get("text"))):  # of /completions
            yield from self._content(text)
        yield from self._sources_of(choice)
        details = choice.get("finish_details")  # of gpt-4-vision-preview
        reason = choice.get("finish_reason") or (details.get("type") if isinstance(details, dict) else None)
        if reason and reason not in ("null", "None"):
            yield from self.final_events(whole=True)
            yield RawResponse(type="finish", finish={"reason": reason})
        if told := choice.get("error"):
            yield RawResponse(type="error", error=told)

    def _delta(self, delta: dict[str, Any], *, is_message: bool = False) -> Iterable[RawResponse]:
        content = Content.of(delta.get("content"))
        reasoning = self._reasoning_of(delta)
        is_detail = bool(reasoning) and not self._has_plain_reasoning
        reasoning = reasoning or content.reasoning
        text = content.text + content_text(delta.get("refusal"))
        if isinstance(audio := delta.get("audio"), dict):
            text = text or content_text(audio.get("transcript"))
            self._sound, self._is_sound_file = [*self._sound, *decoded_sound(audio.get("data"))], is_message
        if is_message:
            text = self._sent_text.rest_of(text)
        if is_message or is_detail:  # MiniMax's details hold all of the reasoning so far
            reasoning = self._sent_reasoning.rest_of(reasoning)
        if reasoning:
            self._sent_reasoning.length += len(reasoning)
            yield RawResponse(type="reasoning", token=reasoning)
        if text:
            yield from self._content(text)
        for image in [*content.images, *images_in(delta.get("images") or []), *images_in(delta.get("image") or [])]:
            if hash(image) not in self._images:
                self._images.add(hash(image))
                yield RawResponse(type="content", content=None, urls=[image], alt="")
        calls = delta.get("tool_calls") or ([{"function": old}] if (old := delta.get("function_call")) else [])
        if calls and not (is_message and self._had_tool_calls):
            self._tool_calls.add(calls)
        self._had_tool_calls = self._had_tool_calls or bool(calls)
        if not is_message or not self._has_deltas:
            self._state.add(delta, calls)
        self._has_deltas = self._has_deltas or bool(delta and not is_message)
        yield from self._sources_of({**delta, "annotations": [delta.get("annotations"), content.annotations]})

    def _content(self, text: str) -> Iterable[RawResponse]:
        self._sent_text.length += len(text)
        yield RawResponse(type="content", content=text)

    def _reasoning_of(self, delta: dict[str, Any]) -> str:
        if text := _first_reasoning(delta, _REASONING_KEYS):
            self._has_plain_reasoning = True
            return text
        return "" if self._has_plain_reasoning else _first_reasoning(delta, _REASONING_DETAILS)

    def _sources_of(self, fields: dict[str, Any]) -> Iterable[RawResponse]:
        for key in _SOURCE_KEYS:
            if (value := fields.get(key)) and (sources := self._sources.add(value)):
                yield RawResponse(type="sources", sources=sources)


class SentText:
    """How much of a text was sent, to find what a message adds to it."""

    def __init__(self) -> None:
        self.length = 0  # characters
        self._last = ""  # message
        self._messages_are_pieces = False

    def rest_of(self, message: str) -> str:
        """Return what a message adds: the messages of most servers hold all of the text so far, of some a piece."""
        last, self._last = self._last, message or self._last
        if last and message and not message.startswith(last) and not last.startswith(message):
            self._messages_are_pieces = True
        return message if self._messages_are_pieces else message[self.length :]


def _fields(value: Any) -> dict[str, Any]:
    """Return the fields of a delta or a message; a few servers send its text alone."""
    return value if isinstance(value, dict) else {"content": value} if isinstance(value, str) else {}


def _first_reasoning(delta: dict[str, Any], keys: Iterable[str]) -> str:
    return next((text for key in keys if (value := delta.get(key)) and (text := reasoning_of(value))), "")


def _usage(chunk: RawResponse, choices: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the token counts of a chunk, which Moonshot puts into the choice, and Groq into ``x_groq``."""
    x_groq = chunk.get("x_groq")
    places = [chunk.get("usage"), *(one.get("usage") for one in choices)]
    places += [x_groq.get("usage")] if isinstance(x_groq, dict) else []
    counts = (one for one in places if isinstance(one, dict))
    return next((one for one in counts if any(value is not None for value in one.values())), None)


def _plain_sizes(data: dict[str, Any], choices: list[dict[str, Any]]) -> tuple[int, int]:
    """Return how many keys a chunk like this and its choice have, ``(0, 0)`` if more than its text has to be read."""
    others = [*_SOURCE_KEYS, "x_groq"]
    if len(choices) != 1 or any(data.get(key) for key in others):
        return 0, 0
    (choice,) = choices
    has_more = "error" in choice or any(choice.get(key) for key in ("message", "text", "usage", *_SOURCE_KEYS))
    return (0, 0) if has_more else (len(data), len(choice))
