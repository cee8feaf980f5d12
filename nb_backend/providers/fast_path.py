"""The usual framings of events, decoded without splitting the text into lines.

Only for speed: ``EventDecoder`` decodes every text to the same events line by line, which takes two to three
times as long.
"""

from __future__ import annotations

import re
from itertools import repeat

import orjson

from ..events import RawResponse
from ..transport import lines
from .json_events import SHALLOW_BYTES, JsonEvents, exceeds_depth

_MAX_TEXT = 2**16  # bytes; a longer text is mostly one long line, which is not searched again with each chunk
_MAX_HELD = 2**12  # bytes of an incomplete event that are decoded again with the next chunk
_FIRST_BYTES = (b"{", b"e", b"d")  # of a JSON line, of ``event:`` and of ``data:``
_named_event = re.compile(rb"^(?:event: ([^\n]*+)\n)?data: ([^\n]*+)\n\n", re.MULTILINE)


class FastPath:
    """Decodes texts that are nothing but JSON lines, or nothing but events with at most one name and one data line.

    ``used`` says whether it has decoded anything; ``held`` is the start of an event that is not complete.
    """

    def __init__(self, json_events: JsonEvents) -> None:
        self.used = False
        self._json_events = json_events
        self.held = b""

    def decode(self, chunk: bytes, events: list[RawResponse]) -> bytes:
        """Append the events of a chunk that starts between two events; return the bytes to decode line by line."""
        text, self.held = self.held + chunk, b""
        if text[:1] not in _FIRST_BYTES or len(text) > min(_MAX_TEXT, lines.MAX_LINE) or b"\r" in text:
            return text
        separator = b"\n" if text[:1] == b"{" else b"\n\n"
        end = text.rfind(separator) + len(separator) if separator in text else 0
        if end:
            if not self._decode_complete(text, end, events):
                return text
            self.used = True
            text = text[end:]
        if _is_incomplete_event(text) and not self._json_events.done:
            self.held, text = text, b""
        return text

    def flush(self) -> bytes:
        """Return the held bytes, to decode line by line."""
        held, self.held = self.held, b""
        return held

    def _decode_complete(self, text: bytes, end: int, events: list[RawResponse]) -> bool:
        """Decode the text up to ``end``; return False, and decode nothing, if it has anything but whole events."""
        objects = _unnamed(text, end)
        if not objects:
            found = _named_event.findall(text)
            if sum([len(name) + len(data) + (16 if name else 8) for name, data in found]) != end:
                return False
            self._json_events.decode(found, events)
        elif self._json_events.pending_surrogates or self._json_events.held or not _load_all(objects, events):
            self._json_events.decode(zip(repeat(None if text[:1] == b"{" else b""), objects), events)
        return True


def _is_incomplete_event(text: bytes) -> bool:
    """Whether the text is empty, or the start of an event that would give nothing if it ended here."""
    newlines = text.count(b"\n")
    gives_nothing = newlines < 2 or (newlines == 2 and text.startswith(b"event: ") and b"\ndata: " in text)
    return gives_nothing and text[:1] in (b"", *_FIRST_BYTES) and len(text) <= _MAX_HELD


def _unnamed(text: bytes, end: int) -> list[bytes]:
    """Return the JSON texts up to ``end`` if each is a line, or an event without a name; else an empty list."""
    if text.startswith(b"data: "):
        found = text[6 : end - 2].split(b"\n\ndata: ")
        return found if text.count(b"\n", 0, end) == 2 * len(found) else []
    if text.startswith(b"{"):
        found = text[: end - 1].split(b"\n")
        return found if text.count(b"\n{", 0, end) == len(found) - 1 else []
    return []


def _load_all(texts: list[bytes], events: list[RawResponse]) -> bool:
    """Append an event for each text; return False, and append nothing, if one is not an object in valid Unicode."""
    try:
        values = [*map(orjson.loads, texts)]
    except orjson.JSONDecodeError:
        return False
    if {*map(type, values)} != {dict}:
        return False
    if max(map(len, texts)) > SHALLOW_BYTES and any(map(exceeds_depth, values, texts)):
        return False
    new, add = object.__new__, events.append
    for value in values:
        event = new(RawResponse)
        event._data = value
        add(event)
    return True
