"""The order of a panel's items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ....chat.turn import Turn


@dataclass(eq=False)
class FailedTurn:
    """A turn that is in no conversation: it failed, or was stopped before a word. It stands behind a message."""

    turn: Turn
    after: object | None
    on_change: Sequence[dict[str, Any]] = ()  # as messages, if something had come


@dataclass(eq=False)
class ItemSource:
    """One thing to show: a message, or the question or the answer of a turn that is not in the conversation (yet)."""

    key: tuple[str, int]
    message: Mapping[str, Any] | None = None
    turn: Turn | None = None
    answers: bool = False
    failed: FailedTurn | None = None
    question: Mapping[str, Any] | None = None  # that a message answers

    state: tuple[object, ...] = field(init=False)
    """What would make it another one, as it was when this was made; compared by identity."""

    def __post_init__(self) -> None:
        content = self.message.get("content") if self.message is not None else None
        stopped = self.message.get("stopped") if self.message is not None else None
        self.state = self.message, self.turn, content, stopped, self.turn is not None and self.turn.ended


def arrange_items(
    messages: Sequence[Mapping[str, Any]], turns: Sequence[Turn], failed: Sequence[FailedTurn]
) -> list[ItemSource]:
    """Give what is shown, in its order. A question that is asked anew hides what it will take the place of."""
    kept = {id(message) for message in messages}
    turns = [turn for turn in turns if id(turn.request.question) not in kept]
    replaced = {id(turn.request.instead) for turn in turns if turn.request.instead is not None}
    cut = next((at for at, message in enumerate(messages) if id(message) in replaced), len(messages))
    things: list[ItemSource] = []
    question: Mapping[str, Any] | None = None
    behind: dict[int | None, list[FailedTurn]] = {}
    for one in failed:
        behind.setdefault(id(one.after) if one.after is not None and id(one.after) in kept else None, []).append(one)
    for message in messages[:cut]:
        answers = message.get("role") == "assistant" and question is not None
        things.append(
            ItemSource(("a" if answers else "m", id(question if answers else message)), message, answers=answers)
        )
        things[-1].question = question if message.get("role") != "user" else None
        question = message if message.get("role") == "user" else None if answers else question
        things += _of_turns(behind.get(id(message), ()))
    for at in range(cut, len(messages)):
        things += _of_turns(behind.get(id(messages[at]), ()))
    things += _of_turns(behind.get(None, ()))
    for turn in turns:
        things += _of_turn(turn)
    return things


def _of_turns(failed: Sequence[FailedTurn]) -> Iterator[ItemSource]:
    for one in failed:
        for thing in _of_turn(one.turn):
            thing.failed = one
            yield thing


def _of_turn(turn: Turn) -> Iterator[ItemSource]:
    question = turn.request.question
    yield ItemSource(("m", id(question)), question, turn)
    yield ItemSource(("a", id(question)), None, turn, answers=True)
