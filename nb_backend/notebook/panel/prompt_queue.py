"""Prompts that wait until the answer before them ends; they are sent one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .between_cells import BetweenCells
from .filled_prompt import FilledPrompt
from .loop_tasks import spawn
from .panel_state import Draft, QueuedPrompt

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ...chat.turn import Turn

MAX_QUEUED = 50


class PromptQueue:
    """Sends the queued prompts of a draft, one after another.

    A stopped or failed answer, and a prompt that cannot be sent, hold the rest until ``resume``. Only code on the
    background loop uses this. ``draft`` returns the panel's draft, ``live`` the turns of its chat that have not ended,
    ``fill_in`` evaluates a prompt, ``ask`` sends it, ``on_change`` is called when the pages must show something else.
    """

    def __init__(
        self,
        cells: BetweenCells,
        *,
        draft: Callable[[], Draft],
        live: Callable[[], set[Turn]],
        fill_in: Callable[[QueuedPrompt], Awaitable[FilledPrompt]],
        ask: Callable[[FilledPrompt], Turn],
        error_line: Callable[[BaseException], str],
        on_change: Callable[[], None],
    ) -> None:
        self._cells = cells
        self._draft = draft
        self._live = live
        self._fill_in = fill_in
        self._ask = ask
        self._error_line = error_line
        self._on_change = on_change
        self._task: asyncio.Task[None] | None = None
        self._next: QueuedPrompt | None = None  # the one that the task sends

    def describe(self) -> dict[str, Any]:
        """Return the queue as a page shows it, with the reason why it waits."""
        draft = self._draft()
        prompts = [{"id": one.id, "text": one.text, "images": one.shown, "error": one.error} for one in draft.queue]
        waits_for_cell = self._next in draft.queue and self._cells.is_busy
        return {"prompts": prompts, "waits": draft.held or ("cell" if waits_for_cell else "answer")}

    def add(self, prompt: QueuedPrompt, before: object = None) -> None:
        """Add a prompt at the end, or before the one with this id. ``ValueError`` if there are too many."""
        queue = self._draft().queue
        if len(queue) >= MAX_QUEUED:
            raise ValueError(f"at most {MAX_QUEUED} questions can wait: remove one, or wait until the answer ends")
        at = next((at for at, one in enumerate(queue) if one.id == before), len(queue))
        queue.insert(at, prompt)
        self.advance()

    def take(self, id: str) -> QueuedPrompt:
        """Remove a prompt and return it. ``ValueError`` if it has been sent or removed."""
        queue = self._draft().queue
        found = next((one for one in queue if one.id == id), None)
        if found is None:
            raise ValueError("this question is no longer in the queue")
        queue.remove(found)
        if found is self._next and self._task is not None:
            self._task.cancel()  # it may wait for a cell, and the prompt after it need not
        return found

    def resume(self) -> None:
        """Send what was held."""
        draft = self._draft()
        draft.held = ""
        draft.awaited.clear()
        self.advance()

    def advance(self) -> None:
        """Send the first prompt, unless an answer is being written or something holds the queue."""
        draft = self._draft()
        if not draft.queue:
            draft.held = ""
            draft.awaited.clear()
            return
        live = self._live()
        draft.awaited |= live
        if draft.held or live or self._task is not None:
            return
        draft.held = next(filter(None, map(_problem, draft.awaited)), "")
        draft.awaited.clear()
        if draft.held:
            self._on_change()
        else:
            self._task = spawn(self._send_first(draft))

    async def _send_first(self, draft: Draft) -> None:
        try:
            if not draft.queue:
                return  # it was taken out before this task began
            self._next = prompt = draft.queue[0]
            prompt.error = ""
            self._on_change()
            try:
                filled = await self._fill_in(prompt)
                if self._draft() is not draft or prompt not in draft.queue[:1] or draft.held or self._live():
                    return  # things have changed meanwhile; the next advance() sees what is to be sent now
                turn = self._ask(filled)
            except Exception as error:
                if prompt in draft.queue:
                    prompt.error, draft.held = self._error_line(error), "error"
                return
            draft.queue.remove(prompt)
            draft.awaited = {turn}
        finally:
            self._task = self._next = None
            self._on_change()
            self.advance()


def _problem(turn: Turn) -> str:
    """Return why what follows a turn must wait: it was "stopped" or has "failed"; "" if nothing is wrong."""
    if turn.error is not None:
        return "failed"
    return "stopped" if turn.answer.stopped else ""
