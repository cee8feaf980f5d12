"""What an item shows, as text: of a message, or of the question or the answer of a turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ....chat.answer import Answer, summarize
from ....chat.continuation import was_cut_off
from ....chat.messages import metadata as metadata_of
from ....chat.messages import time_of
from ....chat.source_list import masked
from ....events import RawResponse
from ....media.attachment import Attachment
from ....media.message_parts import text_of
from ....providers.sources import Source
from ....text import safe_terminal
from ....tools.step import ToolStep
from ...progress import read_progress, read_wait
from ..filled_prompt import about_prompt
from .fixes import fixes, hint

if TYPE_CHECKING:
    from ....chat.turn import Turn
    from .arrange import ItemSource


Mask = Callable[[str], str]
"""Replaces the keys in a text by ``***``."""
_QUESTION_ACTIONS = ("edit", "delete", "copy")
_ANSWER_ACTIONS = ("retry", "delete", "copy")


@dataclass
class ItemContent:
    """The content of an item before it is rendered. Most fields are those of an item in page/protocol.js."""

    role: str
    text: str = ""
    rounds: list[tuple[str, list[ToolStep]]] = field(default_factory=list)
    """The text in parts with the steps that follow each of them, if there are steps."""
    reasoning: str = ""
    status: str = "done"
    who: str = ""
    progress: str = ""
    wait: float | None = None
    error: str = ""
    time: int | None = None
    can: tuple[str, ...] = ()
    source: str = ""
    media: list[Attachment] = field(default_factory=list)
    filled: int = 0
    """How many of the first images are values of expressions in the text."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    alts: Mapping[str, str] = field(default_factory=dict)
    sources: list[Source] = field(default_factory=list)
    sound: Attachment | None = None
    fixes: list[dict[str, str]] = field(default_factory=list)
    version: tuple[int, int] | None = None
    fold: str = ""
    mask: Mask = str
    asked: str = ""
    """Where the user is asked whether a call may run."""
    ask: dict[str, Any] | None = None
    """The question that this panel asks."""

    @property
    def is_growing(self) -> bool:
        """Whether more text may arrive."""
        return self.status in ("waiting", "streaming")

    def fields(self) -> dict[str, Any]:
        """Return the fields of the page's item, except for text and images."""
        names = ("status", "who", "progress", "wait", "error", "time", "source", "fixes", "version", "fold", "ask")
        return {**{name: getattr(self, name) for name in names}, "can": [*self.can]}


def message_content(message: Mapping[str, Any], mask: Mask, cell_label: Callable[[str], str]) -> ItemContent:
    """Return the content of a message of the history."""
    role = str(message.get("role") or "")
    metadata, time = metadata_of(message), time_of(message)
    text = mask(text_of(message))
    content = ItemContent(role, text, time=None if time is None else int(1000 * time), can=("delete", "copy"))
    if role == "user":
        content.can = _QUESTION_ACTIONS
        content.media = [one for one in message.get("media", ()) if isinstance(one, Attachment)]
        content.filled = about_prompt(metadata).get("filled", 0)
        content.source = cell_label(cell) if isinstance(cell := message.get("cell"), str) else ""
    elif role == "assistant":
        answer = Answer.of(message)
        content.can = _ANSWER_ACTIONS
        content.status, content.error = _final_status(answer, mask)
        if isinstance(failure := metadata.get("failed"), str) and failure:
            content.status, content.error = "failed", safe_terminal(mask(failure))
        content.who = mask(_facts(answer, content.status)) if metadata else ""
        _add_answer(content, answer, mask)
        content.can += ("continue",) if was_cut_off(answer) else ()
    return content


def removal_content(source: ItemSource, mask: Mask, cell_label: Callable[[str], str]) -> ItemContent:
    """Return the content of a message that was taken back, or of the line that says so."""
    if source.message is None:
        content = ItemContent("removal", who=source.summary, can=("undo",))
    else:
        content = message_content(source.message, mask, cell_label)
        content.can = ("copy",)
    content.fold = source.removal.id if source.removal is not None else ""
    return content


def question_content(turn: Turn, mask: Mask, cell_label: Callable[[str], str]) -> ItemContent:
    """Return the content of the question of a live or failed turn."""
    content = message_content(turn.request.question, mask, cell_label)
    content.media = turn.request.media
    if turn.request.cell_run is not None:
        content.source = cell_label(turn.request.cell_run.cell)
    content.can = _QUESTION_ACTIONS if turn.ended else ("copy",)
    return content


def answer_content(turn: Turn, mask: Mask, error_line: Callable[[BaseException], str]) -> ItemContent:
    """Return the content of the answer so far. Call it where no other thread changes the answer meanwhile."""
    answer = turn.answer
    content = ItemContent("assistant", mask(answer.text))
    _add_answer(content, answer, mask)
    has_begun = content.text or content.reasoning or answer.images or answer.audio or content.rounds
    content.status = "streaming" if has_begun else "waiting"
    content.can = ("copy",) if content.text else ()
    if turn.progress is not None and not turn.ended:  # a service may search the web between two texts
        progress, wait = _progress(turn.progress)
        content.progress, content.wait = safe_terminal(mask(progress)), wait
    if content.rounds and not turn.ended:
        content.asked = "asked in the cell" if turn.request.cell_run is not None else "asked in another panel"
        content.progress = safe_terminal(mask(_running(answer.steps))) or content.progress
    if turn.ended:
        content.status, content.error = ("stopped", "") if not turn.kept else _final_status(answer, mask)
        if turn.error is not None:
            content.status, content.error = "failed", error_line(turn.error).removesuffix(hint(turn))
            content.fixes = fixes(turn)
        content.who = mask(_facts(answer, content.status)) if has_begun else ""
        content.can = _ANSWER_ACTIONS if content.text else ("retry", "delete")
        content.can += ("continue",) if turn.kept and was_cut_off(answer) else ()
    return content


def _facts(answer: Answer, status: str) -> str:
    """Return the status line; if the item says that it was stopped or why it is incomplete, this is not repeated."""
    told = {"stopped": ["stopped"], "incomplete": answer.shortcomings}
    return summarize(answer, failed=status == "failed", without=told.get(status, ()))


def _final_status(answer: Answer, mask: Mask) -> tuple[str, str]:
    """Return the status of an answer that has ended without a failure, and why it is incomplete."""
    if answer.stopped:
        return "stopped", ""
    why = safe_terminal(mask(", ".join(answer.shortcomings)))
    return ("incomplete", f"Incomplete: {why}.") if why else ("done", "")


def _add_answer(content: ItemContent, answer: Answer, mask: Mask) -> None:
    content.reasoning = mask(answer.reasoning)
    content.mask = mask
    if answer.tool_rounds:
        content.rounds = [(mask(text), steps) for text, steps in answer.rounds]
    content.addresses, content.alts = answer.image_targets(), dict(answer.alts)
    content.sources, content.sound = masked(answer.sources, mask), answer.audio


def _running(steps: Sequence[ToolStep]) -> str:
    """Return which tools run, in words."""
    names = dict.fromkeys(step.call.name for step in steps if step.status == "running")
    return _one_line(f"Running {', '.join(names)}") if names else ""


def _progress(event: RawResponse) -> tuple[str, float | None]:
    """Return what the item says, and if the request is sent again, in how many seconds from the event on."""
    progress = read_progress(event)
    if progress is None:
        return "", None
    label, share = progress
    if (again := read_wait(event)) is not None:
        return _one_line(again[0]), again[1]
    return (f"{_one_line(label)} …" if share is None else f"{_one_line(label)} {share:.0%}"), None


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
