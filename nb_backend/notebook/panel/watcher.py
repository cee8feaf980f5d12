"""The conversation that a panel shows, as it is seen from the background loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet, ref

from ... import background, settings
from ...chat import history as memory
from ...chat.chat import Chat
from ...chat.history import Message
from ...chat.named_chats import chats
from ...typing import Messages
from . import panel_state as kept
from .error_text import error_line, mask_keys
from .items import content as said
from .items.arrange import FailedTurn, ItemSource, arrange_items
from .items.content import ItemContent
from .items.items import ItemList

if TYPE_CHECKING:
    from ...chat.turn import Turn


UNNAMED = "(not in chats)"  # what stands for the name of a Chat that has none; no conversation can be named so
_here: WeakSet[Turn] = WeakSet()  # turns whose events come on the loop itself
_snapshots: WeakKeyDictionary[Turn, ItemContent] = WeakKeyDictionary()  # of others, for all panels


class ConversationWatcher:
    """Watches a conversation, from ``bind`` on.

    ``changed`` is called at each change, on any thread, with whether messages changed.
    """

    def __init__(self, name: str, chat: Chat, changed: Callable[[bool], None]) -> None:
        self.name = name
        self.chat = chat
        self._own_keys = _own_keys(chat)
        self._told = changed
        self._unnamed = chat if name == UNNAMED else None
        self._lock = Lock()
        self._changed: set[Turn] = set()
        self._unwatch: Callable[[], None] = lambda: None

    def bind(self, name: str, chat: Chat) -> None:
        """Watch this conversation, and no other one any more."""
        self._unwatch()
        self.name, self.chat = name, chat
        self._own_keys = _own_keys(chat)
        self._unwatch = chat.watch(_watcher(self))

    def close(self) -> None:
        """Watch no more."""
        self._unwatch()

    def follow(self) -> bool:
        """Go over to the conversation that has the name now, if it is another one; tell whether it is."""
        now = self._unnamed if self._unnamed is not None and self.name == UNNAMED else chats.unlisted(self.name)
        if now is self.chat:
            return False
        self.bind(self.name, now)
        return True

    def named(self, name: str) -> Chat:
        """Give a conversation that the panel may show. ``ValueError`` if there is none of that name."""
        found = self._unnamed if name == UNNAMED else chats.get(name)
        if not isinstance(found, Chat):
            raise ValueError(f"there is no conversation {name[:80]!r}")
        return found

    def names(self) -> list[str]:
        """Give the names of those that it may show."""
        return [*dict.fromkeys([*([UNNAMED] if self._unnamed is not None else []), *chats, self.name])]

    def register_chat(self) -> None:
        """Let ``chats`` have the conversation, for something is said in it."""
        if self.name != UNNAMED and self.name not in chats:
            chats[self.name] = self.chat

    @property
    def keys(self) -> list[str]:
        """The keys that no page may see: those that are set now."""
        return [*settings.known_keys(), *self._own_keys]

    def hide(self, text: str) -> str:
        """Take the keys out of a text."""
        return mask_keys(text, self.keys)

    def error_line(self, error: BaseException) -> str:
        """Say in one line, without a key, what went wrong."""
        return error_line(error, self.keys)

    def on_turn_changed(self, turn: Turn | None) -> None:
        """Take note of a change, on the thread that makes it."""
        if turn is not None:
            if background.is_on_loop():
                _here.add(turn)
            elif not turn.ended:  # on another thread, more may be added while the loop would read
                _snapshots[turn] = said.of_answer(turn, self.hide, self.error_line)
            if turn.ended and not turn.kept:
                self._keep_failure(turn)
            with self._lock:
                self._changed.add(turn)
        self._told(turn is None or turn.ended)

    def arrange(self, view: ItemList) -> None:
        """Give a view what is shown now."""
        live = self.chat.live
        failures = kept.failed(self.chat)
        asking = {run.cell for turn in live if (run := turn.request.cell_run) is not None}
        failures[:] = [one for one in failures if (run := one.turn.request.cell_run) is None or run.cell not in asking]
        with self._lock:
            changed, self._changed = self._changed, set()
        view.arrange(arrange_items([*self.chat.messages], live, failures), changed)

    def content_of(self, thing: ItemSource) -> ItemContent:
        """Give what is shown of a thing."""
        if thing.turn is None:
            return said.of_message(thing.message or {}, self.hide, kept.source)
        if not thing.answers:
            return said.of_question(thing.turn, self.hide, kept.source)
        if thing.turn.ended or thing.turn in _here:
            return said.of_answer(thing.turn, self.hide, self.error_line)
        return _snapshots.get(thing.turn) or ItemContent("assistant", status="waiting")

    def messages(self) -> Messages:
        """Give what was said, for the transcript: there, too, what broke off after its first word."""
        messages = [*self.chat.messages]
        for one in kept.failed(self.chat):
            at = next((at for at, message in enumerate(messages, 1) if message is one.after), len(messages))
            messages[at:at] = one.on_change
        return messages

    def drop(self, failed: FailedTurn | None) -> bool:
        """Forget a turn that came to nothing; tell whether it is one."""
        failures = kept.failed(self.chat)
        failures[:] = [one for one in failures if one is not failed]
        return failed is not None

    def _keep_failure(self, turn: Turn) -> None:
        """Keep what failed, and the question of a person that was stopped before a word was said."""
        of_person = turn.request.cell_run is None and turn.request.instead is None
        failures = kept.failed(self.chat)
        if (turn.error is not None or of_person) and not any(one.turn is turn for one in failures):
            messages = self.chat.messages
            failures.append(FailedTurn(turn, messages[-1] if messages else None, self._told_of(turn)))

    def _told_of(self, turn: Turn) -> Messages:
        if not turn.answer.text:
            return []
        question, answer = turn.request.question, turn.answer
        known = {**answer.metadata(), "time": time.time(), "reasoning": answer.reasoning}
        known |= {"failed": self.error_line(turn.error)} if turn.error is not None else {}
        asked = Message({**question, "media": turn.request.media}, memory.metadata(question))
        return [asked, Message({"role": "assistant", "content": answer.text}, known)]


def own_key(chat: Chat) -> str | None:
    """Give the key of a conversation's own, if it has one; ``ValueError`` if it cannot be asked as it stands."""
    return chat.request("").api_key.value


def _own_keys(chat: Chat) -> list[str]:
    with suppress(ValueError):
        return [key for key in (own_key(chat),) if key]
    return []


def _watcher(seen: ConversationWatcher) -> Callable[[Turn | None], None]:
    watching = ref(seen)  # a conversation holds those who watch it

    def changed(turn: Turn | None) -> None:
        if (there := watching()) is not None:
            there.on_turn_changed(turn)

    return changed
