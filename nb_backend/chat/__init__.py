"""A conversation with a model."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .answer import Answer as Answer
    from .cell_run import from_cell as from_cell
    from .chat import Chat as Chat
    from .named_chats import chats as chats
    from .stream import AnswerStream as AnswerStream

_HOMES = {"Answer": "answer", "AnswerStream": "stream", "Chat": "chat", "chats": "named_chats", "from_cell": "cell_run"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
