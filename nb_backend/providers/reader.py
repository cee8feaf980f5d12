"""Events of an answer, and how the answer ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

import orjson

from .. import debug
from ..errors import AuthError, BackendError, ProtocolError
from ..events import RawResponse, finish_reason, reasoning_text, urls_of, with_token
from ..transport.error_body import ErrorBody, one_line, sentence
from ..transport.errors import not_an_answer
from ..transport.refusal import NEW_KEY, refusal
from .decoder import EventDecoder
from .finish_reasons import is_error
from .json_pieces import END_MARK
from .other_dialect import in_another_dialect
from .secret_filter import SecretFilter
from .stream_errors import find_error
from .think_tags import ThinkTagSplitter, split_unopened

_MAX_TEXTS = 1000  # deltas that are kept apart; joined, they take a tenth of the memory


class ResponseReader:
    """Reads the body of an answer chunk by chunk.

    ``secrets`` are masked in the events and in the error. With ``collects_partial`` the error has the text so far.
    """

    api: ClassVar[str] = "g4f"
    """Name of the dialect that is read, as in ``registry.DIALECTS``."""
    usage_ends_answer: ClassVar[bool] = True
    """Whether a ``usage`` event after the last text means that the answer is whole, as it does in g4f's dialect."""

    def __init__(self, url: str, secrets: Sequence[str] = ()) -> None:
        self._url = url
        self._name = urlsplit(url).hostname or url  # of the server
        self._model = ""  # that answers
        self._secrets = secrets
        self._secret_filter = SecretFilter(secrets)
        self._decoder = EventDecoder()
        self._think_tags: ThinkTagSplitter | None = ThinkTagSplitter()  # until the text has begun
        self._has_reasoning = False
        self._is_answer = False  # whether an event had a type
        self.collects_partial = True
        self.servers = 1  # how many servers the request may go to
        self.sent: Mapping[str, Any] = {}  # the body of the request
        self._text: list[str] = []  # joined deltas
        self._texts: list[str] = []  # the deltas after them
        self._error: RawResponse | None = None
        self._message: RawResponse | None = None  # the last message event: an error if no text follows it
        self._texts_before_message = 0
        self._finish_error: RawResponse | None = None  # the finish event, if its reason is an error
        self._untyped_error: RawResponse | None = None  # of an object without a type, as proxies send it
        self._finished = False
        self._has_begun = False  # whether reasoning, an image or a tool call has arrived
        self.refusals: list[RawResponse] = []
        """Error events that are held back, as nothing of an answer has arrived: the request may be sent again."""
        self.wait: float | None = None
        """Seconds that the head of the response asks to wait."""
        self.endings = 0
        """How many times the answer may have ended: at a finish reason or an error, and with what came after it."""
        self._texts_joined = 0  # how many deltas are no longer in ``_texts``
        self._texts_before_usage = -1  # of all deltas

    def resume(self, paused: Self) -> None:
        """Continue the answer of a reader whose part of it has ended, but not the answer; see ``continuation``."""
        self._text = ["".join([*paused._text, *paused._texts])]
        self._has_begun, self._has_reasoning = paused.has_begun, paused._has_reasoning
        self._think_tags = self._think_tags if paused._think_tags else None

    @property
    def started(self) -> bool:
        """Whether an event has arrived."""
        return self._decoder.events > 0

    @property
    def has_begun(self) -> bool:
        """Whether text, reasoning, an image or a tool call has arrived."""
        return self._has_begun or any(self._texts)

    @property
    def _is_over(self) -> bool:
        """Whether a finish reason or an error has come; counts of tokens and logs may follow it."""
        return self._finished or self._error is not None

    @property
    def done(self) -> bool:
        """Whether the server has marked the end of the answer."""
        return self._decoder.done

    def feed(self, chunk: bytes) -> list[RawResponse] | None:
        """Return the events that are complete with this chunk; ``None`` for b"", the end of the body."""
        if not chunk:
            return None
        events = self._filter_and_note(self._split(self.translate(self._decoder.feed(chunk))))
        if not self._is_over and chunk.rstrip().endswith((b"}", b"]")) and _ends_answer(self._decoder.rest):
            self.endings += 1  # only the line end behind the finish reason is missing
        return events

    def end(self, *, whole: bool) -> list[RawResponse]:
        """Return the events that the end of the body completes; ``whole`` says whether the body is complete."""
        last = self._split([*self.translate(self._decoder.flush()), *self.final_events(whole=whole)])
        kept_back = self._think_tags.flush() if self._think_tags else []
        events = self._filter_and_note([*last, *kept_back])
        if damaged := self._decoder.damaged:
            debug.log(f"skipped {damaged} damaged lines of an answer")
        held = self._secret_filter.flush()
        self._texts += map(str, held)
        late = len(held) + len(kept_back)  # these texts belong before the last message, and before the usage
        self._texts_before_message += late
        self._texts_before_usage += late
        events += held
        if held and self.refusals:  # the text came before the error
            events += self.refusals
            self.refusals = []
        return events

    def ending(self) -> RawResponse:
        """Return an event that says how the body ended: with an end mark or not, and how many lines were damaged."""
        has_usage_last = self._texts_before_usage == self._texts_joined + len(self._texts)
        is_marked = self.done or (self.usage_ends_answer and has_usage_last)
        return RawResponse(type="ending", marked=is_marked and self.has_begun, damaged=self._decoder.damaged)

    def error(self, failure: BackendError | None) -> BackendError | None:
        """Return the failure of the answer, if any: an error of the server's comes before one of the connection."""
        if event := self._error_event():
            failure = event_error(event, self._secrets, self.wait)
        elif self._finished or (self.done and self.has_begun):
            return None
        elif failure is None and not self.has_begun and (other := self._in_another_dialect()):
            failure = other
        elif failure is None and not self._is_answer:
            failure = not_an_answer(self._url, self._decoder.start, self._secrets)
        elif failure is None and self._decoder.truncated:
            failure = ProtocolError("The answer broke off in the middle of an event: ask again")
        elif failure is None and not self.has_begun:
            start = one_line(self._decoder.start.decode("utf-8", "replace"), self._secrets, 60)
            failure = ProtocolError(f"The server ended the answer before any text (it sent {start!r}): ask again")
        if failure is not None:
            failure.partial = self._partial() if self.collects_partial else ""
        return failure

    def _in_another_dialect(self) -> ProtocolError | None:
        return in_another_dialect(self._url, self._decoder.start, self.api)

    def _partial(self) -> str:
        text = "".join([*self._text, *self._texts])
        parts = split_unopened(text, has_reasoning=self._has_reasoning)
        return text if parts is None else parts[1]

    def _error_event(self) -> RawResponse | None:
        if self._error or self._finish_error:
            return self._error or self._finish_error
        if self._message and self._texts_before_message == len(self._texts):
            return self._message
        return self._untyped_error if self._is_answer else None

    def translate(self, events: list[RawResponse]) -> list[RawResponse]:
        """Return the events in the form of g4f's backend API; readers of other dialects override this."""
        return events

    def answered_by(self, model: Any) -> list[RawResponse]:
        """Return an event that names the model that answers, and the server; no event if it is known already."""
        if not isinstance(model, str) or model in ("", self._model):
            return []
        self._model = model
        who: dict[str, Any] = {"name": self._name, "label": self._name, "url": self._url, "model": model}
        return [RawResponse(type="provider", provider=who | ({"servers": self.servers} if self.servers > 1 else {}))]

    def final_events(self, *, whole: bool) -> list[RawResponse]:
        """Return further events at the end of the body; ``whole`` says whether the body is complete."""
        return []

    def _split(self, events: list[RawResponse]) -> list[RawResponse]:
        """Separate reasoning that stands between tags from the text; nothing is to do once the text has begun."""
        if self._think_tags is not None:
            events = self._think_tags.split(events)
            if self._think_tags.done:
                self._think_tags = None
        return events

    def _filter_and_note(self, events: list[RawResponse]) -> list[RawResponse]:
        texts, was_over = self._texts, self._is_over
        plain = _plain_texts(events)
        if plain is not None and self._secret_filter.passes("".join(plain)):
            texts += plain
        else:
            events = self._secret_filter.filter(events)
            self._note_each(events)
        self._is_answer = self._is_answer or any(event.type for event in events)
        if len(texts) > _MAX_TEXTS and self._message is None:
            if self.collects_partial:
                self._text.append("".join(texts))
            self._texts_joined += len(texts)
            texts.clear()
            self._has_begun = True
        if self._is_over and (not was_over or any(map(_adds_to_answer, events))):
            self.endings += 1
        return self._hold_back(events) if self.refusals else events

    def _note_each(self, events: list[RawResponse]) -> None:
        texts = self._texts
        for event in events:
            data = event._data
            try:  # faster than ``get``; most events have a text and nothing else
                if len(data) == 2:
                    kind = data["type"]
                    if kind == "content" and type(text := data["content"]) is str:
                        texts.append(text)
                        continue
                    if kind == "reasoning" and type(token := data["token"]) is str and token:
                        texts.append("")
                        self._has_begun = self._has_reasoning = True
                        continue
            except KeyError:
                pass
            self._note(event)

    def _hold_back(self, events: list[RawResponse]) -> list[RawResponse]:
        """Return the events without the refusals; with those held before, if a part of an answer follows."""
        ids = {*map(id, self.refusals)}
        if not self.has_begun:
            return [event for event in events if id(event) not in ids]
        new = {*map(id, events)}
        held, self.refusals = [event for event in self.refusals if id(event) not in new], []
        return held + events

    def _note(self, event: RawResponse) -> None:
        event._data = with_token(event._data)
        kind = event.type
        if kind in ("content", "reasoning", "tool_calls", "audio", "finish"):
            self._texts.append(str(event))
            self._has_begun = self._has_begun or _adds_to_answer(event)
            self._has_reasoning = self._has_reasoning or bool(reasoning_text(event))
            if kind == "finish":
                self._finished = True
                if is_error(finish_reason(event)):
                    self._finish_error = RawResponse(type="error", message=_FINISH_ERROR)
                    if not self.has_begun:
                        self.refusals.append(event)
        elif kind == "message":
            self._message, self._texts_before_message = event, len(self._texts)
        elif kind == "usage":
            self._texts_before_usage = self._texts_joined + len(self._texts)
        elif kind in ("error", "auth") or (not kind and event.get("error")):
            self._error = event
            if not self.has_begun:
                self.refusals.append(event)
        elif not kind and (told := find_error(event.get_dict())):
            self._untyped_error = RawResponse(type="error", error=told)


_WORDS_OF_THE_END = (b'"finish', b'"error', b'"response.', b'"stop_reason')
_LAST_TYPES = ("finish", "error", "response.completed", "response.incomplete", "response.failed")
_FINISH_ERROR = "The server ended the answer with an error and no message: ask again"


def _ends_answer(text: bytes) -> bool:
    """Whether a text, which has no line end yet, is an end mark or an object with a finish reason or an error."""
    text = text.strip().rpartition(b"\n")[2].removeprefix(b"data:").lstrip()
    if text == END_MARK:
        return True
    if not (text.startswith(b"{") and any(word in text for word in _WORDS_OF_THE_END)):
        return False
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    choices = value.get("choices") or value.get("candidates")  # of Gemini
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    delta = value.get("delta") if isinstance(value.get("delta"), dict) else value  # of Anthropic, streamed or not
    reason = choice.get("finish_reason") or choice.get("finishReason") or delta.get("stop_reason")
    return bool(value.get("type") in _LAST_TYPES or value.get("error") or reason)


def _plain_texts(events: list[RawResponse]) -> list[str] | None:
    """Return the texts of the events if each has a text and nothing else, as nearly always; else ``None``."""
    try:
        texts = [data["content"] for event in events if len(data := event._data) == 2 and data["type"] == "content"]
    except KeyError:
        return None
    return texts if len(texts) == len(events) and {*map(type, texts)} <= {str} else None


def _adds_to_answer(event: RawResponse) -> bool:
    """Whether an event has text, reasoning, an image, a tool call or sound."""
    has_text = str(event) or reasoning_text(event)
    return bool(has_text or urls_of(event) or event.get("tool_calls") or event.type == "audio")


def event_error(event: RawResponse, secrets: Iterable[str] = (), wait: float | None = None) -> BackendError:
    """Return the ``BackendError`` for an ``error``, ``auth`` or ``message`` event.

    ``wait`` is the seconds that the response's head asks to wait.
    """
    detail = event.get("error")
    fields = {key: value for key, value in event.get_dict().items() if key not in ("type", "choices")}
    said = ErrorBody.of(fields)
    message = event.get("message") or detail or event.get("content") or event.get("auth") or said.message
    text = one_line(sentence(message), secrets) or "The server reported an error without a message: ask again"
    if event.type == "auth":
        return AuthError(f"{text.rstrip('.')}: {NEW_KEY}", code=said.code)
    return refusal(text, said, wait=wait, secrets=secrets)
