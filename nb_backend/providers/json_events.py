"""JSON texts to events: valid Unicode, no NaN, no end mark, nothing nested too deeply."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import orjson

from ..events import TEXT_KEYS, RawResponse
from ..transport.json_body import valid_unicode

END_MARK = b"[DONE]"  # the last data of OpenAI-compatible servers
MAX_DEPTH = 100  # objects and lists inside each other; code that walks far deeper ones raises RecursionError
SHALLOW_BYTES = 2 * MAX_DEPTH  # a text of at most this many bytes cannot be nested too deeply


class JsonEvents:
    """Decodes JSON objects into events.

    ``done`` says that the end mark was read; nothing after it becomes an event. ``skipped`` counts texts that are not
    JSON objects. ``pending_surrogates`` holds, by event type, a high surrogate at the end of a delta: a server may cut
    a character between two events.
    """

    def __init__(self) -> None:
        self.done = False
        self.skipped = 0
        self.pending_surrogates: dict[str, str] = {}

    def decode(self, named_texts: Iterable[tuple[bytes, bytes]], events: list[RawResponse]) -> None:
        """Append the event of each (event name, JSON text); a name is the ``type`` of an object that has none."""
        if self.done:
            return
        loads, new, pending, add = orjson.loads, object.__new__, self.pending_surrogates, events.append
        for name, text in named_texts:
            try:
                value, is_valid = loads(text), not pending
            except orjson.JSONDecodeError:
                value, is_valid = _loads_lenient(text), False
            if type(value) is not dict or (len(text) > SHALLOW_BYTES and exceeds_depth(value, text)):
                if text.strip() == END_MARK:
                    self.done = True
                    return
                if text.strip():
                    self.skipped += 1
                continue
            if name and type(value.get("type")) is not str and (kind := name.strip()):
                value["type"] = kind.decode("utf-8", "replace")
            event = new(RawResponse)
            event._data = value if is_valid else self._repair_unicode(value)
            add(event)

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


def is_object(text: bytes) -> bool:
    """Whether a text is a JSON object."""
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return isinstance(_loads_lenient(text), dict)


def exceeds_depth(value: Any, text: bytes) -> bool:
    """Whether a JSON value, read from this text, is nested more than ``MAX_DEPTH`` deep."""
    if text.count(b"{") + text.count(b"[") <= MAX_DEPTH:
        return False
    level = [value]
    for _ in range(MAX_DEPTH):
        inner = (item.values() if isinstance(item, dict) else item for item in level)
        level = [item for items in inner for item in items if isinstance(item, dict | list)]
    return bool(level)


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
