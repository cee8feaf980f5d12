"""Text that grows by deltas."""

from __future__ import annotations

import threading

from .. import background

_MANY_PIECES = 1000
_joining = threading.Lock()


class TextBuffer(list[str]):
    """The pieces of a text, of which the first are ``joined``: by themselves short ones take ten times their length."""

    joined = 0

    def grow(self, piece: str) -> None:
        """Add a piece."""
        self.append(piece)
        if len(self) - self.joined > _MANY_PIECES:
            with _joining:
                self[self.joined :] = ["".join(self[self.joined :])]
                self.joined += 1

    def join(self) -> str:
        """Give the text; others may read it, and its stream may append, on threads of their own."""
        with _joining:
            so_far = len(self)
            text = "".join(self[:so_far])
            self[:so_far] = [text]
            self.joined = 1
        return text


class TextAttribute:
    """A text that grows piece by piece: joined when it is read, for ``+=`` on an attribute copies it every time."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type | None = None) -> str:
        if instance is None:
            return ""  # what a dataclass takes as the default
        pieces: TextBuffer = instance.__dict__[self._name]
        return pieces.join()

    def __set__(self, instance: object, value: str) -> None:
        instance.__dict__[self._name] = TextBuffer([value])


def _forget() -> None:
    """A fork may have the lock held by a thread that it has not."""
    global _joining
    _joining = threading.Lock()


background.on_fork(_forget)
