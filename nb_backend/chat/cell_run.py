"""The execution of a cell, within which a question is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import Any, Self


class CellRun:
    """One run of a cell: what it asks is one thing to take back when the cell runs again.

    ``number`` tells which of two runs is the later; one that another process had, in a pickle, was before all.
    """

    _numbers = count(1)

    def __init__(self, cell: str) -> None:
        self.cell = cell
        self.number = next(self._numbers)
        self.was_dry_run = False  # it only looked at what would be sent, so what it had said before stays

    def __deepcopy__(self, memo: object) -> Self:
        return self  # a copy of a conversation goes on within the run

    def __getstate__(self) -> dict[str, Any]:
        return {"cell": self.cell, "number": 0, "previewed": self.was_dry_run}

    def __repr__(self) -> str:
        return f"CellRun({self.cell!r})"


cell_run: ContextVar[CellRun | None] = ContextVar("nb_backend_cell_run", default=None)
"""The run of a cell that asks, in this context; ``None`` where there are no cells, or none that says its id."""


@contextmanager
def from_cell(cell: str | CellRun | None) -> Iterator[CellRun | None]:
    """Let a cell be the one that asks, in every conversation, inside this ``with``.

    Given its id, each ``with`` is a run of its own; given a ``CellRun``, it is a part of that. ``None`` or ``""`` is
    no cell: what is asked comes after all that was said.
    """
    run = CellRun(cell) if isinstance(cell, str) and cell else cell or None
    token = cell_run.set(run if isinstance(run, CellRun) else None)
    try:
        yield cell_run.get()
    finally:
        cell_run.reset(token)
