"""What was removed from a chat and can come back."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from ..typing import Messages
from .cell_run import CellRun
from .messages import cell_of, describe_length, turns_of

Kind: TypeAlias = Literal["rerun", "deleted cell", "new", "delete", "clear", "edit", "retry", "failed"]

MAX_REMOVALS = 20  # that a chat remembers
READABLE = frozenset({"rerun", "deleted cell", "new"})  # kinds whose messages the user has not deleted


@dataclass(eq=False, repr=False)
class Removal:
    """One removal: what was in the chat ``before``, and which of it was ``removed``.

    ``starts`` are the id() of the messages of ``before`` that began a list of their own. ``question`` is the prompt
    that started the chat over (``new``), or that took the place of ``replaced`` (``edit``, ``retry``). ``run`` is the
    cell run that removed, if one did. ``earlier`` are the removals that went with the chat when all was deleted.
    """

    kind: Kind
    before: Messages
    removed: Messages = field(default_factory=list)
    starts: Collection[int] = ()
    question: Mapping[str, Any] | None = None
    replaced: Mapping[str, Any] | None = None
    run: CellRun | None = None
    earlier: list[Removal] = field(default_factory=list)
    id: str = field(default_factory=lambda: secrets.token_hex(4))
    undone: bool = False

    @property
    def cell(self) -> str:
        """The cell that removed, as people know it: ``cell [3]``."""
        return self.run.label if self.run is not None else "a cell"

    def describe(self, messages: Messages) -> str:
        """Return in one line what happened to these messages of it."""
        turns, its = describe_length(messages), "its" if len(turns_of(messages)) == 1 else "their"
        started = f"when {self.cell} started the chat over" if self.run else "when the chat started over"
        return {
            "rerun": f"{turns} taken back when {self.cell} ran again",
            "deleted cell": f"{turns} taken back when {its} cell was deleted",
            "new": f"{turns} put aside {started}",
            "delete": f"{turns} deleted",
            "clear": f"{turns} deleted",
            "edit": "Question edited: the earlier version is kept",
            "retry": "Asked again: the earlier answer is kept",
            "failed": "Failed answer removed",
        }[self.kind]

    def __repr__(self) -> str:
        return f"<Removal: {self.kind}>"

    def put_back(self, histories: Sequence[Messages], messages: Messages) -> list[Messages]:
        """Return the histories with these messages of the removal back at their places."""
        now: list[Any] = []  # all messages, with None where the chat started over
        for number, one in enumerate(histories):
            now += [None, *one] if number else one
        if self.kind == "new":
            now = [one for one, after in zip(now, [*now[1:], 0], strict=True) if one or after is not self.question]
        inserted: dict[int, list[Any]] = {}
        for at, message in places(self.before, now, messages):
            inserted.setdefault(at, []).extend([None, message] if id(message) in self.starts else [message])
        result: list[Messages] = [[]]
        for at in range(len(now) + 1):
            for one in [*inserted.get(at, ()), *now[at : at + 1]]:
                if one is not None:
                    result[-1].append(one)
                elif result[-1]:
                    result.append([])
        return result


def places(before: Messages, now: Sequence[Any], messages: Messages) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield for each of these messages the index in ``now`` at which it belongs, in the order of ``before``.

    It belongs after what it followed before, and after what the same cells have asked since.
    """
    index = {id(message): at for at, message in enumerate(now)}
    after_cell: dict[str, int] = {}
    cell = ""
    for at, message in enumerate(now):
        if message is not None:
            cell = cell_of(message) if message.get("role") == "user" else cell
            if cell:
                after_cell[cell] = at + 1
    wanted = {id(message) for message in messages}
    at = 0
    for message in before:
        if id(message) in index:
            at = max(at, index[id(message)] + 1)
        else:
            at = max(at, after_cell.get(cell_of(message), 0))
            if id(message) in wanted:
                yield at, message


def of_cells(messages: Messages) -> tuple[Messages, Messages]:
    """Return the turns that cells have asked, and all other messages."""
    cells: Messages = []
    others: Messages = []
    for turn in turns_of(messages):
        (cells if cell_of(turn[0]) else others).extend(turn)
    return cells, others


def history_before_cell(histories: list[Messages], cell: str) -> list[Messages]:
    """Return the histories as they were before the first message of a cell.

    ``histories`` follow each other; the last one returned is the one that goes on. One that the cell itself started is
    left out. If the cell has no message, the same lists are returned.
    """
    for number, messages in enumerate(histories):
        for at, message in enumerate(messages):
            if cell_of(message) == cell:
                return [*histories[:number], *([messages[:at]] if at or not number else [])]
    return histories


def remove_cell(histories: list[Messages], cell: str) -> list[Messages]:
    """Return the histories without the turns of one cell.

    What is left of a history that the cell itself started continues the one before it.
    """
    left: list[Messages] = []
    for messages in histories:
        kept, is_of_cell = [], False
        for message in messages:
            if message.get("role") == "user":
                is_of_cell = cell_of(message) == cell
            if not is_of_cell:
                kept.append(message)
        if left and (kept[:1] != messages[:1] or not left[-1]):
            left[-1] += kept
        else:
            left.append(kept)
    return left
