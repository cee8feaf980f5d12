"""What a conversation remembers, and how much of it is sent. A *turn* is a question and what was said to it.

A message may carry marks of its own, under keys that never leave this machine:

``stopped``  ``True``: the answer was stopped before its end
``trimmed``  how many of the oldest turns were left out when this was asked
``cell``     the id of the cell that asked
``system``   the system prompt from this question on
``media``    what went along with it, a list of ``Attachment``
``images``   what the addresses of images in an answer stand for, as ``safe_markdown`` takes it
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..typing import Messages


class Message(dict[str, Any]):
    """A message, with what is known ``metadata`` it: when it was said, who answered, in which time; no part of it."""

    __slots__ = ("metadata",)

    def __init__(self, message: Mapping[str, Any], metadata: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.metadata = metadata or {}


LOCAL_KEYS = frozenset({"stopped", "trimmed", "cell", "system", "media", "images"})
_NEVER_TRIMMED = frozenset({"system", "developer"})  # roles that are never left out


def history_before_cell(conversations: list[Messages], cell: str) -> list[Messages]:
    """Give what was said before a cell's first word, in conversations that followed each other.

    The last of what is given goes on; one that the cell itself had begun is gone. A cell that has said nothing leaves
    them all as they are, the same lists.
    """
    for number, messages in enumerate(conversations):
        for at, message in enumerate(messages):
            if message.get("cell") == cell:
                return [*conversations[:number], *([messages[:at]] if at or not number else [])]
    return conversations


def remove_cell(conversations: list[Messages], cell: str) -> list[Messages]:
    """Give conversations that followed each other without what one cell asked and was told; what others said stays.

    What is left of one that the cell itself had begun goes on from the one before it.
    """
    left: list[Messages] = []
    for messages in conversations:
        kept, asks = [], False
        for message in messages:
            if message.get("role") == "user":
                asks = message.get("cell") == cell
            if not asks:
                kept.append(message)
        if left and (kept[:1] != messages[:1] or not left[-1]):
            left[-1] += kept
        else:
            left.append(kept)
    return left


def system_prompt(messages: Messages) -> str | None:
    """Give the system prompt that a question in it has set for those after it, if one has."""
    return next((message["system"] for message in reversed(messages) if "system" in message), None)


def metadata(message: Mapping[str, Any]) -> dict[str, Any]:
    """Give what is known about a message: nothing of one that was put there by hand."""
    return message.metadata if isinstance(message, Message) else {}


def find_turn(messages: Messages, question: Mapping[str, Any]) -> tuple[int, int] | None:
    """Give where a question stands, that very one, and where what was said to it ends; ``None`` if it is gone."""
    start = next((at for at, message in enumerate(messages) if message is question), None)
    if start is None:
        return None
    after = (at for at in range(start + 1, len(messages)) if messages[at].get("role") == "user")
    return start, next(after, len(messages))


def count_turns(messages: Messages) -> int:
    """Count the turns: the questions in it."""
    return sum(message.get("role") == "user" for message in messages)


def describe_length(messages: Messages) -> str:
    """Say how long a conversation is: ``1 turn``, ``3 turns``."""
    count = count_turns(messages)
    return f"{count} turn{'' if count == 1 else 's'}"


def trimmed_turns(messages: Messages) -> int:
    """Give how many of the oldest turns the next question leaves out: as many as the last one had to."""
    trimmed = messages[-1].get("trimmed") if messages else None
    return min(trimmed, count_turns(messages)) if isinstance(trimmed, int) else 0


def wire_messages(messages: Messages, without: int = 0, *, pictures: bool = True) -> Messages:
    """Give the messages as they are sent: no marks, and without the oldest turns; instructions always stay.

    What went along with a question does so again, as parts of its content; ``pictures`` says whether they do.
    """
    sent, questions = [], 0
    for message in messages:
        questions += message.get("role") == "user"
        if questions > without or message.get("role") in _NEVER_TRIMMED or not without:
            sent.append(_sent(message, pictures))
    return sent


def _sent(message: dict[str, Any], pictures: bool) -> dict[str, Any]:
    sent = {key: value for key, value in message.items() if key not in LOCAL_KEYS}
    media = [one for one in message.get("media", ()) if pictures or not one.is_image]
    if message.get("role") == "assistant" and isinstance(said := sent.get("content"), str):
        from ..markdown.data_uris import shorten_data_uris

        sent["content"] = shorten_data_uris(said)  # an image in it is read by nobody as text
    if media:
        from ..media.message_parts import content_part

        content = message.get("content") or []
        text = [{"type": "text", "text": content}] if isinstance(content, str) else content
        sent["content"] = [*(content_part(one.uri, one.name) for one in media), *text]
    return sent
