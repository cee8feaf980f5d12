"""Bytes to events."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from itertools import repeat
from typing import Any

import orjson

from ..events import TEXT_KEYS, RawResponse
from ..transport import lines
from ..transport.json_body import valid_unicode
from ..transport.lines import LineDecoder

DONE = b"[DONE]"  # the end mark of OpenAI-compatible servers
MAX_DEPTH = 100  # objects and lists within one another; far deeper ones end in a RecursionError somewhere
_SHALLOW = 2 * MAX_DEPTH  # bytes that cannot be deeper
_BOM = b"\xef\xbb\xbf"
_BRACE = ord("{")
_LONG, _SHORT = 2**16, 2**12  # bytes
_fast_event = re.compile(rb"^(?:event: ([^\n]*+)\n)?data: ([^\n]*+)\n\n", re.MULTILINE)


class EventDecoder:
    """Turns the bytes of a body into events, whatever their cuts.

    ``events`` counts what was delivered; ``start`` keeps the first bytes, to say what it was if it was no answer;
    ``done`` says that the end mark came, and ``truncated``, after ``flush``, that the body ended within an object.
    """

    def __init__(self) -> None:
        self.events = 0
        self.done = False
        self.truncated = False
        self.start = b""
        self._lines = LineDecoder()
        self._first_line = True
        self._name = b""
        self._data: list[bytes] = []
        self._data_size = 0
        self._skipped = 0
        self._partial_event = b""  # an event as far as it is there
        self._pending_surrogates: dict[str, str] = {}  # type of event: a high surrogate that waits for its other half

    @property
    def damaged(self) -> int:
        """How many lines had to be skipped."""
        return self._skipped + self._lines.oversized

    def feed(self, chunk: bytes) -> list[RawResponse]:
        """Give the events that are complete with this chunk; none behind the end mark, in one piece with it or not."""
        if len(self.start) < 512:
            self.start += chunk[: 512 - len(self.start)]
        events: list[RawResponse] = []
        if self._partial_event:
            chunk, self._partial_event = self._partial_event + chunk, b""
        if not (self.done or self._name or self._data or self._lines.is_within):
            chunk = self._decode_fast(chunk, events)
        if chunk:
            self._take(self._lines.feed(chunk), events)
        self.events += len(events)
        return events

    def flush(self) -> list[RawResponse]:
        """Give what the end of the body completes: a last line or event without its line end."""
        events: list[RawResponse] = []
        begun, self._partial_event = self._partial_event, b""
        self._take(self._lines.feed(begun), events)
        skipped = self._skipped
        rest = self._lines.flush()
        if self._first_line:
            rest = rest.removeprefix(_BOM)
        if rest:
            self._line(rest, events)
        half = b"".join(self._data) or rest
        self._dispatch(events)
        self.events += len(events)
        self.truncated = self._skipped > skipped and b"{" in half
        events += [RawResponse(type=kind, **{TEXT_KEYS[kind]: "\ufffd"}) for kind in self._pending_surrogates]
        self._pending_surrogates.clear()
        return events

    def _decode_fast(self, text: bytes, events: list[RawResponse]) -> bytes:
        """Take the events of a text that has nothing else, as most have; give what is to be read line by line.

        Only for speed. An event that has begun waits for its rest here, if that could not give an event by itself.
        """
        if text[:1] not in (b"{", b"e", b"d") or len(text) > min(_LONG, lines.MAX_LINE) or b"\r" in text:
            return text
        mark = b"\n" if text[:1] == b"{" else b"\n\n"
        end = text.rfind(mark) + len(mark) if mark in text else 0
        if end:
            nameless = _nameless(text, end)
            if not nameless:
                found = _fast_event.findall(text)
                if sum([len(name) + len(data) + (16 if name else 8) for name, data in found]) != end:
                    return text
                self._objects(found, events)
            elif self._pending_surrogates or not _load_all(nameless, events):
                self._objects(zip(repeat(b""), nameless), events)
            self._first_line = False
            text = text[end:]
        ends = text.count(b"\n")
        gives_nothing = ends < 2 or (ends == 2 and text.startswith(b"event: ") and b"\ndata: " in text)
        if gives_nothing and text[:1] in (b"", b"{", b"e", b"d") and len(text) <= _SHORT:
            self._partial_event, text = text, b""
        return text

    def _take(self, lines: list[bytes], events: list[RawResponse]) -> None:
        if self._first_line and lines:
            self._first_line = False
            lines[0] = lines[0].removeprefix(_BOM)
        data = self._data
        for line in lines:
            if not line:
                if len(data) == 1:
                    name, self._name = self._name, b""
                    self._object(data.pop(), name, events)
                else:
                    self._dispatch(events)
            elif line[0] == _BRACE:
                self._object(line, b"", events)
            elif not data and line.startswith(b"data: "):
                data.append(line[6:])
            else:
                self._line(line, events)

    def _line(self, line: bytes, events: list[RawResponse]) -> None:
        if line.startswith(b"data:"):
            self._add_data(line[6:] if line[5:6] == b" " else line[5:], events)
        elif line.startswith(b"event:"):
            self._name = line[6:].strip()
        elif line.startswith((b":", b"id:", b"retry:")) or line in (b"data", b"event", b"id", b"retry"):
            pass
        else:
            self._object(line, b"", events)

    def _add_data(self, line: bytes, events: list[RawResponse]) -> None:
        data = self._data
        if len(data) == 1 and isinstance(_read(data[0]), dict):  # a blank line forgotten before this
            self._dispatch(events)
        if len(data) < 2:
            self._data_size = sum(map(len, data)) + len(data)
        data.append(line)
        self._data_size += len(line) + 1
        if self._data_size > lines.MAX_LINE:
            data.clear()
            self._skipped += 1

    def _dispatch(self, events: list[RawResponse]) -> None:
        data, name = self._data.copy(), self._name
        self._data.clear()
        self._name = b""
        joined = b"\n".join(data)
        if len(data) > 1 and not isinstance(_read(joined), dict):  # the same, after a damaged line
            for line in data:
                self._object(line, name, events)
        elif data:
            self._object(joined, name, events)

    def _object(self, text: bytes, name: bytes, events: list[RawResponse]) -> None:
        self._objects([(name, text)], events)

    def _objects(self, found: Iterable[tuple[bytes, bytes]], events: list[RawResponse]) -> None:
        if self.done:
            return
        loads, new, halves, add = orjson.loads, object.__new__, self._pending_surrogates, events.append
        for name, text in found:
            try:
                value, clean = loads(text), not halves
            except orjson.JSONDecodeError:
                value, clean = _lenient(text), False
            if type(value) is not dict or (len(text) > _SHALLOW and _exceeds_depth(value, text)):
                if text.strip() == DONE:
                    self.done = True
                    return
                if text.strip():
                    self._skipped += 1
                continue
            if name and type(value.get("type")) is not str and (kind := name.strip()):
                value["type"] = kind.decode("utf-8", "replace")
            event = new(RawResponse)
            event._data = value if clean else self._rejoin(value)
            add(event)

    def _rejoin(self, value: dict[str, Any]) -> dict[str, Any]:
        """Make all text valid Unicode; a character whose two surrogates came in two events is whole in the second."""
        kind = str(value.get("type"))
        key = TEXT_KEYS.get(kind)
        if key and isinstance(text := value.get(key), str):
            text = self._pending_surrogates.pop(kind, "") + text
            if "\ud800" <= text[-1:] <= "\udbff":
                self._pending_surrogates[kind] = text[-1]
                text = text[:-1]
            value = {**value, key: text}
        mended: dict[str, Any] = valid_unicode(value)
        return mended


def _nameless(text: bytes, end: int) -> list[bytes]:
    """Give the objects in a text up to an end if each is a line, or an event without a name; else none."""
    if text.startswith(b"data: "):
        found = text[6 : end - 2].split(b"\n\ndata: ")
        return found if text.count(b"\n", 0, end) == 2 * len(found) else []
    if text.startswith(b"{"):
        found = text[: end - 1].split(b"\n")
        return found if text.count(b"\n{", 0, end) == len(found) - 1 else []
    return []


def _load_all(lines: list[bytes], events: list[RawResponse]) -> bool:
    """Take the objects of lines, if each line is one; say whether that is so."""
    try:
        values = [*map(orjson.loads, lines)]
    except orjson.JSONDecodeError:
        return False
    if {*map(type, values)} != {dict}:
        return False
    if max(map(len, lines)) > _SHALLOW and any(map(_exceeds_depth, values, lines)):
        return False
    new, add = object.__new__, events.append
    for value in values:
        event = new(RawResponse)
        event._data = value
        add(event)
    return True


def _read(text: bytes) -> Any:
    """Read JSON, ``None`` if it is none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _lenient(text)


def _lenient(text: bytes) -> Any:
    """Read what orjson refuses and a server may still send: damaged UTF-8, half surrogates, NaN, raw control signs."""
    try:
        return _LENIENT.decode(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


_LENIENT = json.JSONDecoder(parse_constant=lambda _: None, parse_float=_finite, strict=False)


def _exceeds_depth(value: Any, text: bytes) -> bool:
    if text.count(b"{") + text.count(b"[") <= MAX_DEPTH:
        return False
    level = [value]
    for _ in range(MAX_DEPTH):
        inner = (item.values() if isinstance(item, dict) else item for item in level)
        level = [item for items in inner for item in items if isinstance(item, dict | list)]
    return bool(level)
