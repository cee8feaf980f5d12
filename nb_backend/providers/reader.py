"""Reads the events of an answer, and tells how it ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import AuthError, BackendError, ProtocolError, RateLimitError
from ..events import RawResponse
from ..transport.errors import STATUS_HINTS, error_class, not_an_answer, one_line
from .decoder import EventDecoder
from .secret_filter import SecretFilter

_MANY_TEXTS = 1000


class ResponseReader:
    """Understands an answer piece by piece, and in the end how it ended. ``secrets`` are kept out of what it says."""

    def __init__(self, url: str, secrets: Sequence[str] = ()) -> None:
        self._url = url
        self._secrets = secrets
        self._echo = SecretFilter(secrets)
        self._decoder = EventDecoder()
        self._understood = False  # an event was a backend's
        self.collects_partial = True
        self._text: list[str] = []
        self._texts: list[str] = []  # behind it, of the last events
        self._error: RawResponse | None = None
        self._message: RawResponse | None = None  # an error if nothing of the answer follows it
        self._before = 0  # so many texts
        self._finished = False

    @property
    def started(self) -> bool:
        """Whether the server had begun to answer."""
        return self._decoder.events > 0

    @property
    def done(self) -> bool:
        """Whether the server says that nothing follows."""
        return self._decoder.done

    def feed(self, chunk: bytes) -> list[RawResponse] | None:
        """Give the events that are complete with these bytes; None if there are none any more."""
        return self._filter_and_note(self.translate(self._decoder.feed(chunk))) if chunk else None

    def end(self, *, whole: bool) -> list[RawResponse]:
        """Give the events that only the end completes; ``whole`` says that the body is not a broken one."""
        events = self._filter_and_note([*self.translate(self._decoder.flush()), *self.final_events(whole=whole)])
        held = self._echo.flush()
        self._texts += map(str, held)
        self._before += len(held)  # it came before a message that was noted last, too
        return events + held

    def error(self, failure: BackendError | None) -> BackendError | None:
        """Say what went wrong, if anything: what the server says goes before how the connection fared."""
        if said := self._error or (self._message if self._before == len(self._texts) else None):
            failure = event_error(said, self._secrets)
        elif self._finished or self.done:
            return None
        elif failure is None and not self._understood:
            failure = not_an_answer(self._url, self._decoder.start, self._secrets)
        elif failure is None and self._decoder.truncated:
            failure = ProtocolError("The answer broke off in the middle of an event: ask again")
        if failure is not None:
            failure.partial = "".join([*self._text, *self._texts]) if self.collects_partial else ""
        return failure

    def translate(self, events: list[RawResponse]) -> list[RawResponse]:
        """Give the events of a backend for those that came; a provider with another dialect says how."""
        return events

    def final_events(self, *, whole: bool) -> list[RawResponse]:
        """Give the events that are known only at the end of the body; ``whole`` says that it is not a broken one."""
        return []

    def _filter_and_note(self, events: list[RawResponse]) -> list[RawResponse]:
        events = self._echo.filter(events)
        texts = self._texts
        for event in events:
            data = event._data
            if data.get("type") == "content" and type(text := data.get("content")) is str:  # as nearly every event
                texts.append(text)
            else:
                self._note(event)
        self._understood = self._understood or any(event.type for event in events)
        if len(texts) > _MANY_TEXTS and self._message is None:
            if self.collects_partial:
                self._text.append("".join(texts))  # by themselves short ones take ten times their length
            texts.clear()
        return events

    def _note(self, event: RawResponse) -> None:
        kind = event.type
        if kind in ("content", "reasoning", "tool_calls", "finish"):
            self._texts.append(str(event))
            self._finished = self._finished or kind == "finish"
        elif kind == "message":
            self._message, self._before = event, len(self._texts)
        elif kind in ("error", "auth") or (not kind and event.get("error")):
            self._error = event


_KIND_HINTS = {AuthError: STATUS_HINTS[401], RateLimitError: STATUS_HINTS[429]}


def event_error(event: RawResponse, secrets: Iterable[str] = ()) -> BackendError:
    """Say what an ``error``, ``auth`` or ``message`` event means."""
    detail = event.get("error")
    fields = detail if isinstance(detail, dict) else {"type": detail}
    name = f"{fields.get('type')} {fields.get('code')}"
    message = event.get("message") or fields.get("message") or detail or event.get("content") or event.get("auth")
    code = fields.get("code", event.get("code"))
    kind = AuthError if event.type == "auth" else error_class(code if isinstance(code, int) else 0, name)
    said = one_line(message, secrets) or "The server says that it failed, and not why: ask again"
    hint = _KIND_HINTS.get(kind)
    return kind(f"{said.rstrip('.')}: {hint}" if hint else said)
