"""What the tests of a conversation's memory share."""

from __future__ import annotations

from serving import Backend

from nb_backend import Chat
from nb_backend.chat.cell_run import from_cell

STATE = {"type": "conversation", "conversation": {"scripted": {"id": 7}}}


def questions(chat: Chat) -> list[str]:
    return [message["content"] for message in chat.messages if message["role"] == "user"]


def sent(backend: Backend, at: int = -1) -> list[str]:
    """The texts of a request, the system prompt and the answers in it included."""
    return [message["content"] for message in backend.engine.history[at]["messages"]]


async def run_cells(chat: Chat, *cells: str) -> None:
    for cell in cells:
        with from_cell(cell):
            await chat.ask(f"{cell}?")
