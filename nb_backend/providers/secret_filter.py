"""What was sent in secret and comes back: servers repeat keys, in logs, in errors, in an answer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ..events import TEXT_KEYS, RawResponse, content_text
from ..redaction import is_worth_hiding, spellings

HELD = 4  # characters that a text has in common with the beginning of a secret when its end is held back
_STARS = "***"


class SecretFilter:
    """Takes secrets out of events, also one that comes in several pieces of text.

    The end of a piece that may be the beginning of a secret waits for what follows it, in the event of the next piece.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        spelt = {one for secret in filter(is_worth_hiding, secrets) for one in spellings(secret)}
        self._secrets = sorted(spelt, key=len, reverse=True)
        self._any = re.compile("|".join(map(re.escape, self._secrets))) if spelt else None
        self._ends: dict[
            str, tuple[str, str]
        ] = {}  # of a secret's beginning, by type of event: what is given, and held

    def filter(self, events: list[RawResponse]) -> list[RawResponse]:
        """Give the events without secrets."""
        if self._any is None:
            return events
        at = 0
        given = []
        while at < len(events) and self._ends:
            given.append(self.without(events[at]))
            at += 1
        rest = events[at:] if at else events
        return [*given, *(self._at_once(rest) or map(self.without, rest))]

    def _at_once(self, events: list[RawResponse]) -> list[RawResponse] | None:
        """Give the events if their texts are plain pieces with nothing of a secret, as nearly always; else ``None``."""
        given: list[RawResponse] = []
        texts: dict[str, list[str]] = {kind: [] for kind in TEXT_KEYS}
        for event in events:
            data = event._data
            kind = data.get("type")
            if type(kind) is str and (key := TEXT_KEYS.get(kind)):
                if len(data) != 2 or type(text := data.get(key)) is not str:
                    return None
                texts[kind].append(text)
                given.append(event)
            else:
                given.append(self.without(event))
        for pieces in texts.values():
            text = "".join(pieces)
            if self._found(text) or self._begun(text, 0) < len(text):
                return None
        return given

    def without(self, event: RawResponse) -> RawResponse:
        """Give the event without secrets."""
        if self._any is None:
            return event
        kind = event.type
        key = TEXT_KEYS.get(kind)
        data = event.get_dict()
        text = content_text(data.get(key)) if key else ""  # of a list of parts, too
        if not key or not text:
            return RawResponse(**self._cleaned(data))
        if not (kind in self._ends or self._found(text) or self._begun(text, 0) < len(text)):
            plain = len(data) == 2 and isinstance(data[key], str)  # as nearly every event
            return event if plain else RawResponse(**self._cleaned(data))
        return RawResponse(**self._cleaned(data | {key: ""}) | {key: self._continued(kind, text)})

    def flush(self) -> list[RawResponse]:
        """Give what still waits, at the end."""
        ends, self._ends = self._ends, {}
        return [RawResponse(**{"type": kind, TEXT_KEYS[kind]: held}) for kind, (_, held) in ends.items() if held]

    def _found(self, text: str) -> bool:
        return self._any is not None and self._any.search(text) is not None

    def _cleaned(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._any.sub(_STARS, value) if self._any else value
        if isinstance(value, dict):
            return {self._cleaned(key): self._cleaned(item) for key, item in value.items()}
        return [self._cleaned(item) for item in value] if isinstance(value, list) else value

    def _continued(self, kind: str, text: str) -> str:
        """Give what of a text's next piece can be given."""
        given, held = self._ends.pop(kind, ("", ""))
        text, at, pieces = given + held + text, len(given), []
        start = 0  # of what follows the last secret
        for found in self._any.finditer(text) if self._any else ():
            pieces += [text[at : found.start()], _STARS]
            at = start = found.end()
        begun = self._begun(text, start)
        until = max(at, begun if len(text) - begun >= HELD else len(text))
        if begun < len(text):
            self._ends[kind] = text[begun:until], text[until:]
        return "".join([*pieces, text[at:until]])

    def _begun(self, text: str, start: int) -> int:
        """Find where the longest end of a text begins that is a secret's beginning; its length if there is none."""
        first = len(text)
        for secret in self._secrets:
            at = text.find(secret[0], max(start, len(text) - len(secret) + 1))
            while 0 <= at < first and not secret.startswith(text[at:]):
                at = text.find(secret[0], at + 1)
            first = at if 0 <= at < first else first
        return first
