"""Messages of a chat, as dicts.

A *turn* is a user message with all that answers it. A message may carry these local keys, which are never sent:

``stopped``  ``True``: the answer was stopped before its end
``trimmed``  how many of the oldest turns were left out of the request
``cell``     the id of the cell that asked
``system``   the system prompt from this message on
``media``    the attachments, a list of ``Attachment``
``state``    what the service wants back unchanged, and whose it is: ``{"owner": text, "items": list}``; opaque
``images``   what the image addresses in an answer stand for, as ``safe_markdown`` takes it
``rounds``   the rounds of an answer that called tools: the text before the calls, and the steps; see ``tool_rounds``
``speech``   the sound of a spoken answer, a data URI
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from ..media.message_parts import text_of
from ..text import counted
from ..typing import Messages

LOCAL_KEYS = frozenset({"stopped", "trimmed", "cell", "system", "media", "images", "state", "speech", "rounds"})
_TITLE_LENGTH = 58  # characters, without the ellipsis


class Message(dict[str, Any]):
    """Message with ``metadata`` beside its fields: time, model, provider, usage, seconds, reasoning. Never sent.

    The ``id`` in the metadata of a prompt identifies its turn, also in files and in another process.
    """

    __slots__ = ("metadata",)

    def __init__(self, message: Mapping[str, Any], metadata: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.metadata = metadata or {}


def system_prompt(messages: Messages) -> str | None:
    """Return the system prompt that the last message with one has set, or ``None``."""
    return next((message["system"] for message in reversed(messages) if "system" in message), None)


def new_turn_id() -> str:
    """Return an id for a turn: 12 random hex digits."""
    return secrets.token_hex(6)


def metadata(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a message; ``{}`` for a plain dict."""
    return message.metadata if isinstance(message, Message) else {}


def time_of(message: Mapping[str, Any]) -> float | None:
    """Return when a message was written, as a Unix time; ``None`` if its metadata has no valid time."""
    seconds = metadata(message).get("time")
    return seconds if isinstance(seconds, int | float) and 0 < seconds < 1e11 else None


def cell_of(message: Mapping[str, Any]) -> str:
    """Return the id of the cell that asked, "" if none did."""
    cell = message.get("cell")
    return cell if isinstance(cell, str) else ""


def turns_of(messages: Messages) -> list[Messages]:
    """Split messages into turns; what stands before the first prompt is a part of its own."""
    turns: list[Messages] = []
    for message in messages:
        if message.get("role") == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    return turns


def find_turn(messages: Messages, question: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the index of a user message, found by identity, and the index after its turn; ``None`` if it is gone."""
    start = next((at for at, message in enumerate(messages) if message is question), None)
    if start is None:
        return None
    after = (at for at in range(start + 1, len(messages)) if messages[at].get("role") == "user")
    return start, next(after, len(messages))


def count_turns(messages: Messages) -> int:
    """Return the number of turns, which is the number of user messages."""
    return sum(message.get("role") == "user" for message in messages)


def describe_length(messages: Messages) -> str:
    """Return the number of turns as text: ``1 turn``, ``3 turns``."""
    return counted(count_turns(messages), "turn")


def without_turns(count: int) -> str:
    """Return that so many of the oldest turns were left out: ``without the oldest turn``, ``… the 3 oldest turns``."""
    return "without the oldest turn" if count == 1 else f"without the {count:,} oldest turns"


def opening_words(messages: Iterable[Mapping[str, Any]]) -> str:
    """Return how the first question begins, in one line of at most 60 characters, or ""."""
    question = next((text for one in messages if one.get("role") == "user" and (text := _typed_text(one).strip())), "")
    words = " ".join(question[:1000].splitlines()[0].split()) if question else ""
    cut = words[:_TITLE_LENGTH]
    return words if cut == words else f"{cut.rpartition(' ')[0] or cut} …"


def _typed_text(message: Mapping[str, Any]) -> str:
    """Return the text of a message, as it was typed if it had expressions, because their values say little."""
    typed = metadata(message).get("typed")
    return typed if isinstance(typed, str) else text_of(message)


def trimmed_turns(messages: Messages) -> int:
    """Return how many of the oldest turns the next request trims: as many as the last request did."""
    trimmed = messages[-1].get("trimmed") if messages else None
    return min(trimmed, count_turns(messages)) if isinstance(trimmed, int) else 0
