"""Bytes to events, for both framings that backends use. Pure: fed chunk by chunk, never reads.

- JSON lines: ``{"type": "content", "content": "Hi"}\\n``
- server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html):
  ``event: content\\ndata: {"type": "content", "content": "Hi"}\\n\\n``

They are told apart line by line, never by Content-Type: older servers label JSON lines text/event-stream.
"""

from __future__ import annotations

import json
import math
from typing import Any

import orjson

from .response import RawResponse

DONE = b"[DONE]"  # the end mark of OpenAI-compatible servers
MAX_LINE = 64 * 2**20  # bytes; a request event of g4f repeats the whole request, images included
MAX_DEPTH = 100  # objects and lists within one another; far deeper ones end in a RecursionError somewhere
_BOM = b"\xef\xbb\xbf"
_TEXT_KEYS = {"content": "content", "reasoning": "token"}  # type of event: the key of its text


class LineDecoder:
    """Splits bytes into lines at LF, CRLF or CR and at nothing else, also when cut between CR and LF.

    A line of more than ``MAX_LINE`` bytes is dropped; ``oversized`` counts those.
    """

    def __init__(self) -> None:
        self.oversized = 0
        self._parts: list[bytes] = []  # of the line that has not ended yet
        self._size = 0
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Give the lines that end in this chunk, without their ends."""
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *ended, rest = chunk.split(b"\n")
        lines: list[bytes] = []
        for part in ended:
            self._keep(part)
            if self._size <= MAX_LINE:
                lines.append(b"".join(self._parts))
            self._next()
        self._keep(rest)
        return lines

    def flush(self) -> bytes:
        """Give what stands after the last line end."""
        rest = b"".join(self._parts)
        self._next()
        return rest

    def _next(self) -> None:
        self.oversized += self._size > MAX_LINE
        self._parts, self._size = [], 0

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > MAX_LINE:
            self._parts.clear()
        elif part:
            self._parts.append(part)


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
        self._halves: dict[str, str] = {}  # type of event: a high surrogate that waits for its other half

    @property
    def damaged(self) -> int:
        """How many lines had to be skipped."""
        return self._skipped + self._lines.oversized

    def feed(self, chunk: bytes) -> list[RawResponse]:
        """Give the events that are complete with this chunk."""
        if len(self.start) < 512:
            self.start += chunk[: 512 - len(self.start)]
        events: list[RawResponse] = []
        for line in self._lines.feed(chunk):
            self._line(line, events)
        return events

    def flush(self) -> list[RawResponse]:
        """Give what the end of the body completes: a last line or event without its line end."""
        events: list[RawResponse] = []
        skipped = self._skipped
        rest = self._lines.flush()
        if rest:
            self._line(rest, events)
        half = b"".join(self._data) or rest
        self._dispatch(events)
        self.truncated = self._skipped > skipped and b"{" in half
        events += [RawResponse(type=kind, **{_TEXT_KEYS[kind]: "\ufffd"}) for kind in self._halves]
        self._halves.clear()
        return events

    def _line(self, line: bytes, events: list[RawResponse]) -> None:
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(_BOM)
        if line.startswith(b"data:"):
            self._add_data(line[6:] if line[5:6] == b" " else line[5:], events)
        elif not line:
            self._dispatch(events)
        elif line.startswith(b"event:"):
            self._name = line[6:].strip()
        elif line.startswith((b":", b"id:", b"retry:")) or line in (b"data", b"event", b"id", b"retry"):
            pass
        else:
            self._object(line, b"", events)

    def _add_data(self, line: bytes, events: list[RawResponse]) -> None:
        if len(self._data) == 1 and isinstance(_loads(self._data[0])[0], dict):  # a blank line forgotten before this
            self._dispatch(events)
        self._data.append(line)
        self._data_size += len(line)
        if self._data_size > MAX_LINE:
            self._data, self._data_size = [], 0
            self._skipped += 1

    def _dispatch(self, events: list[RawResponse]) -> None:
        data, name = self._data, self._name
        self._name = b""
        if not data:
            return
        self._data, self._data_size = [], 0
        joined = b"\n".join(data)
        if len(data) > 1 and not isinstance(_loads(joined)[0], dict):  # the same, after a damaged line
            for line in data:
                self._object(line, name, events)
        else:
            self._object(joined, name, events)

    def _object(self, text: bytes, name: bytes, events: list[RawResponse]) -> None:
        value, clean = _loads(text)
        if not isinstance(value, dict) or _too_deep(value, text):
            if text.strip() == DONE:
                self.done = True
            elif text.strip():
                self._skipped += 1
            return
        if name and not isinstance(value.get("type"), str):
            value["type"] = name.decode("utf-8", "replace")
        if not clean or self._halves:
            value = self._rejoin(value)
        self.events += 1
        events.append(RawResponse(**value))

    def _rejoin(self, value: dict[str, Any]) -> dict[str, Any]:
        """Make all text valid Unicode; a character whose two surrogates came in two events is whole in the second."""
        kind = str(value.get("type"))
        key = _TEXT_KEYS.get(kind, "")
        if isinstance(text := value.get(key), str):
            text = self._halves.pop(kind, "") + text
            if "\ud800" <= text[-1:] <= "\udbff":
                self._halves[kind] = text[-1]
                text = text[:-1]
            value = {**value, key: text}
        mended: dict[str, Any] = valid_unicode(value)
        return mended


def valid_unicode(value: Any) -> Any:
    """Give the same JSON value with half surrogates in its texts joined, or replaced by U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {valid_unicode(key): valid_unicode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [valid_unicode(item) for item in value]
    return value


def _loads(text: bytes) -> tuple[Any, bool]:
    """Read JSON, and whether its text is certainly valid Unicode.

    Reads also what orjson refuses and a server may still send: damaged UTF-8, half surrogates, NaN, raw control signs.
    """
    try:
        return orjson.loads(text), True
    except orjson.JSONDecodeError:
        pass
    try:
        return _LENIENT.decode(text.decode("utf-8", "replace")), False
    except (ValueError, RecursionError):
        return None, False


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


_LENIENT = json.JSONDecoder(parse_constant=lambda _: None, parse_float=_finite, strict=False)


def _too_deep(value: Any, text: bytes) -> bool:
    if text.count(b"{") + text.count(b"[") <= MAX_DEPTH:
        return False
    level = [value]
    for _ in range(MAX_DEPTH):
        inner = (item.values() if isinstance(item, dict) else item for item in level)
        level = [item for items in inner for item in items if isinstance(item, dict | list)]
    return bool(level)
