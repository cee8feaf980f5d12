"""Runs of cells, and which run a prompt belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import Any, Self


class CellRun:
    """One run of a cell. All that it asks is taken back together when the cell runs again.

    ``number`` is higher for later runs. A run from a pickle has number 0, so it is earlier than all runs of this
    process. ``execution_count`` is the n of ``In [n]``, if it is known.
    """

    execution_count: int | None = None
    _numbers = count(1)

    def __init__(self, cell: str, execution_count: int | None = None) -> None:
        self.cell = cell
        self.number = next(self._numbers)
        self.execution_count = execution_count
        self.was_dry_run = False  # a dry run takes nothing back

    def __deepcopy__(self, memo: object) -> Self:
        return self  # so that a copied chat continues within the same run

    def __getstate__(self) -> dict[str, Any]:
        return {"cell": self.cell, "number": 0, "was_dry_run": self.was_dry_run}

    @property
    def label(self) -> str:
        """The cell as people know it: ``cell [3]``."""
        return "a cell" if self.execution_count is None else f"cell [{self.execution_count}]"

    def __repr__(self) -> str:
        return f"CellRun({self.cell!r})"


cell_run: ContextVar[CellRun | None] = ContextVar("nb_backend_cell_run", default=None)
"""The cell run of the current context; ``None`` outside of cells, and if the front end does not send cell ids."""


@contextmanager
def from_cell(cell: str | CellRun | None) -> Iterator[CellRun | None]:
    """Context manager inside which all prompts, in every chat, belong to a cell.

    With a cell id, each ``with`` is a new run of that cell; with a ``CellRun``, it is part of that run. With ``None``
    or ``""`` prompts belong to no cell, and take nothing back.
    """
    run = CellRun(cell) if isinstance(cell, str) and cell else cell or None
    token = cell_run.set(run if isinstance(run, CellRun) else None)
    try:
        yield cell_run.get()
    finally:
        cell_run.reset(token)
