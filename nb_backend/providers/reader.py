"""Events of an answer, and how the answer ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .. import debug
from ..errors import AuthError, BackendError, ProtocolError, RateLimitError
from ..events import RawResponse
from ..transport.errors import STATUS_HINTS, error_class, not_an_answer, one_line
from .decoder import EventDecoder
from .secret_filter import SecretFilter

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
        self._is_answer = False  # whether an event had a type
        self.collects_partial = True
        self._text: list[str] = []  # joined deltas
        self._texts: list[str] = []  # the deltas after them
        self._error: RawResponse | None = None
        self._message: RawResponse | None = None  # the last message event: an error if no text follows it
        self._texts_before_message = 0
        self._finished = False

    @property
    def started(self) -> bool:
        """Whether an event has arrived."""
        return self._decoder.events > 0

    @property
    def done(self) -> bool:
        """Whether the server has marked the end of the answer."""
        return self._decoder.done

    def feed(self, chunk: bytes) -> list[RawResponse] | None:
        """Return the events that are complete with this chunk; ``None`` for b"", the end of the body."""
        return self._filter_and_note(self.translate(self._decoder.feed(chunk))) if chunk else None

    def end(self, *, whole: bool) -> list[RawResponse]:
        """Return the events that the end of the body completes; ``whole`` says whether the body is complete."""
        events = self._filter_and_note([*self.translate(self._decoder.flush()), *self.final_events(whole=whole)])
        if self._decoder.damaged:
            debug.log(f"skipped {self._decoder.damaged} damaged lines of an answer")
        held = self._secret_filter.flush()
        self._texts += map(str, held)
        self._texts_before_message += len(held)  # this text belongs before the last message
        return events + held

    def error(self, failure: BackendError | None) -> BackendError | None:
        """Return the failure of the answer, if any: an error of the server's comes before one of the connection."""
        if event := self._error or (self._message if self._texts_before_message == len(self._texts) else None):
            failure = event_error(event, self._secrets)
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

    def _filter_and_note(self, events: list[RawResponse]) -> list[RawResponse]:
        events = self._secret_filter.filter(events)
        texts = self._texts
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
        return events

    def _note(self, event: RawResponse) -> None:
        kind = event.type
        if kind in ("content", "reasoning", "tool_calls", "finish"):
            self._texts.append(str(event))
            self._finished = self._finished or kind == "finish"
        elif kind == "message":
            self._message, self._texts_before_message = event, len(self._texts)
        elif kind in ("error", "auth") or (not kind and event.get("error")):
            self._error = event


_KIND_HINTS = {AuthError: STATUS_HINTS[401], RateLimitError: STATUS_HINTS[429]}


def event_error(event: RawResponse, secrets: Iterable[str] = ()) -> BackendError:
    """Return the ``BackendError`` for an ``error``, ``auth`` or ``message`` event."""
    detail = event.get("error")
    fields = detail if isinstance(detail, dict) else {"type": detail}
    name = f"{fields.get('type')} {fields.get('code')}"
    message = event.get("message") or fields.get("message") or detail or event.get("content") or event.get("auth")
    code = fields.get("code", event.get("code"))
    kind = AuthError if event.type == "auth" else error_class(code if isinstance(code, int) else 0, name)
    text = one_line(message, secrets) or "The server reported an error without a message: ask again"
    hint = _KIND_HINTS.get(kind)
    return kind(f"{text.rstrip('.')}: {hint}" if hint else text)
