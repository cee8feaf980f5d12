"""What outlives a panel: drafts, failed turns, settings made in code, and the numbers of cells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ...chat.chat import Chat
from ...media.attachment import Attachment
from .items.arrange import FailedTurn

if TYPE_CHECKING:
    from ...chat.turn import Turn


@dataclass(eq=False)
class QueuedPrompt:
    """A prompt that is sent when the answers before it have ended. ``images`` are its attachments by id."""

    id: str
    text: str
    images: dict[str, Attachment]
    shown: list[dict[str, Any]] = field(default_factory=list)
    """The images as the page shows them."""
    raw: bool = False
    """Whether ``{{ }}`` is sent as typed."""
    error: str = ""
    """Why it could not be sent."""


@dataclass(eq=False)
class Draft:
    """What the user has not sent yet: the text and the attachments, by id, and the prompts in the queue."""

    text: str = ""
    images: dict[str, Attachment] = field(default_factory=dict)
    queue: list[QueuedPrompt] = field(default_factory=list)
    held: str = ""
    """Why the queue waits for the user: "stopped", "failed", "error", or "" if it does not."""
    awaited: set[Turn] = field(default_factory=set)
    """The turns whose answers the queue waits for, those that have ended included."""

    def __bool__(self) -> bool:
        return bool(self.text or self.images or self.queue)


drafts: dict[str, Draft] = {}
"""The drafts of closed panels, by the name of the chat."""


last_code_settings: dict[str, dict[str, Any]] = {}
"""The arguments of the last ``ChatPanel(...)`` for each chat name. A cell that runs again repeats them."""


_failed_turns: WeakKeyDictionary[Chat, list[FailedTurn]] = WeakKeyDictionary()
_known_failures: WeakKeyDictionary[Chat, set[str]] = WeakKeyDictionary()
_cell_numbers: dict[str, int] = {}  # by cell id
_watched_shells: set[int] = set()


def changed_settings(name: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that differ from those of the last ``ChatPanel(...)`` for this chat; remember the new ones.

    The others stay as they are, so that a cell that runs again does not undo what the user chose in the panel.
    """
    before, last_code_settings[name] = last_code_settings.get(name, {}), wanted
    return {key: value for key, value in wanted.items() if before.get(key) != value}


def failed_turns(chat: Chat) -> list[FailedTurn]:
    """Return the failed turns of a chat: one list, which all its panels share. Not all of them are shown."""
    return _failed_turns.setdefault(chat, [])


def known_failures(chat: Chat) -> set[str]:
    """Return the ids of all turns of a chat that have failed, also of those that are no longer shown."""
    return _known_failures.setdefault(chat, set())


def cell_label(cell: str) -> str:
    """Return the label of the cell with this id, such as ``In [3]``."""
    return f"In [{_cell_numbers[cell]}]" if cell in _cell_numbers else "a cell"


def number_cells(shell: Any) -> None:
    """Record the number of each cell that runs from now on, the current one included. Repeated calls do nothing."""
    if id(shell) in _watched_shells:
        return
    _watched_shells.add(id(shell))

    def record(info: Any) -> None:
        if info.cell_id and info.store_history:
            # This list starts with an empty cell 0 and does not have the new cell yet.
            _cell_numbers[info.cell_id] = len(shell.history_manager.input_hist_parsed)

    shell.events.register("pre_run_cell", record)
    if (cell := running_cell(shell)[0]) is not None:
        _cell_numbers[cell] = len(shell.history_manager.input_hist_parsed) - 1


def running_cell(shell: Any) -> tuple[str | None, str]:
    """Return the id of the running cell (None if the front end sends none) and the id of the request that runs it."""
    try:
        parent = shell.get_parent()
        return parent.get("metadata", {}).get("cellId") or None, parent["header"]["msg_id"]
    except (AttributeError, KeyError, TypeError):
        return None, ""
