"""Mask keys in events: servers repeat them in logs, in errors and in answers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ..events import TEXT_KEYS, RawResponse, content_text, with_token
from ..redaction import is_worth_hiding, spellings

_MIN_OVERLAP = 4  # characters: the end of a text is held back if at least this many could start a secret
_STARS = "***"


class SecretFilter:
    """Masks secrets in events, also a secret that is cut into several deltas.

    The end of a delta that may be the start of a secret is held back and added to the next delta.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        spelled = {one for secret in filter(is_worth_hiding, secrets) for one in spellings(secret)}
        self._secrets = sorted(spelled, key=len, reverse=True)
        self._any = re.compile("|".join(map(re.escape, self._secrets))) if spelled else None
        # the start of a secret at the end of a text, by event type: what was returned, and what is held back
        self._ends: dict[str, tuple[str, str]] = {}

    def passes(self, text: str) -> bool:
        """Whether text deltas that make up this text can be returned unchanged."""
        return self._any is None or not (
            self._ends or self._has_secret(text) or self._start_of_secret(text, 0) < len(text)
        )

    def filter(self, events: list[RawResponse]) -> list[RawResponse]:
        """Return the events with secrets masked."""
        if self._any is None:
            return events
        at = 0
        filtered = []
        while at < len(events) and self._ends:
            filtered.append(self.without(events[at]))
            at += 1
        rest = events[at:] if at else events
        return [*filtered, *(self._filter_together(rest) or map(self.without, rest))]

    def _filter_together(self, events: list[RawResponse]) -> list[RawResponse] | None:
        """Return the events if their texts hold no part of a secret, as nearly always; else ``None``."""
        filtered: list[RawResponse] = []
        texts: dict[str, list[str]] = {kind: [] for kind in TEXT_KEYS}
        for event in events:
            data = event._data
            kind = data.get("type")
            if type(kind) is str and (key := TEXT_KEYS.get(kind)):
                if len(data) != 2 or type(text := data.get(key)) is not str:
                    return None
                texts[kind].append(text)
                filtered.append(event)
            elif kind is None and "reasoning" in data:
                return None
            else:
                filtered.append(self.without(event))
        for pieces in texts.values():
            text = "".join(pieces)
            if self._has_secret(text) or self._start_of_secret(text, 0) < len(text):
                return None
        return filtered

    def without(self, event: RawResponse) -> RawResponse:
        """Return the event with secrets masked."""
        if self._any is None:
            return event
        data = with_token(event.get_dict())
        kind = str(data.get("type"))
        key = TEXT_KEYS.get(kind)
        text = content_text(data.get(key)) if key else ""  # content may also be a list of parts
        if not key or not text:
            return RawResponse(**self._masked(data))
        if not (kind in self._ends or self._has_secret(text) or self._start_of_secret(text, 0) < len(text)):
            plain = len(data) == 2 and isinstance(data[key], str)  # nearly all events
            return event if plain else RawResponse(**self._masked(data))
        return RawResponse(**self._masked(data | {key: ""}) | {key: self._mask_delta(kind, text)})

    def flush(self) -> list[RawResponse]:
        """Return events with the texts that are still held back."""
        ends, self._ends = self._ends, {}
        return [RawResponse(**{"type": kind, TEXT_KEYS[kind]: held}) for kind, (_, held) in ends.items() if held]

    def _has_secret(self, text: str) -> bool:
        return self._any is not None and self._any.search(text) is not None

    def _masked(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._any.sub(_STARS, value) if self._any else value
        if isinstance(value, dict):
            return {self._masked(key): self._masked(item) for key, item in value.items()}
        return [self._masked(item) for item in value] if isinstance(value, list) else value

    def _mask_delta(self, kind: str, text: str) -> str:
        """Return the next delta of a text, with secrets masked, without the end that must be held back."""
        returned, held = self._ends.pop(kind, ("", ""))
        text, at, pieces = returned + held + text, len(returned), []
        start = 0  # of the text after the last secret
        for found in self._any.finditer(text) if self._any else ():
            pieces += [text[at : found.start()], _STARS]
            at = start = found.end()
        end = self._start_of_secret(text, start)
        until = max(at, end if len(text) - end >= _MIN_OVERLAP else len(text))
        if end < len(text):
            self._ends[kind] = text[end:until], text[until:]
        return "".join([*pieces, text[at:until]])

    def _start_of_secret(self, text: str, start: int) -> int:
        """Return the index of the longest end of a text that is the start of a secret; the text's length if none is."""
        first = len(text)
        for secret in self._secrets:
            at = text.find(secret[0], max(start, len(text) - len(secret) + 1))
            while 0 <= at < first and not secret.startswith(text[at:]):
                at = text.find(secret[0], at + 1)
            first = at if 0 <= at < first else first
        return first
