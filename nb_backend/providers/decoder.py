"""Bytes to events: JSON lines and server-sent events, in any mixture, in chunks cut anywhere."""

from __future__ import annotations

from ..events import RawResponse
from ..transport import lines
from ..transport.lines import LineDecoder
from .fast_path import FastPath
from .json_events import JsonEvents, is_object

_BOM = b"\xef\xbb\xbf"
_BRACE = ord("{")
_LAST_LINE = b"data: [DONE]"  # a body that ends within it has nothing more to say
_START_BYTES = 4096  # enough for the title of a web page


class EventDecoder:
    """Decodes the bytes of a body into events. The events are the same wherever the chunks are cut.

    ``events`` counts the events, ``start`` holds the first 4 kB of the body, and ``truncated`` says, after
    ``flush``, whether the body ended inside an object.
    """

    def __init__(self) -> None:
        self.events = 0
        self.truncated = False
        self.start = b""
        self._json_events = JsonEvents()
        self._fast_path = FastPath(self._json_events)
        self._lines = LineDecoder()
        self._is_first_line = True
        self._name = b""  # of the event that is being read
        self._data: list[bytes] = []  # its data lines
        self._data_size = 0  # bytes, counted from the second line on

    @property
    def done(self) -> bool:
        """Whether the end mark was read."""
        return self._json_events.done

    @property
    def damaged(self) -> int:
        """How many lines were skipped, as they were too long or not a JSON object."""
        return self._json_events.skipped + self._lines.oversized

    @property
    def rest(self) -> bytes:
        """What has arrived of an event that is not complete, at least its last line."""
        return self._fast_path.held or self._lines.rest or (self._data[-1] if self._data else b"")

    def feed(self, chunk: bytes) -> list[RawResponse]:
        """Return the events that are complete with this chunk."""
        if len(self.start) < _START_BYTES:
            self.start += chunk[: _START_BYTES - len(self.start)]
        events: list[RawResponse] = []
        is_within = self._is_within_event
        if is_within and (end := _end_of_event(chunk)):
            self._decode_lines(self._lines.feed(chunk[:end]), events)
            chunk, is_within = chunk[end:], self._is_within_event
        if chunk and not (is_within or self._json_events.done):
            chunk = self._fast_path.decode(chunk, events)
        if chunk:
            self._decode_lines(self._lines.feed(chunk), events)
        self.events += len(events)
        return events

    @property
    def _is_within_event(self) -> bool:
        return bool(self._name or self._data or self._lines.is_within)

    def flush(self) -> list[RawResponse]:
        """Return the events that the end of the body completes: a last line, or event, without its line end."""
        events: list[RawResponse] = []
        self._decode_lines(self._lines.feed(self._fast_path.flush()), events)
        skipped = self._json_events.skipped
        last_line = self._without_bom(self._lines.flush())
        if last_line and not (_LAST_LINE.startswith(last_line) and last_line != _LAST_LINE):
            self._decode_field(last_line, events)
        last_text = b"".join(self._data) or last_line
        self._end_event(events)
        is_broken = self._json_events.skipped > skipped and b"{" in last_text
        self.truncated = self._json_events.end(events) or is_broken
        self.events += len(events)
        return events + self._json_events.flush()

    def _decode_lines(self, complete: list[bytes], events: list[RawResponse]) -> None:
        if self._is_first_line and complete:
            complete[0] = self._without_bom(complete[0])
            self._is_first_line = False
        data, decode = self._data, self._json_events.decode
        for line in complete:
            if not line:
                if len(data) == 1:
                    name, self._name = self._name, b""
                    decode([(name, data.pop())], events)
                else:
                    self._end_event(events)
            elif line[0] == _BRACE and not data:
                decode([(None, line)], events)
            elif not data and line.startswith(b"data: "):
                data.append(line[6:])
            else:
                self._decode_field(line, events)

    def _without_bom(self, line: bytes) -> bytes:
        return line.removeprefix(_BOM) if self._is_first_line and not self._fast_path.used else line

    def _decode_field(self, line: bytes, events: list[RawResponse]) -> None:
        """Decode a line that is not empty: a field of an event, a comment, or JSON."""
        if line.startswith(b"data:"):
            self._add_data(line[6:] if line[5:6] == b" " else line[5:], events)
        elif line.startswith(b"event:"):
            self._name = line[6:].strip()
        elif line.startswith((b":", b"id:", b"retry:")) or line in (b"data", b"event", b"id", b"retry"):
            pass
        else:
            self._end_event(events)  # the server forgot its blank line
            is_error = line[:6].lower() == b"error:"  # llama.cpp
            self._json_events.decode([(b"error", line[6:].strip()) if is_error else (None, line)], events)

    def _add_data(self, text: bytes, events: list[RawResponse]) -> None:
        data = self._data
        if len(data) == 1 and is_object(data[0]):  # the server forgot the blank line between two events
            self._end_event(events)
        if len(data) < 2:
            self._data_size = sum(map(len, data)) + len(data)
        data.append(text)
        self._data_size += len(text) + 1
        if self._data_size > lines.MAX_LINE:
            data.clear()
            self._json_events.skipped += 1

    def _end_event(self, events: list[RawResponse]) -> None:
        """Decode the data lines as one object; if they are not one, a blank line was forgotten: decode each."""
        data, name = self._data.copy(), self._name
        self._data.clear()
        self._name = b""
        joined = b"\n".join(data)
        if len(data) > 1 and not is_object(joined) and b"error" not in name.lower():
            self._json_events.decode([(name, line) for line in data], events)
        elif data or b"error" in name.lower():
            self._json_events.decode([(name, joined)], events)


def _end_of_event(chunk: bytes) -> int:
    """Return where the first blank line of a chunk ends; 0 if it has none."""
    at = chunk.find(b"\n\r\n" if b"\r" in chunk else b"\n\n")
    return chunk.index(b"\n", at + 1) + 1 if at >= 0 else 0
