"""Events of an answer, and how the answer ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .. import debug
from ..errors import AuthError, BackendError, ProtocolError
from ..events import RawResponse, reasoning_text, urls_of, with_token
from ..transport.error_body import ErrorBody, one_line, sentence
from ..transport.errors import not_an_answer
from ..transport.refusal import NEW_KEY, refusal
from .decoder import EventDecoder
from .secret_filter import SecretFilter
from .think_tags import ThinkTagSplitter

_MAX_TEXTS = 1000  # deltas that are kept apart; joined, they take a tenth of the memory


class ResponseReader:
    """Reads the body of an answer chunk by chunk.

    ``secrets`` are masked in the events and in the error. With ``collects_partial`` the error has the text so far.
    """

    def __init__(self, url: str, secrets: Sequence[str] = ()) -> None:
        self._url = url
        self._secrets = secrets
        self._secret_filter = SecretFilter(secrets)
        self._decoder = EventDecoder()
        self._think_tags: ThinkTagSplitter | None = ThinkTagSplitter()  # until the text has begun
        self._is_answer = False  # whether an event had a type
        self.collects_partial = True
        self._text: list[str] = []  # joined deltas
        self._texts: list[str] = []  # the deltas after them
        self._error: RawResponse | None = None
        self._message: RawResponse | None = None  # the last message event: an error if no text follows it
        self._texts_before_message = 0
        self._finished = False
        self._has_begun = False  # whether reasoning, an image or a tool call has arrived
        self.refusals: list[RawResponse] = []
        """Error events that are held back, as nothing of an answer has arrived: the request may be sent again."""
        self.wait: float | None = None
        """Seconds that the head of the response asks to wait."""
        self.endings = 0
        """How many times the answer may have ended: at a finish reason, and when more of it came after one."""

    @property
    def started(self) -> bool:
        """Whether an event has arrived."""
        return self._decoder.events > 0

    @property
    def has_begun(self) -> bool:
        """Whether text, reasoning, an image or a tool call has arrived."""
        return self._has_begun or any(self._texts)

    @property
    def done(self) -> bool:
        """Whether the server has marked the end of the answer."""
        return self._decoder.done

    def feed(self, chunk: bytes) -> list[RawResponse] | None:
        """Return the events that are complete with this chunk; ``None`` for b"", the end of the body."""
        return self._filter_and_note(self._split(self.translate(self._decoder.feed(chunk)))) if chunk else None

    def end(self, *, whole: bool) -> list[RawResponse]:
        """Return the events that the end of the body completes; ``whole`` says whether the body is complete."""
        last = self._split([*self.translate(self._decoder.flush()), *self.final_events(whole=whole)])
        events = self._filter_and_note([*last, *(self._think_tags.flush() if self._think_tags else ())])
        if self._decoder.damaged:
            debug.log(f"skipped {self._decoder.damaged} damaged lines of an answer")
        held = self._secret_filter.flush()
        self._texts += map(str, held)
        self._texts_before_message += len(held)  # this text belongs before the last message
        events += held
        if held and self.refusals:  # the text came before the error
            events += self.refusals
            self.refusals = []
        return events

    def error(self, failure: BackendError | None) -> BackendError | None:
        """Return the failure of the answer, if any: an error of the server's comes before one of the connection."""
        if event := self._error or (self._message if self._texts_before_message == len(self._texts) else None):
            failure = event_error(event, self._secrets, self.wait)
        elif self._finished or self.done:
            return None
        elif failure is None and not self._is_answer:
            failure = not_an_answer(self._url, self._decoder.start, self._secrets)
        elif failure is None and self._decoder.truncated:
            failure = ProtocolError("The answer broke off in the middle of an event: ask again")
        if failure is not None:
            failure.partial = "".join([*self._text, *self._texts]) if self.collects_partial else ""
        return failure

    def translate(self, events: list[RawResponse]) -> list[RawResponse]:
        """Return the events in the form of g4f's backend API; readers of other dialects override this."""
        return events

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
        events = self._secret_filter.filter(events)
        texts, was_finished = self._texts, self._finished
        for event in events:
            data = event._data
            if data.get("type") == "content" and type(text := data.get("content")) is str:  # nearly all events
                texts.append(text)
            else:
                self._note(event)
        self._is_answer = self._is_answer or any(event.type for event in events)
        if len(texts) > _MAX_TEXTS and self._message is None:
            if self.collects_partial:
                self._text.append("".join(texts))
            texts.clear()
            self._has_begun = True
        if self._finished and (not was_finished or any(map(_adds_to_answer, events))):
            self.endings += 1
        return self._hold_back(events) if self.refusals else events

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
        if kind in ("content", "reasoning", "tool_calls", "finish"):
            self._texts.append(str(event))
            self._finished = self._finished or kind == "finish"
            self._has_begun = self._has_begun or _adds_to_answer(event)
        elif kind == "message":
            self._message, self._texts_before_message = event, len(self._texts)
        elif kind in ("error", "auth") or (not kind and event.get("error")):
            self._error = event
            if not self.has_begun:
                self.refusals.append(event)


def _adds_to_answer(event: RawResponse) -> bool:
    """Whether an event has text, reasoning, an image or a tool call."""
    return bool(str(event) or reasoning_text(event) or urls_of(event) or event.get("tool_calls"))


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
