"""The conversations of this process, by name."""

from __future__ import annotations

import re
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import Any
from weakref import WeakValueDictionary

from . import history as memory
from .cell_run import CellRun
from .chat import Chat
from .observers import Observers

_NAME = re.compile(r"\w(?:[\w. -]{0,62}[\w.-])?")


class Conversations(Mapping[str, Chat]):
    """Conversations by name; the magic, the panel and your own code see the same.

    >>> chats["main"]("Why is the sky blue?")  # made when it is first asked for
    >>> chats["plots"] = Chat.load("plots.json")
    >>> del chats["main"]

    A name has 1 to 64 letters, digits, ``_``, ``.``, ``-`` and spaces within; any other is a ``ValueError``.
    """

    def __init__(self) -> None:
        self._chats: dict[str, Chat] = {}
        self._begun: WeakValueDictionary[str, Chat] = WeakValueDictionary()

    def __getitem__(self, name: str) -> Chat:
        chat = self._chats.setdefault(_checked(name), self.begun(name))
        self._begun.pop(name, None)
        return chat

    def __setitem__(self, name: str, chat: Chat) -> None:
        if not isinstance(chat, Chat):
            raise TypeError(f"a conversation is a Chat, not {type(chat).__name__}")
        before = self._chats.get(_checked(name), chat)
        self._chats[name] = chat
        self._begun.pop(name, None)
        Observers.of(before).notify(None)

    def __delitem__(self, name: str) -> None:
        Observers.of(self._chats.pop(name)).notify(None)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._chats))

    def __len__(self) -> int:
        return len(self._chats)

    def __contains__(self, name: object) -> bool:
        return name in self._chats

    def get(self, name: str, default: Any = None) -> Any:
        """Give a conversation if there is one of that name, else the default; this makes none, but checks the name."""
        return self._chats.get(_checked(name), default)

    def values(self) -> ValuesView[Chat]:
        """Give the conversations that there are now: looking makes none, also if one goes meanwhile."""
        return self._chats.copy().values()

    def items(self) -> ItemsView[str, Chat]:
        """Give the names and the conversations that there are now."""
        return self._chats.copy().items()

    def take_back(self, cell: str | CellRun) -> None:
        """Forget in all of them what a cell had said, and everything after it (see ``Chat.take_back``)."""
        for chat in self.values():
            chat.take_back(cell)

    def forget(self, cell: str) -> None:
        """Forget in all of them what a cell had said and nothing else, for it is gone from the notebook."""
        for chat in self.values():
            chat.forget(cell)

    def begun(self, name: str) -> Chat:
        """Give a conversation, or one that is listed only once ``__setitem__`` says so; the same one to all who ask."""
        return self.get(name) or self._begun.setdefault(name, Chat())

    def __str__(self) -> str:
        return (
            ", ".join(f"{name} ({memory.describe_length(chat.messages)})" for name, chat in self.items()) or "none yet"
        )

    def __repr__(self) -> str:
        return f"<conversations: {self}>"


chats = Conversations()


def _checked(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name of a conversation is a text, not {type(name).__name__}")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name[:80]!r} cannot name a conversation: take 1 to 64 letters, digits, _ . - and spaces within"
        )
    return name
