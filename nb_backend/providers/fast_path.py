"""The usual framings of events, decoded without splitting the text into lines.

Only for speed: ``EventDecoder`` decodes every text to the same events line by line, which takes two to three
times as long.
"""

from __future__ import annotations

import re
from itertools import repeat
from operator import itemgetter
from typing import Any

import orjson

from ..events import RawResponse
from ..transport import lines
from .json_events import ERROR_NAME_BYTES, JsonEvents, NamedText, any_exceeds_depth

_MAX_TEXT = 2**16  # bytes; a longer text is mostly one long line, which is not searched again with each chunk
_MAX_HELD = 2**12  # bytes of an incomplete event that are decoded again with the next chunk
_FEW = 4  # events that are decoded one by one in less time than together
_LF, _CR = b"\n\r"
_FIRST_BYTES = (b"{", b"e", b"d")  # of a JSON line, of ``event:`` and of ``data:``
_named_event = re.compile(rb"^(?:event: ([^\n]*+)\n)?data: ([^\n]*+)\n\n", re.MULTILINE)
_type_of = itemgetter("type")


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
        if text[:1] not in _FIRST_BYTES or len(text) > min(_MAX_TEXT, lines.MAX_LINE):
            return text
        line_end = b"\r\n" if b"\r" in text else b"\n"
        separator = line_end if text[:1] == b"{" else line_end * 2
        end = text.rfind(separator) + len(separator) if separator in text else 0
        if end:
            if not self._decode_complete(text, end, line_end, events):
                return text
            self.used = True
            text = text[end:]
        if text and _is_incomplete_event(text) and not self._json_events.done:
            self.held, text = text, b""
        return text

    def flush(self) -> bytes:
        """Return the held bytes, to decode line by line."""
        held, self.held = self.held, b""
        return held

    def _decode_complete(self, text: bytes, end: int, line_end: bytes, events: list[RawResponse]) -> bool:
        """Decode the text up to ``end``; return False, and decode nothing, if it has anything but whole events."""
        name, objects = _alike(text, end, line_end)
        if not objects:
            if not (found := _named(text, end, line_end)):
                return False
            self._json_events.decode(found, events)
        elif len(objects) < _FEW or self._json_events.is_amid_a_text or not _load_all(name, objects, events):
            self._json_events.decode(zip(repeat(name), objects), events)
        return True


def _is_incomplete_event(text: bytes) -> bool:
    """Whether the text is the start of an event that would give nothing if it ended here."""
    if text[:1] not in _FIRST_BYTES or len(text) > _MAX_HELD:
        return False
    text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    newlines = text.count(b"\n")
    return newlines < 2 or (newlines == 2 and text.startswith(b"event: ") and b"\ndata: " in text)


def _alike(text: bytes, end: int, line_end: bytes) -> tuple[bytes | None, list[bytes]]:
    """Return the JSON texts up to ``end`` if each is a line, or each an event of the same name; else an empty list.

    The name is that of a ``NamedText``.
    """
    size = len(line_end)
    if text.startswith(b"{"):
        found = text[: end - size].split(line_end)
        is_alike = text.count(line_end + b"{", 0, end) == len(found) - 1
        return None, found if is_alike and (size == 1 or _are_lines(found, line_end)) else []
    name_end = text.find(line_end) if text.startswith(b"event: ") else -size
    start, name = text[: name_end + size + 6], text[7 : max(name_end, 7)]
    if not start.endswith(b"data: ") or (size == 2 and not _are_lines([name], line_end)):
        return None, []
    found = text[len(start) : end - 2 * size].split(line_end * 2 + start)
    return name, found if _are_lines(found, line_end) else []


def _named(text: bytes, end: int, line_end: bytes) -> list[NamedText]:
    """Return the name and the JSON text of each event up to ``end``; an empty list if there is anything else."""
    text = text[:end].replace(line_end, b"\n")
    found = _named_event.findall(text)
    size = sum([len(name) + len(data) + (16 if name else 8) for name, data in found])
    return found if size == len(text) and b"\r" not in text else []


def _are_lines(texts: list[bytes], line_end: bytes) -> bool:
    """Whether no text has a character of the line end in it."""
    joined = b"".join(texts)  # one search in all of them is faster than one in each
    return not any(character in joined for character in line_end)


def _load_all(name: bytes | None, texts: list[bytes], events: list[RawResponse]) -> bool:
    """Append an event for each text; return False, and append nothing, if one is not an object in valid Unicode.

    Nothing is appended either if the name of the events may be their type, or that of an error.
    """
    try:
        values = [*map(orjson.loads, texts)]
    except orjson.JSONDecodeError:
        return False
    if {*map(type, values)} != {dict} or any_exceeds_depth(values, texts):
        return False
    if name and not (len(name) > ERROR_NAME_BYTES and _have_types(values)):
        return False
    new, add = object.__new__, events.append
    for value in values:
        event = new(RawResponse)
        event._data = value
        add(event)
    return True


def _have_types(values: list[dict[str, Any]]) -> bool:
    try:
        return {*map(type, map(_type_of, values))} == {str}
    except KeyError:
        return False
