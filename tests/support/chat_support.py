"""Helpers of the tests of chats."""

from __future__ import annotations

from serving import Backend

from nb_backend import Chat
from nb_backend.chat.cell_run import from_cell

STATE = {"type": "conversation", "conversation": {"scripted": {"id": 7}}}


def questions(chat: Chat) -> list[str]:
    """Return the prompts in a chat."""
    return [message["content"] for message in chat.messages if message["role"] == "user"]


def sent(backend: Backend, at: int = -1) -> list[str]:
    """Return the texts of all messages of a request, with the system prompt and the answers."""
    return [message["content"] for message in backend.engine.history[at]["messages"]]


async def run_cells(chat: Chat, *cells: str) -> None:
    """Run cells one after the other; each asks its id with a question mark."""
    for cell in cells:
        with from_cell(cell):
            await chat.ask(f"{cell}?")
