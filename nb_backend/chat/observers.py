"""Observers of a chat. They are stored apart from it because chats are copied, pickled and saved."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakKeyDictionary

from .. import background, debug

if TYPE_CHECKING:
    from .turn import Turn


Watcher: TypeAlias = "Callable[[Turn | None], None]"
_lock = RLock()  # reentrant: a stream that is garbage-collected notifies observers at any point


class Observers:
    """Observers of one chat, and its turns in progress, oldest first."""

    def __init__(self) -> None:
        self.live: list[Turn] = []
        self._watchers: list[Watcher] = []

    @classmethod
    def of(cls, chat: object) -> Observers:
        """Return the observers of a chat; they live as long as the chat."""
        with _lock:
            return _of_chats.setdefault(chat, cls())

    def watch(self, changed: Watcher) -> Callable[[], None]:
        """Call a function at every change. Returns a function that ends this and may be called twice."""
        with _lock:
            self._watchers = [*self._watchers, changed]

        def end() -> None:
            with _lock:
                self._watchers = [watcher for watcher in self._watchers if watcher is not changed]

        return end

    def notify(self, turn: Turn | None) -> None:
        """Notify all observers that a turn has changed, or messages (``None``). Their errors are only logged."""
        if turn is not None and (turn.ended or turn not in self.live):
            with _lock:
                others = [one for one in self.live if one is not turn]
                self.live = others if turn.ended else [*others, turn]
        for watcher in self._watchers:
            try:
                watcher(turn)
            except Exception as error:
                debug.warn(f"an observer of a chat failed: {type(error).__name__}")


_of_chats: WeakKeyDictionary[object, Observers] = WeakKeyDictionary()


def _renew_lock() -> None:
    """Replace the lock in a forked child, where a thread that does not exist may hold it."""
    global _lock
    _lock = RLock()


background.on_fork(_renew_lock)
