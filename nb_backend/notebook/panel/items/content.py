"""What is shown of one thing that was said: of a message, or of a question and its answer that are under way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ....chat import history as memory
from ....chat.answer import Answer
from ....events import RawResponse
from ....media.attachment import Attachment
from ....media.message_parts import text_of
from ....text import safe_terminal
from ...progress import read_progress
from ...status_line import status_line

if TYPE_CHECKING:
    from ....chat.turn import Turn


Hide = Callable[[str], str]  # takes keys out of a text
_ASKED = ("edit", "delete", "copy")
_ANSWERED = ("retry", "delete", "copy")


@dataclass
class ItemContent:
    """One thing as it is shown, before it is HTML. The fields are those of an item of the page."""

    role: str
    text: str = ""
    reasoning: str = ""
    status: str = "done"
    who: str = ""
    progress: str = ""
    error: str = ""
    time: int | None = None
    can: tuple[str, ...] = ()
    source: str = ""
    media: list[Attachment] = field(default_factory=list)
    addresses: Mapping[str, str] = field(default_factory=dict)
    alts: Mapping[str, str] = field(default_factory=dict)

    @property
    def grows(self) -> bool:
        """Whether more may come."""
        return self.status in ("waiting", "streaming")

    def facts(self) -> dict[str, Any]:
        """Give what an item says of it besides its text and images."""
        names = ("status", "who", "progress", "error", "time", "source")
        return {**{name: getattr(self, name) for name in names}, "can": [*self.can]}


def of_message(message: Mapping[str, Any], hide: Hide, source: Callable[[str], str]) -> ItemContent:
    """Give what a message of a conversation says; ``source`` names a cell by its id."""
    role = str(message.get("role") or "")
    known = memory.metadata(message)
    said = ItemContent(role, hide(text_of(message)), time=_milliseconds(known.get("time")), can=("delete", "copy"))
    if role == "user":
        said.can = _ASKED
        said.media = [one for one in message.get("media", ()) if isinstance(one, Attachment)]
        said.source = source(cell) if isinstance(cell := message.get("cell"), str) else ""
    elif role == "assistant":
        answer = Answer.of(message)
        said.can = _ANSWERED
        said.status = "stopped" if answer.stopped else "done"
        said.who = hide(status_line(answer, False)) if known else ""
        _tell(said, answer, hide)
    return said


def of_question(turn: Turn, hide: Hide, source: Callable[[str], str]) -> ItemContent:
    """Give what a question asks that is under way, or came to nothing."""
    said = of_message(turn.request.question, hide, source)
    said.media = turn.request.media
    said.source = source(turn.request.cell_run.cell) if turn.request.cell_run is not None else said.source
    said.can = _ASKED if turn.ended else ("copy",)
    return said


def of_answer(turn: Turn, hide: Hide, error_line: Callable[[BaseException], str]) -> ItemContent:
    """Give what has come for a question; to be called where nothing is added to it meanwhile."""
    answer = turn.answer
    said = ItemContent("assistant", hide(answer.text))
    _tell(said, answer, hide)
    begun = said.text or said.reasoning or answer.images
    said.status = "streaming" if begun else "waiting"
    said.can = ("copy",) if said.text else ()
    if turn.progress is not None and not begun:
        said.progress = safe_terminal(hide(_progress(turn.progress)))
    if turn.ended:
        failed = turn.error is not None
        said.status = "failed" if failed else "stopped" if answer.stopped or not turn.kept else "done"
        said.who = hide(status_line(answer, failed)) if begun else ""
        said.error = error_line(turn.error) if turn.error is not None else ""
        said.can = _ANSWERED if said.text else ("retry", "delete")
    return said


def _tell(said: ItemContent, answer: Answer, hide: Hide) -> None:
    said.reasoning = hide(answer.reasoning)
    said.addresses, said.alts = answer.image_targets(), dict(answer.alts)


def _milliseconds(time: object) -> int | None:
    is_time = isinstance(time, int | float) and 0 < time < 1e11
    return int(time * 1000) if is_time else None  # type: ignore[operator]


def _progress(event: RawResponse) -> str:
    progress = read_progress(event)
    if progress is None:
        return ""
    label, share = " ".join(progress[0].split())[:200], progress[1]
    return f"{label} …" if share is None else f"{label} {share:.0%}"
