"""Who watches a conversation: kept apart from it, for a conversation is copied, pickled and saved."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakKeyDictionary

from .. import background, debug

if TYPE_CHECKING:
    from .turn import Turn


Watcher: TypeAlias = "Callable[[Turn | None], None]"
_lock = RLock()  # reentrant: a stream may be collected, and tell that it ended, at any place


class Observers:
    """Those who watch a conversation, and its turns that are under way, the oldest first."""

    def __init__(self) -> None:
        self.live: list[Turn] = []
        self._watchers: list[Watcher] = []

    @classmethod
    def of(cls, chat: object) -> Observers:
        """Give what belongs to a conversation, for as long as that lives."""
        with _lock:
            return _of_chats.setdefault(chat, cls())

    def watch(self, changed: Watcher) -> Callable[[], None]:
        """Call a function at every change; what is given back ends that, a second time it does nothing."""
        with _lock:
            self._watchers = [*self._watchers, changed]

        def end() -> None:
            with _lock:
                self._watchers = [watcher for watcher in self._watchers if watcher is not changed]

        return end

    def notify(self, turn: Turn | None) -> None:
        """Tell them that a turn has changed, or messages (``None``); what one of them raises is no matter of ours."""
        if turn is not None and (turn.ended or turn not in self.live):
            with _lock:
                others = [one for one in self.live if one is not turn]
                self.live = others if turn.ended else [*others, turn]
        for watcher in self._watchers:
            try:
                watcher(turn)
            except Exception as error:
                debug.warn(f"what watches a conversation failed: {type(error).__name__}")


_of_chats: WeakKeyDictionary[object, Observers] = WeakKeyDictionary()


def _forget() -> None:
    """A fork may have the lock held by a thread that it has not."""
    global _lock
    _lock = RLock()


background.on_fork(_forget)
