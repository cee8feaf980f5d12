"""Text attribute that collects deltas."""

from __future__ import annotations

import threading

from .. import background

_MAX_LOOSE_DELTAS = 1000
_joining = threading.Lock()


class TextBuffer(list[str]):
    """Parts of a text. The first ``joined`` parts are long; short strings take ten times their length in memory.

    ``io.StringIO`` would not do: the garbage collector may close it before the stream of a dropped answer has kept the
    text.
    """

    joined = 0

    def grow(self, delta: str) -> None:
        """Add a delta."""
        self.append(delta)
        if len(self) - self.joined > _MAX_LOOSE_DELTAS:
            with _joining:
                self[self.joined :] = ["".join(self[self.joined :])]
                self.joined += 1

    def join(self) -> str:
        """Return the text and store it as one part. Any thread may call this while another adds deltas."""
        with _joining:
            count = len(self)
            text = "".join(self[:count])
            self[:count] = [text]
            self.joined = 1
        return text


class TextAttribute:
    """Text attribute that collects deltas and joins them when read; ``+=`` would copy the whole text each time."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type | None = None) -> str:
        if instance is None:
            return ""  # what a dataclass takes as the default
        buffer: TextBuffer = instance.__dict__[self._name]
        return buffer.join()

    def __set__(self, instance: object, value: str) -> None:
        instance.__dict__[self._name] = TextBuffer([value])


def _renew_lock() -> None:
    """Replace the lock in a forked child, where a thread that does not exist may hold it."""
    global _joining
    _joining = threading.Lock()


background.on_fork(_renew_lock)
