"""JSON objects in texts that are not one object each: several in a text, or one over several texts."""

from __future__ import annotations

import re
from enum import Enum, auto

from ..transport import lines

MAX_DEPTH = 100  # objects and lists inside each other; code that walks far deeper ones raises RecursionError
END_MARK = b"[DONE]"  # the last data of OpenAI-compatible servers


class Rest(Enum):
    """What follows the last whole object of a text."""

    NOTHING = auto()
    STARTED = auto()  # an object that the next text may continue
    DAMAGED = auto()
    END_MARK = auto()
    NOT_CONTINUED = auto()  # the text does not continue the object that the texts before it have begun


class JsonPieces:
    """Splits texts into their JSON objects.

    Between two objects there may be commas, the brackets of one array, the separator of RFC 7464, byte order marks,
    null bytes, and ``data:``, where a line end was lost. The time is linear in the length of the texts.
    """

    def __init__(self) -> None:
        self.is_in_array = False  # whose elements are the objects
        self._parts: list[bytes] = []  # of the object that has begun
        self._size = 0
        self._scanner = _Scanner()

    def feed(self, text: bytes, joint: bytes) -> tuple[list[bytes], Rest]:
        """Return the objects that end in this text, and what follows them.

        ``joint`` stands between this text and the last one. After ``NOT_CONTINUED`` the text has to be fed again.
        """
        objects: list[bytes] = []
        at, was_in_array = 0, self.is_in_array
        if self._parts:
            at = self._scanner.scan(text, 0, joint)
            self._size += len(text)
            if at == _INVALID or self._size > lines.MAX_LINE:
                self.drop()
                return [], Rest.NOT_CONTINUED
            self._parts += [joint, text[: at if at != _WITHIN else None]]
            if at == _WITHIN:
                return [], Rest.STARTED
            objects.append(b"".join(self._parts))
            self.drop()
        while (start := self._skip_separators(text, at)) >= 0:
            if start == len(text):
                return objects, Rest.NOTHING
            self._scanner = _Scanner()
            at = self._scanner.scan(text, start, b"")
            if at == _WITHIN:
                self._parts, self._size = [text[start:]], len(text) - start
                return objects, Rest.STARTED
            if at == _INVALID:
                break
            objects.append(text[start:at])
        else:
            if start == _END:
                return objects, Rest.END_MARK
        self.is_in_array = was_in_array
        return objects, Rest.DAMAGED

    def drop(self) -> None:
        """Forget the object that has begun."""
        self._parts, self._size = [], 0

    def _skip_separators(self, text: bytes, at: int) -> int:
        """Return where the next object starts, or the text ends; else ``_INVALID`` or ``_END``."""
        while match := _separator.match(text, at):
            at = match.end()
            mark = match[1]
            if mark is None:
                if at == len(text) or text[at] == _BRACE:
                    return at
                return _INVALID
            if mark == END_MARK:
                return _END
            if mark != b",":
                if self.is_in_array == (mark == b"["):
                    return _INVALID
                self.is_in_array = mark == b"["
        return _INVALID


_BRACE = ord("{")
_WITHIN, _INVALID, _END = -1, -2, -3
_blank = rb"(?:[\s\x1e\x00]|\xef\xbb\xbf)*+"
_separator = re.compile(_blank + rb"(?:data:" + _blank + rb")?(\[DONE\]|[\[\],])?")
_string = rb'[^"\\]*+(?:\\.[^"\\]*+)*+(?P<escaped>\\?)(?P<end>"?)'
_token = re.compile(rb'\s*+(?:(?P<quote>")' + _string + rb"|(?P<mark>[{}\[\]:,])|(?P<word>[-+.\w]++))", re.DOTALL)
_rest_of_string = re.compile(_string, re.DOTALL)
_rest_of_word = re.compile(rb"[-+.\w]*+")
_space = re.compile(rb"\s*+")

# What may come next: a Key, a Value, the Colon, or More after a value; a small letter: or the end of the brackets.
_next_expected = {
    **{(b'"', expected): "C" for expected in "kK"},
    **{(token, expected): "m" for token in (b'"', b"a") for expected in "vV"},
    **{(b"{", expected): "k" for expected in "vV"},
    **{(b"[", expected): "v" for expected in "vV"},
    (b":", "C"): "V",
}
_brackets = {b"}": b"{", b"]": b"["}


class _Scanner:
    """Finds where one object ends, or where a text stops being the start of one."""

    def __init__(self) -> None:
        self._open: list[bytes] = []  # brackets
        self._expected = "V"
        self._is_in_string = False
        self._is_escaped = False  # the text has ended behind a backslash
        self._is_in_word = False  # the text has ended behind a number or a name, which may go on

    def scan(self, text: bytes, at: int, joint: bytes) -> int:
        """Return where the object ends; ``_WITHIN`` if the text ends before, ``_INVALID`` if this is not JSON."""
        if self._is_in_string:
            skipped = at + (self._is_escaped and not joint and len(text) > 0)
            match = _rest_of_string.match(text, skipped)
            if match is None or not self._ends_string(match):
                return _WITHIN
            at = match.end()
        elif self._is_in_word and not joint and (match := _rest_of_word.match(text, at)):
            at = match.end()
        while match := _token.match(text, at):
            at = match.end()
            token = match["quote"] or match["mark"] or b"a"
            self._is_in_word = match["word"] is not None and at == len(text)
            if not self._accepts(token):
                return _INVALID
            if token == b'"' and not self._ends_string(match):
                return _WITHIN
            if not self._open:
                return at
        rest = _space.match(text, at)
        return _WITHIN if rest is not None and rest.end() == len(text) else _INVALID

    def _ends_string(self, match: re.Match[bytes]) -> bool:
        self._is_in_string, self._is_escaped = not match["end"], bool(match["escaped"])
        return not self._is_in_string

    def _accepts(self, token: bytes) -> bool:
        """Whether the token may come here; the object has ended if no bracket is open after it."""
        inner = self._open[-1] if self._open else b""
        if token in _brackets:
            if inner != _brackets[token] or self._expected not in ("m", "k" if token == b"}" else "v"):
                return False
            self._open.pop()
            self._expected = "m"
            return True
        if token == b",":
            following = ("K" if inner == b"{" else "V") if self._expected == "m" else None
        else:
            following = _next_expected.get((token, self._expected))
        if following is None or len(self._open) > MAX_DEPTH:
            return False
        if token in (b"{", b"["):
            self._open.append(token)
        self._expected = following
        return True
