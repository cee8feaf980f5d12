"""The list of answers that a cell returns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...chat.answer import Answer
from ...text import safe_terminal
from .columns import one_by_one, side_by_side
from .section import AnswerSection


class Answers(list[Any]):
    """The answers of several models, in the order of ``models``: an ``Answer`` each, or the error in its place.

    A notebook shows them side by side; in ``str()`` they are below each other.
    """

    def __init__(self, models: Sequence[str], answers: Sequence[Answer]) -> None:
        super().__init__(answers)
        self.models = [*models]

    def _repr_markdown_(self) -> str:
        return side_by_side((one.name, one.markdown(live=False)) for one in self._sections())

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(safe_terminal(str(self)))

    def __str__(self) -> str:
        return one_by_one((one.name, one.plain()) for one in self._sections())

    def _sections(self) -> Iterator[AnswerSection]:
        for name, one in zip(self.models, self, strict=False):  # the user may have changed the list
            section = AnswerSection(name=name)
            answer = one if isinstance(one, Answer) else Answer(text=getattr(one, "partial", ""))
            section.end(answer, answer is not one, one if isinstance(one, Exception) else None)
            yield section
