"""Reads the responses of Gemini's dialect into events."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from ..events import RawResponse, event_of
from ..media.sniff import data_uri
from ..media.sound import wav
from .content_parts import decoded_sound, dicts
from .gemini_parts import GeminiTurn
from .gemini_sources import sources_of
from .reader import ResponseReader
from .sources import SourceList
from .stream_errors import find_error, find_message

_OFTEN = 32  # batches of responses whose counts are all reported
_SELDOM = 16  # after them, the counts of one in so many; a response has about 30 tokens
_BROKEN = frozenset(
    {
        *("MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"),
        *("MISSING_THOUGHT_SIGNATURE", "NO_IMAGE", "IMAGE_OTHER", "OTHER"),
    }
)
"""Finish reasons that are a failure if nothing of an answer has come."""
_TOOLS = {
    "GOOGLE_SEARCH_WEB": "searching the web",
    "GOOGLE_SEARCH_IMAGE": "searching for images",
    "GOOGLE_MAPS": "asking Google Maps",
    "URL_CONTEXT": "reading a web page",
    "FILE_SEARCH": "searching the files",
}
"""Types of the service's own tools, and what the line that shows the progress says."""


class GeminiReader(ResponseReader):
    """Translates ``GenerateContentResponse`` objects into the events of a g4f backend.

    Source: https://ai.google.dev/api/generate-content. A part with ``thought`` is reasoning, text parts are the text.
    Code that the service runs is a ``progress`` event: it is not part of the answer's text. The token counts of each
    response are those of the answer so far, so a ``usage`` event has ``so_far`` and replaces the ones before it.
    """

    api = "gemini"
    usage_ends_answer = False

    def __init__(self, url: str, secrets: Sequence[str] = ()) -> None:
        super().__init__(url, secrets)
        # number of keys of a response if nothing but its text has to be read, and whether one of them is of counts
        self._plain = (0, False)
        self._index: int | None = None  # of the candidate that is read
        self._response_id = ""
        self._turn = GeminiTurn()
        self._reasoning_end = ""
        self._audio: list[bytes] = []
        self._audio_type = ""
        self._sources = SourceList()
        self._usage: Any = None  # the newest counts
        self._told_usage: Any = None
        self._batches = 0  # of responses that arrived together
        self._has_answered = False  # whether anything of an answer has been found

    def translate(self, events: list[RawResponse]) -> list[RawResponse]:
        """Return the events of these responses; texts that arrive together are one event."""
        found: list[RawResponse] = []
        texts: list[str] = []
        usage = self._usage
        model, index, (size, has_usage) = self._model, self._index, self._plain
        for response in events:
            data = response._data
            try:  # nearly all responses have a text and nothing else
                [candidate] = data["candidates"]
                [part] = candidate["content"]["parts"]
                text = part["text"]
                if (
                    len(part) == 1
                    and len(data) == size
                    and type(text) is str
                    and ((len(candidate) == 2 and candidate["index"] == index) or len(candidate) == 1)
                    and (not model or data["modelVersion"] == model)
                    and "error" not in data
                ):
                    if has_usage:
                        usage = data["usageMetadata"]
                    texts.append(text)
                    continue
            except (KeyError, TypeError, ValueError):
                pass
            if texts:
                found += self._joined(texts, usage)
                texts = []
            found += self._translated(data)
            usage = self._usage
            model, index, (size, has_usage) = self._model, self._index, self._plain
        if texts:
            found += self._joined(texts, usage)
        self._batches += bool(events)
        if self._batches < _OFTEN or not self._batches % _SELDOM:
            found += self._usage_event()
        return found

    def _joined(self, texts: list[str], usage: Any) -> list[RawResponse]:
        """Return the event of responses that have a text and perhaps counts, and nothing else."""
        text, self._usage = "".join(texts), usage
        if not text:
            return []
        self._turn.add_text(text)
        return [event_of({"type": "content", "content": text})]

    def _translated(self, data: dict[str, Any]) -> Iterable[RawResponse]:
        candidates = [one for one in dicts(data.get("candidates")) if self._is_ours(one)]
        self._response_id = str(data.get("responseId") or self._response_id)
        yield from self.answered_by(data.get("modelVersion"))
        if isinstance(usage := data.get("usageMetadata"), dict) and usage:
            self._usage = usage
        for candidate in candidates:
            yield from self._candidate(candidate)
        yield from self._usage_event()
        if not candidates and (blocked := _block_message(data.get("promptFeedback"))):
            yield RawResponse(type="error", error=blocked)
        yield from self._error_of(data, has_more=bool(candidates))
        is_plain = len(candidates) == 1 and not (data.get("promptFeedback") or self._turn.is_thought)
        self._plain = (len(data), "usageMetadata" in data) if is_plain else (0, False)

    def _error_of(self, data: dict[str, Any], *, has_more: bool) -> Iterable[RawResponse]:
        told = data.get("error")
        if not (told or has_more or self._knows(data)):
            told = find_error(data)
            if not told and (message := find_message(data)):
                yield RawResponse(type="message", message=message)
        if told:
            yield RawResponse(type="error", error=told)

    @staticmethod
    def _knows(data: dict[str, Any]) -> bool:
        return any(data.get(key) for key in ("usageMetadata", "promptFeedback", "modelVersion", "responseId"))

    @property
    def has_begun(self) -> bool:
        """Whether text, reasoning, an image, sound or a tool call has arrived."""
        return super().has_begun or self._has_answered

    def final_events(self, *, whole: bool) -> list[RawResponse]:
        """Return the tool calls, the sound and the state of the turn; calls and state only if the body is complete."""
        found = [*self._usage_event()]
        audio, self._audio = self._audio, []
        if audio:
            found.append(RawResponse(type="audio", audio=_sound(audio, self._audio_type)))
        calls = self._turn.take_calls(self._response_id)
        if whole and calls:
            found.append(RawResponse(type="tool_calls", tool_calls=calls))
        state = self._turn.take_state()
        if whole and state:
            found.append(RawResponse(type="state", state=state))
        return found

    def _is_ours(self, candidate: dict[str, Any]) -> bool:
        """Whether a candidate is the one that is read: its index, 0 if it has none, is that of the first one."""
        index = candidate.get("index") or 0
        if self._index is None:
            self._index = index
        return bool(index == self._index)

    def _candidate(self, candidate: dict[str, Any]) -> Iterable[RawResponse]:
        content = candidate.get("content")
        for part in dicts(content.get("parts")) if isinstance(content, dict) else []:
            self._turn.add(part)
            yield from self._part(part)
        if sources := self._sources.add(sources_of(candidate)):
            yield RawResponse(type="sources", sources=sources)
        reason = candidate.get("finishReason")
        if isinstance(reason, str) and reason not in ("", "FINISH_REASON_UNSPECIFIED"):
            yield from self.final_events(whole=True)
            yield RawResponse(type="finish", finish={"reason": reason})
            if reason in _BROKEN and not self.has_begun:
                told = candidate.get("finishMessage") or "the answer is empty"
                yield RawResponse(type="error", error={"message": f"{told} ({reason}): ask again"})

    def _part(self, part: dict[str, Any]) -> Iterable[RawResponse]:
        text, is_thought = part.get("text"), part.get("thought") is True
        if isinstance(text, str) and text:
            self._has_answered = True
            yield self._reasoning(text) if is_thought else RawResponse(type="content", content=text)
        self._has_answered = self._has_answered or "functionCall" in part
        if isinstance(blob := part.get("inlineData"), dict) and not is_thought:
            yield from self._blob(str(blob.get("mimeType") or ""), blob.get("data"))
        if isinstance(file := part.get("fileData"), dict) and not is_thought:
            yield from self._image(file.get("fileUri")) if _is_image(file) else ()
        if isinstance(code := part.get("executableCode"), dict):
            language = str(code.get("language") or "").capitalize()
            yield _progress(f"running {language} code" if language else "running code", code=code.get("code"))
        if isinstance(result := part.get("codeExecutionResult"), dict):
            is_fine = result.get("outcome") in (None, "OUTCOME_OK")
            label = "reading what the code printed" if is_fine else "reading why the code failed"
            yield _progress(label, output=result.get("output"))
        if isinstance(call := part.get("toolCall"), dict):
            yield _progress(_TOOLS.get(str(call.get("toolType")), "using a tool"))

    def _reasoning(self, text: str) -> RawResponse:
        """Return a piece of reasoning; a summary that begins with a heading is a paragraph of its own."""
        if text.startswith("**") and self._reasoning_end not in ("", "\n"):
            text = f"\n\n{text}"
        self._reasoning_end = text[-1]
        return RawResponse(type="reasoning", token=text)

    def _blob(self, kind: str, data: Any) -> Iterable[RawResponse]:
        if not isinstance(data, str) or not data:
            return
        standard = data.replace("-", "+").replace("_", "/")
        if kind.startswith("image/"):
            yield from self._image(f"data:{kind};base64,{standard}")
        elif kind.startswith("audio/"):
            self._audio += decoded_sound(standard + "=" * (-len(standard) % 4))
            self._audio_type = kind
            self._has_answered = True

    def _image(self, address: Any) -> Iterable[RawResponse]:
        if isinstance(address, str) and address:
            self._has_answered = True
            yield RawResponse(type="content", content=None, urls=[address], alt="")

    def _usage_event(self) -> Iterable[RawResponse]:
        """Return an event with the newest counts if they are new."""
        usage = self._usage
        if usage is self._told_usage or usage == self._told_usage or not isinstance(usage, dict):
            return ()
        self._told_usage = usage
        about = {"type": "usage", "usage": usage, "model": self._model, "provider": self._name, "so_far": True}
        return (event_of(about),)


def _progress(label: str, **details: Any) -> RawResponse:
    return RawResponse(type="progress", progress={"label": label, **details})


def _block_message(feedback: Any) -> dict[str, Any] | None:
    """Return an error for ``promptFeedback`` that says that the prompt was blocked."""
    reason = feedback.get("blockReason") if isinstance(feedback, dict) else None
    if not reason or reason == "BLOCK_REASON_UNSPECIFIED":
        return None
    more = feedback.get("blockReasonMessage")
    why = f"{reason}: {more}" if more else reason
    return {"message": f"The service blocked the prompt ({why}): change it, or what is attached to it", "code": reason}


def _is_image(file: dict[str, Any]) -> bool:
    return str(file.get("mimeType") or "").startswith("image/")


def _sound(pieces: list[bytes], kind: str) -> str:
    """Return sound as a data URI; raw samples (``audio/L16;codec=pcm;rate=24000``) become a WAV file."""
    data, name = b"".join(pieces), kind.partition(";")[0].strip().lower()
    if name not in ("audio/l16", "audio/pcm"):
        return data_uri(data, name)
    rate = re.search(r"rate=(\d{1,6})\b", kind)
    return data_uri(wav(data, int(rate[1])) if rate else wav(data), "audio/wav")
