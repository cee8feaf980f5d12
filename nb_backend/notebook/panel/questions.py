"""The questions of a panel whether a call may run: the user answers them by two buttons of the page.

An open question has a random id, which only the pages of its panel get. It can be answered once.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ...tools.asking import shown_name
from ...tools.consent import Consent
from .items.steps import Mask, question_html

if TYPE_CHECKING:
    from ...chat.turn import Turn
    from ...providers.tool_calls import ToolCall
    from ...tools.tool import Tool


@dataclass(eq=False)
class Question:
    """An open question about a call."""

    id: str
    call: ToolCall
    tool: Tool
    answer: asyncio.Future[Consent | None]

    def fields(self, mask: Mask) -> dict[str, Any]:
        """Return the question as a page shows it."""
        name = mask(shown_name(self.tool.name))
        until = "this answer ends" if self.tool.scope == "cell" else "the kernel ends"
        return {
            "id": self.id,
            "step": self.call.id,
            "tool": name,
            "always": f"Always allow {name} until {until}",
            "code": question_html(self.call, mask),
        }

    def settle(self, consent: Consent | None) -> bool:
        """Answer the question, ``None`` if nobody can be asked any more; return whether it was still open."""
        is_open = not self.answer.done()
        if is_open:
            self.answer.set_result(consent)
        return is_open


class Questions:
    """What one panel asks. ``on_change`` is called with a turn when a question about its calls opens."""

    def __init__(self, on_change: Callable[[Turn], None]) -> None:
        self.on_change = on_change
        self._open: WeakKeyDictionary[Turn, Question | None] = WeakKeyDictionary()
        self._heir: Questions | None = None
        self._is_closed = False

    def ask_about(self, turn: Turn) -> None:
        """Ask in this panel whether the calls of a turn may run."""

        async def asker(call: ToolCall, tool: Tool) -> Consent | None:
            return await self._ask(turn, call, tool)

        self._open[turn] = None
        turn.request.consents.asker = asker

    async def _ask(self, turn: Turn, call: ToolCall, tool: Tool) -> Consent | None:
        if self._heir is not None:
            return await self._heir._ask(turn, call, tool)
        if self._is_closed:
            return None
        question = Question(secrets.token_hex(16), call, tool, asyncio.get_running_loop().create_future())
        self._note(turn, question)
        try:
            return await question.answer
        finally:
            self._last_heir._open[turn] = None

    def _note(self, turn: Turn, question: Question | None) -> None:
        self._open[turn] = question
        self.on_change(turn)

    @property
    def _last_heir(self) -> Questions:
        return self if self._heir is None else self._heir._last_heir

    def about(self, turn: Turn) -> tuple[bool, Question | None]:
        """Return whether this panel asks about the calls of a turn, and the question that is open now."""
        return turn in self._open, self._open.get(turn)

    def answer(self, id: str, step: str, consent: Consent) -> None:
        """Answer an open question. ``ValueError`` if this panel does not ask it, or not any more."""
        for question in [*self._open.values()]:
            if question is not None and (question.id, question.call.id) == (id, step) and question.settle(consent):
                return
        raise ValueError("this question is no longer open")

    def close(self, heir: Questions | None) -> None:
        """Leave the questions to another panel; without one, nobody can be asked any more."""
        self._is_closed, self._heir = True, heir
        mine, self._open = {**self._open}, WeakKeyDictionary()
        for turn, question in mine.items():
            if heir is not None:
                heir._note(turn, question)
            elif question is not None:
                question.settle(None)
