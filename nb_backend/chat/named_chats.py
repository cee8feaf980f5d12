"""The chats of this process by name: ``chats``."""

from __future__ import annotations

import re
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import Any
from weakref import WeakValueDictionary

from .cell_run import CellRun
from .chat import Chat
from .messages import describe_length
from .observers import Observers

_NAME = re.compile(r"\w(?:[\w. -]{0,62}[\w.-])?")


class NamedChats(Mapping[str, Chat]):
    """Mapping of names to chats, which the magic, the panel and your own code share.

    >>> chats["main"]("Why is the sky blue?")  # created on first access
    >>> chats["plots"] = Chat.load("plots.json")
    >>> del chats["main"]

    A name consists of 1 to 64 letters, digits, ``_``, ``.``, ``-``, and spaces in between. Any other name raises
    ``ValueError``.
    """

    def __init__(self) -> None:
        self._chats: dict[str, Chat] = {}
        self._unlisted: WeakValueDictionary[str, Chat] = WeakValueDictionary()

    def __getitem__(self, name: str) -> Chat:
        chat = self._chats.setdefault(_valid_name(name), self.unlisted(name))
        self._unlisted.pop(name, None)
        return chat

    def __setitem__(self, name: str, chat: Chat) -> None:
        if not isinstance(chat, Chat):
            raise TypeError(f"expected a Chat, not {type(chat).__name__}")
        before = self._chats.get(_valid_name(name), chat)
        self._chats[name] = chat
        self._unlisted.pop(name, None)
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
        """Return the chat of that name, else the default. Creates no chat, but checks the name."""
        return self._chats.get(_valid_name(name), default)

    def values(self) -> ValuesView[Chat]:
        """Return the chats as they are now; later changes do not show in the view."""
        return self._chats.copy().values()

    def items(self) -> ItemsView[str, Chat]:
        """Return the names and chats as they are now; later changes do not show in the view."""
        return self._chats.copy().items()

    def take_back(self, cell: str | CellRun) -> None:
        """Take back in all chats the turns of a cell, and those of cells after them (see ``Chat.take_back``)."""
        for chat in self.values():
            chat.take_back(cell)

    def forget(self, cell: str) -> None:
        """Remove from all chats the turns of a cell that was deleted from the notebook (see ``Chat.forget``)."""
        for chat in self.values():
            chat.forget(cell)

    def unlisted(self, name: str) -> Chat:
        """Return the chat of that name, or a new one that is not listed until it is assigned or accessed by its name.

        As long as somebody holds the new one, all calls return the same.
        """
        return self.get(name) or self._unlisted.setdefault(name, Chat())

    def __str__(self) -> str:
        return ", ".join(f"{name} ({describe_length(chat.messages)})" for name, chat in self.items()) or "none yet"

    def __repr__(self) -> str:
        return f"<chats: {self}>"


chats = NamedChats()


def _valid_name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name of a chat is a string, not {type(name).__name__}")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name[:80]!r} cannot be the name of a chat: use 1 to 64 letters, digits, _ . - and spaces in between"
        )
    return name
