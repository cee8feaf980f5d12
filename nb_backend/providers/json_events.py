"""JSON texts to events: valid Unicode, no NaN, no end mark, nothing nested too deeply."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, TypeAlias

import orjson

from ..events import TEXT_KEYS, RawResponse, event_of
from ..transport.json_body import valid_unicode
from .json_pieces import MAX_DEPTH, JsonPieces, Rest

ERROR_NAME_BYTES = len(b"error") + 1  # names of this length are compared; a search in each name would take longer
_SHALLOW_BYTES = 2 * MAX_DEPTH  # a text of at most this many bytes cannot be nested too deeply

_GROUP = 8  # texts whose brackets are counted together: usual ones have no more than a dozen

NamedText: TypeAlias = tuple[bytes | None, bytes]
"""The name of an event (``b""`` if it has none; ``None`` for a line that is not part of an event) and its data."""


class JsonEvents:
    """Decodes JSON texts into events.

    A text is usually one object. It may also hold several, a part of one, or elements of an array.

    ``done`` says that the end mark was read; nothing after it becomes an event. ``skipped`` counts texts that are not
    JSON objects. ``pending_surrogates`` holds, by event type, a high surrogate at the end of a delta: a server may cut
    a character between two events. ``held`` holds the texts of an object that has begun and not ended.
    """

    def __init__(self) -> None:
        self.done = False
        self.skipped = 0
        self.pending_surrogates: dict[str, str] = {}
        self.held: list[NamedText] = []
        self._pieces = JsonPieces()

    @property
    def is_amid_a_text(self) -> bool:
        """Whether a character or an object has begun that a further text completes."""
        return bool(self.pending_surrogates or self.held)

    def decode(self, named_texts: Iterable[NamedText], events: list[RawResponse]) -> None:
        """Append the events of the texts; a name is the ``type`` of an object that has none."""
        texts = iter(named_texts)
        if self.done or (self.held and not self._read_pieces(texts, events)):
            return
        loads, new, pending, add = orjson.loads, object.__new__, self.pending_surrogates, events.append
        for name, text in texts:
            try:
                value, is_valid = loads(text), not pending
            except orjson.JSONDecodeError:
                value, is_valid = _loads_lenient(text), False
            if type(value) is not dict or (len(text) > _SHALLOW_BYTES and exceeds_depth(value, text)):
                if self._read_pieces(chain([(name, text)], texts), events):
                    continue
                return
            if name and (len(name) <= ERROR_NAME_BYTES or type(value.get("type")) is not str):
                value = _named(value, name)
            event = new(RawResponse)
            event._data = value if is_valid else self._repair_unicode(value)
            add(event)

    def end(self, events: list[RawResponse]) -> bool:
        """Append the last events; return whether the body has ended inside an object or an array."""
        found = len(events)
        is_within = bool(self.held) or (self._pieces.is_in_array and not self.done)
        self._drop_held(events)
        return is_within and len(events) == found

    def _read_pieces(self, texts: Iterator[NamedText], events: list[RawResponse]) -> bool:
        """Read texts until an object ends where its text ends; return False if no such text follows."""
        for name, text in texts:
            if _end_mark.fullmatch(text):
                self._drop_held(events)
                self.done = True
                return False
            if text.strip():
                self._read_piece(name, text, events)
            elif _is_error_name(name):
                self._add_damaged(name, text, events)
            if not self.held:
                return not self.done
        return False

    def _read_piece(self, name: bytes | None, text: bytes, events: list[RawResponse]) -> None:
        """Append the events of a text that is not one object."""
        objects, rest = self._pieces.feed(text, b"\n" if name is None else b"")
        if rest is Rest.NOT_CONTINUED:
            self._drop_held(events)
            objects, rest = self._pieces.feed(text, b"")
        for found in objects:
            self._add_object(self.held[0][0] if self.held else name, found, events)
            self.held = []
        if rest is Rest.STARTED:
            self.held.append((name, text))
        elif rest is Rest.DAMAGED:
            self._add_damaged(name, text, events)
        self.done = rest is Rest.END_MARK

    def _drop_held(self, events: list[RawResponse]) -> None:
        """Decode the held texts one by one: the object that the first of them has begun is damaged."""
        held, self.held = self.held, []
        self._pieces.drop()
        for number, (name, text) in enumerate(held):
            if number == 0 or _object(text) is None:
                self._add_damaged(name, text, events)
            else:
                self._add_object(name, text, events)

    def _add_object(self, name: bytes | None, text: bytes, events: list[RawResponse]) -> None:
        if (value := _object(text)) is None:
            self._add_damaged(name, text, events)
        else:
            events.append(event_of(self._repair_unicode(_named(value, name) if name else value)))

    def _add_damaged(self, name: bytes | None, text: bytes, events: list[RawResponse]) -> None:
        """Count a text that is not JSON; in an error event it is the message, and a sign of life says nothing."""
        if _is_error_name(name):
            events.append(event_of({"type": "error", "message": text.decode("utf-8", "replace").strip().strip('"')}))
        elif not _sign_of_life.fullmatch(text) and (not name or not _sign_of_life.fullmatch(name)):
            self.skipped += 1

    def flush(self) -> list[RawResponse]:
        """Return an event with U+FFFD for each surrogate whose other half has not come."""
        pending, self.pending_surrogates = self.pending_surrogates, {}
        return [RawResponse(type=kind, **{TEXT_KEYS[kind]: "\ufffd"}) for kind in pending]

    def _repair_unicode(self, value: dict[str, Any]) -> dict[str, Any]:
        """Make all text valid Unicode; a character that was cut between two events is in the second one."""
        kind = str(value.get("type"))
        key = TEXT_KEYS.get(kind)
        if key and isinstance(text := value.get(key), str):
            text = self.pending_surrogates.pop(kind, "") + text
            if "\ud800" <= text[-1:] <= "\udbff":
                self.pending_surrogates[kind] = text[-1]
                text = text[:-1]
            value = {**value, key: text}
        repaired: dict[str, Any] = valid_unicode(value)
        return repaired


_end_mark = re.compile(rb'\s*"?(?:\[DONE\]|DONE)"?\s*', re.IGNORECASE)
_sign_of_life = re.compile(rb"\W*(?:ping|pong|keep[-_ ]?alive|heart[-_ ]?beat|done|end|close|eof)\W*", re.IGNORECASE)
"""Data or the name of an event that servers send while they wait and when they end, and that is not JSON."""


def _is_error_name(name: bytes | None) -> bool:
    return name is not None and b"error" in name.lower()


def is_object(text: bytes) -> bool:
    """Whether a text is a JSON object."""
    return isinstance(_loads(text), dict)


def _object(text: bytes) -> dict[str, Any] | None:
    """Return the JSON object of a text, or ``None`` if it is not one or nested too deeply."""
    value = _loads(text)
    return value if isinstance(value, dict) and not exceeds_depth(value, text) else None


def _named(value: dict[str, Any], name: bytes) -> dict[str, Any]:
    """Return the object with the event's name as its type; an error of another type becomes ``error`` of the event."""
    kind = name.strip().decode("utf-8", "replace")
    if not isinstance(own := value.get("type"), str):
        return {**value, "type": kind} if kind else value
    is_error = kind.lower() == "error" and own not in ("error", "auth")
    return {"type": "error", "error": value} if is_error else value


def exceeds_depth(value: Any, text: bytes) -> bool:
    """Whether a JSON value, read from this text, is nested more than ``MAX_DEPTH`` deep."""
    if _brackets(text) <= MAX_DEPTH:
        return False
    level = [value]
    for _ in range(MAX_DEPTH):
        inner = (item.values() if isinstance(item, dict) else item for item in level)
        level = [item for items in inner for item in items if isinstance(item, dict | list)]
    return bool(level)


def any_exceeds_depth(values: list[Any], texts: list[bytes]) -> bool:
    """Whether one of many JSON values is nested more than ``MAX_DEPTH`` deep."""
    if max(map(len, texts)) <= _SHALLOW_BYTES:
        return False
    for at in range(0, len(texts), _GROUP):
        group = texts[at : at + _GROUP]
        if _brackets(b"".join(group)) > MAX_DEPTH and any(map(exceeds_depth, values[at : at + _GROUP], group)):
            return True
    return False


def _brackets(text: bytes) -> int:
    """Return how many brackets open in a text, in a quarter of the time of ``count``."""
    return len(text) - len(text.replace(b"{", b"").replace(b"[", b""))


def _loads(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _loads_lenient(text)


def _loads_lenient(text: bytes) -> Any:
    """Parse what orjson refuses but servers send: damaged UTF-8, lone surrogates, NaN, raw control characters."""
    try:
        return _LENIENT.decode(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


_LENIENT = json.JSONDecoder(parse_constant=lambda _: None, parse_float=_finite, strict=False)
