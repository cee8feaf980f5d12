"""The queue of a panel's prompts, without a kernel."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from nb_backend.notebook.panel.between_cells import BetweenCells
from nb_backend.notebook.panel.filled_prompt import FilledPrompt
from nb_backend.notebook.panel.panel_state import Draft, QueuedPrompt
from nb_backend.notebook.panel.prompt_queue import PromptQueue


def queue(draft: Draft, sent: list[str]) -> PromptQueue:
    def ask(prompt: FilledPrompt) -> Any:
        sent.append(prompt.text)
        return SimpleNamespace(error=None, ended=True, answer=SimpleNamespace(stopped=False))

    async def fill_in(prompt: QueuedPrompt) -> FilledPrompt:
        return FilledPrompt(prompt.text, [])

    return PromptQueue(
        BetweenCells(None),
        draft=lambda: draft,
        live=set,
        fill_in=fill_in,
        ask=ask,
        error_line=str,
        on_change=lambda: None,
    )


def test_a_prompt_that_is_removed_before_it_is_sent_does_not_hold_the_next_one():
    async def run() -> list[str]:
        draft, sent = Draft(), []
        prompts = queue(draft, sent)
        prompts.add(QueuedPrompt("1", "one", {}))
        prompts.take("1")  # the task that sends it has not begun
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        prompts.add(QueuedPrompt("2", "two", {}))
        for _ in range(10):
            await asyncio.sleep(0)
        assert draft.queue == []
        return sent

    assert asyncio.run(run()) == ["two"]
