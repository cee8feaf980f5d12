"""What outlives a panel: drafts, what failed, what the cell had set, and the numbers of cells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from ...chat.chat import Chat
from ...media.attachment import Attachment
from .items.arrange import FailedTurn


@dataclass
class Draft:
    """What a person has written and attached, and not sent."""

    text: str = ""
    images: dict[str, Attachment] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.text or self.images)


drafts: dict[str, Draft] = {}
"""Of panels that are gone, by the names of their conversations."""


last_code_settings: dict[str, dict[str, Any]] = {}
"""What the code of the last panel of a conversation had set: a cell that runs again sets nothing anew."""


_failed: WeakKeyDictionary[Chat, list[FailedTurn]] = WeakKeyDictionary()
_numbers: dict[str, int] = {}  # of cells, by their ids
_watched_shells: set[int] = set()


def changed_settings(name: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Give what a cell wants set that the last one for this conversation had not: choices of a person stay."""
    before, last_code_settings[name] = last_code_settings.get(name, {}), wanted
    return {key: value for key, value in wanted.items() if before.get(key) != value}


def failed(chat: Chat) -> list[FailedTurn]:
    """Give the turns of a conversation that came to nothing, the same list to all panels."""
    return _failed.setdefault(chat, [])


def source(cell: str) -> str:
    """Name the cell of this id: ``In [3]``."""
    return f"In [{_numbers[cell]}]" if cell in _numbers else "a cell"


def number_cells(shell: Any) -> None:
    """Note from now on which number each cell has, that which runs included; a second time changes nothing."""
    if id(shell) in _watched_shells:
        return
    _watched_shells.add(id(shell))

    def note(info: Any) -> None:
        if info.cell_id and info.store_history:
            _numbers[info.cell_id] = len(shell.history_manager.input_hist_parsed)  # from 1 on, and not yet in it

    shell.events.register("pre_run_cell", note)
    if (cell := running_cell(shell)[0]) is not None:
        _numbers[cell] = len(shell.history_manager.input_hist_parsed) - 1


def running_cell(shell: Any) -> tuple[str | None, str]:
    """Give the id of the cell that runs, if the front end tells it, and of the request that runs it."""
    try:
        parent = shell.get_parent()
        return parent.get("metadata", {}).get("cellId") or None, parent["header"]["msg_id"]
    except (AttributeError, KeyError, TypeError):
        return None, ""
