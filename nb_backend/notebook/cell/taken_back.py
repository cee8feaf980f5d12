"""Mark the answers in the outputs of cells whose turns were taken back when another cell ran again."""

from __future__ import annotations

from dataclasses import dataclass
from threading import RLock
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, ref

from ...chat.cell_run import CellRun
from ...chat.chat import Chat
from ...chat.messages import metadata
from .notebook_view import CellView

if TYPE_CHECKING:
    from ...chat.turn import Turn
    from .view import View


_MOST = 1000  # answers of a chat
_lock = RLock()


@dataclass(eq=False)
class _Shown:
    """An answer that a cell shows: the ``at``-th one of its view."""

    view: CellView
    at: int
    run: CellRun
    mark: str = ""


class ShownAnswers:
    """The answers of one chat that cells show now, by the ids of their turns."""

    def __init__(self, chat: Chat) -> None:
        self._chat = ref(chat)
        self._shown: dict[str, _Shown] = {}
        chat.watch(self._on_change)

    def add(self, turn_id: str, shown: _Shown) -> None:
        """Add an answer. Those of earlier runs of its cell are no longer shown."""
        with _lock:
            left = [
                (id, one) for id, one in self._shown.items() if one.run.cell != shown.run.cell or one.run is shown.run
            ]
            self._shown = dict([*left, (turn_id, shown)][-_MOST:])

    def _on_change(self, turn: Turn | None) -> None:
        chat = self._chat()
        if chat is None or not self._shown or (turn is not None and not turn.ended):
            return
        marks: dict[object, str] = {}
        for removal, messages in chat.removals:
            if removal.kind == "rerun":
                ids = [metadata(message).get("id") for message in messages]
                marks |= {id: f"taken back when {removal.cell} ran again" for id in ids if id}
        with _lock:
            for id, one in self._shown.items():
                if one.mark != (mark := marks.get(id, "")):
                    one.mark = mark
                    one.view.mark(mark, one.at)


_of_chats: WeakKeyDictionary[Chat, ShownAnswers] = WeakKeyDictionary()


def mark_if_taken_back(chat: Chat, turn: Turn, view: View | None, at: int = 0) -> None:
    """Write into the status line of a shown answer, as soon as its turn is taken back, when that happened.

    The mark leaves when the turn is put back.
    """
    id, run = metadata(turn.request.question).get("id"), turn.request.cell_run
    if isinstance(id, str) and run is not None and isinstance(view, CellView):
        with _lock:
            answers = _of_chats.get(chat) or _of_chats.setdefault(chat, ShownAnswers(chat))
        answers.add(id, _Shown(view, at, run))
