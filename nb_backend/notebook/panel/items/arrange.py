"""Which items a page shows, and in which order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ....chat.removals import READABLE, Removal, places
from ....typing import Messages

if TYPE_CHECKING:
    from ....chat.turn import Turn


@dataclass(eq=False)
class FailedTurn:
    """A turn that is not in the history: it failed, or it was stopped before any text arrived."""

    turn: Turn | None
    """``None`` if the turn came back from a record."""
    after: object | None
    """The message of the history after which the turn is shown; None if the history was empty."""
    messages: Sequence[dict[str, Any]] = ()
    """Prompt and partial answer as messages for the transcript; empty if no text arrived."""
    removal: Removal | None = None
    """The removal that has removed it from the panel, unless that is undone."""

    @property
    def is_shown(self) -> bool:
        """Whether the panel shows it."""
        return self.removal is None or self.removal.undone


@dataclass(eq=False)
class ItemSource:
    """What one item shows: a message of the history, or one side of a turn that is not in the history (yet)."""

    key: tuple[str, int]
    """Identifies the item; an answer keeps its key when its turn becomes a message."""
    message: Mapping[str, Any] | None = None
    turn: Turn | None = None
    is_answer: bool = False
    failed: FailedTurn | None = None
    question: Mapping[str, Any] | None = None
    """The user message that ``message`` answers."""
    removal: Removal | None = None
    """The removal that has removed ``message``; without a message, the item is the line that says so."""
    summary: str = ""
    """The text of that line."""
    version: tuple[int, int] | None = None
    """Which of several versions ``message`` is, from 1, and how many there are."""

    state: tuple[object, ...] = field(init=False)
    """The objects that are replaced when the item changes, as they were at the start. Compared by identity."""

    @property
    def marks(self) -> tuple[object, ...]:
        """What the item shows besides its message. Compared by value."""
        return self.removal, self.summary, self.version

    def __post_init__(self) -> None:
        content = self.message.get("content") if self.message is not None else None
        stopped = self.message.get("stopped") if self.message is not None else None
        self.state = self.message, self.turn, content, stopped, self.turn is not None and self.turn.ended


def arrange_items(
    messages: Sequence[Mapping[str, Any]],
    live: Sequence[Turn],
    failed: Sequence[FailedTurn],
    removals: Sequence[tuple[Removal, Messages]] = (),
    versions: Mapping[int, tuple[int, int]] | None = None,
) -> list[ItemSource]:
    """Return the sources of all items in order: history, failed turns, live turns.

    A turn that asks a question again hides the messages that it will replace. What was taken back stands at its place,
    below a line that says so. ``versions`` are those of ``Chat.versions``.
    """
    in_history = {id(message) for message in messages}
    live = [turn for turn in live if id(turn.request.question) not in in_history]
    replaced = {id(turn.request.instead) for turn in live if turn.request.instead is not None}
    end = next((at for at, message in enumerate(messages) if id(message) in replaced), len(messages))
    failed_after: dict[int | None, list[FailedTurn]] = {}
    for one in failed:
        after = id(one.after) if one.after is not None and id(one.after) in in_history else None
        failed_after.setdefault(after, []).append(one)
    removed_before = _removed_before(messages, removals)

    sources: list[ItemSource] = []
    for at, source in enumerate(_message_sources(messages[:end], versions or {})):
        sources += removed_before.get(at, ())
        sources.append(source)
        sources += _failed_sources(failed_after.get(id(source.message), ()))
    sources += removed_before.get(end, ())
    for message in messages[end:]:
        sources += _failed_sources(failed_after.get(id(message), ()))
    sources += _failed_sources(failed_after.get(None, ()))
    for turn in live:
        sources += _turn_sources(turn)
    return sources


def _message_sources(
    messages: Sequence[Mapping[str, Any]], versions: Mapping[int, tuple[int, int]], removal: Removal | None = None
) -> Iterator[ItemSource]:
    question: Mapping[str, Any] | None = None
    for message in messages:
        is_user = message.get("role") == "user"
        is_answer = message.get("role") == "assistant" and question is not None
        key = ("a", id(question)) if is_answer else ("m", id(message))
        asked = None if is_user else question
        version = versions.get(id(message))
        yield ItemSource(key, message, is_answer=is_answer, question=asked, removal=removal, version=version)
        question = message if is_user else None if is_answer else question


def _removed_before(
    messages: Sequence[Mapping[str, Any]], removals: Sequence[tuple[Removal, Messages]]
) -> dict[int, list[ItemSource]]:
    """Return the sources of what was taken back, by the index of the message before which it stands."""
    sources: dict[int, list[ItemSource]] = {}
    for removal, removed in removals:
        if removal.kind in READABLE:
            at = next((at for at, _ in places(removal.before, messages, removed)), len(messages))
            line = ItemSource(("r", id(removal)), removal=removal, summary=removal.describe(removed))
            sources.setdefault(at, []).extend([line, *_message_sources(removed, {}, removal)])
    return sources


def _failed_sources(failed: Sequence[FailedTurn]) -> Iterator[ItemSource]:
    for one in failed:
        if one.turn is not None:
            yield from _turn_sources(one.turn, one)
            continue
        question, *answers = one.messages
        yield ItemSource(("m", id(question)), question, failed=one)
        for answer in answers:
            yield ItemSource(("a", id(question)), answer, is_answer=True, failed=one, question=question)


def _turn_sources(turn: Turn, failed: FailedTurn | None = None) -> Iterator[ItemSource]:
    question = turn.request.question
    yield ItemSource(("m", id(question)), question, turn, failed=failed)
    yield ItemSource(("a", id(question)), None, turn, is_answer=True, failed=failed)
