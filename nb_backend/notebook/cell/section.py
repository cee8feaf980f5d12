"""One answer as Markdown and as text: while it streams, and as it stays in the notebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ...chat.answer import Answer
from ...chat.saved_rounds import notebook_rounds
from ...chat.source_list import sources_markdown, sources_text
from ...events import RawResponse
from ...markdown.data_uris import shorten_data_uris
from ...markdown.elements import code_block, error_note, escape_line, join_blocks
from ...tools.step import OPEN
from ..hints import Hints, no_hints
from ..progress import bar_markdown, read_progress
from ..status_line import status_line, status_markdown, status_text
from .growing import GrowingAnswer, final_pieces, is_short, whole_blocks
from .silence import Silence

_VISIBLE_TYPES = frozenset(
    {"content", "reasoning", "progress", "step"}
)  # of events; others do not change what is shown


@dataclass
class AnswerSection:
    """One answer, as far as it has arrived.

    ``name`` is its model if several answers are in one output, else "". ``reason`` is the error in one line; it is set
    only if there are several, as the cell itself shows the error of a single answer. ``mark`` is added to the status
    line, and what ``hints`` returns at the end.
    """

    format: str = "markdown"
    name: str = ""
    answer: Answer = field(default_factory=Answer)
    progress: str = ""
    ended: bool = False
    failed: bool = False
    reason: str = ""
    mark: str = ""
    hints: Hints = no_hints
    _shown_hints: Sequence[str] = ()
    _live_markdown: str | None = None  # kept while the sections beside this one are repainted
    _growing: GrowingAnswer = field(default_factory=GrowingAnswer)
    _silence: Silence = field(default_factory=Silence)
    _silent_line: str = ""  # how long nothing has arrived, while it is shown

    def add_event(self, event: RawResponse, answer: Answer) -> bool:
        """Add an event of the stream; return whether it changes what is shown."""
        self.answer = answer
        if event.type not in _VISIBLE_TYPES:
            return False
        self.progress, self._live_markdown = _progress_bar(event) if event.type == "progress" else "", None
        self._silent_line = ""
        self._silence.hear(event)
        if self._is_split:
            self._growing.add(event, answer)
        return True

    def tick(self) -> bool:
        """Note that time has passed; return whether it changes what is shown.

        While a tool runs, or the user is asked, nothing is painted again: a reader may have unfolded a step.
        """
        if self._has_open_step:
            return False
        again, line = self._silence.retry_line, self._silence.waiting_line
        progress = f"*{escape_line(again)}*" if again else self.progress
        if self.ended or (progress, line) == (self.progress, self._silent_line):
            return False
        self.progress, self._silent_line, self._live_markdown = progress, line, None
        return True

    def end(self, answer: Answer, failed: bool, error: Exception | None = None) -> None:
        """End the section: nothing more arrives; ``error`` is why the answer failed."""
        self.answer, self.ended, self.failed, self._live_markdown = answer, True, failed, None
        self.reason = error_line(error) if self.name and error is not None else ""
        self._shown_hints = self.hints()

    @property
    def status_text(self) -> str:
        """The line under the answer, as plain text."""
        return status_text(self.answer, self._status_line, self._shown_hints)

    @property
    def _status_line(self) -> str:
        return " · ".join(filter(None, [status_line(self.answer, self.failed), self.mark]))

    def metadata(self) -> dict[str, object]:
        """Return the metadata of the answer, with ``stopped``, ``failed`` and ``trimmed`` if they apply."""
        rounds = {"rounds": notebook_rounds(self.answer.tool_rounds)} if self.answer.tool_rounds else {}
        marks = {"stopped": self.answer.stopped, "failed": self.failed, "trimmed": self.answer.trimmed}
        marks["taken_back"] = bool(self.mark)
        return self.answer.metadata() | rounds | {mark: value for mark, value in marks.items() if value}

    @property
    def _is_split(self) -> bool:
        """Whether a long answer has several outputs: not so if it is one block, or a column among others."""
        return self.format in ("markdown", "code") and not self.name

    def finished_parts(self) -> Iterator[tuple[str, str, bool]]:
        """Yield what is finished since the last call, as Markdown, as text, and whether it replaces the part before."""
        if self._is_split:
            yield from self._growing.finished_parts(self.answer)

    def pieces(self) -> list[tuple[str, str]]:
        """Return the final answer in pieces, each as Markdown and as text; a short answer is one piece."""
        if not self._is_split or is_short(self.answer):
            return [(self.markdown(live=False), self.plain())]
        pieces = final_pieces(self.answer)
        last, plain = pieces.pop()
        return [*pieces, (join_blocks(last, self._ending), "\n\n".join(filter(None, [plain, self._why_incomplete])))]

    def markdown(self, *, live: bool) -> str:
        """Return the Markdown; ``live``: it will be painted again, so large images are written as a word or a link."""
        if not live:
            return self._markdown(live=False)
        if self._live_markdown is None:
            self._live_markdown = self._markdown(live=True)
        return self._live_markdown

    def _markdown(self, *, live: bool) -> str:
        return join_blocks(*self._blocks(live=live), self._ending if self.ended else self._waiting_line)

    def _blocks(self, *, live: bool) -> Iterator[str]:
        if live and self._is_split:
            yield from self._growing.open_blocks(self.answer)
            return
        *before, text, steps = whole_blocks(self.answer, live=live, ended=self.ended)
        yield from before
        last = self.answer.rounds[-1][0]
        if self.format == "json" and last.lstrip().startswith(("{", "[", '"')):
            text = "\n".join(code_block(shorten_data_uris(last) if live else last, "json", nested=False))
        yield from (text, steps)

    @property
    def _ending(self) -> str:
        reason = error_note(self.reason) if self.reason else ""
        return join_blocks(
            reason,
            sources_markdown(self.answer.sources),
            status_markdown(self.answer, self._status_line, self._shown_hints),
        )

    def plain(self) -> str:
        """Return the text; with ``-f text`` followed by the status line."""
        text = shorten_data_uris(self.answer.to_text())
        if not self.ended:
            return "\n\n".join(filter(None, [text, self._waiting_line.strip("*") if self.format == "text" else ""]))
        reason = f"[{self.reason}]" if self.reason else ""
        if self.format != "text":
            return "\n\n".join(filter(None, [text, reason, self._why_incomplete]))
        sources = sources_text(self.answer.sources)
        return "\n\n".join(filter(None, [text, reason, sources])) + f"\n\n{self.status_text}"

    @property
    def _why_incomplete(self) -> str:
        """Why the answer is incomplete, for the plain text of a notebook, which has no status line."""
        why = " · ".join(self.answer.shortcomings)
        return why and status_text(self.answer, why)

    @property
    def _has_open_step(self) -> bool:
        """Whether a tool runs, or the user is asked."""
        rounds = self.answer.tool_rounds
        return bool(rounds) and any(step.status in OPEN for step in rounds[-1].steps)

    @property
    def _waiting_line(self) -> str:
        answer = self.answer
        begun = answer.rounds[-1][0].strip() or answer.thoughts[-1] or answer.images or self._has_open_step
        silent = f"*{self._silent_line}*" if self._silent_line else ""
        line = " ".join(filter(None, [self.progress, silent]))  # a service may search the web between two texts
        return line or ("" if begun else "*waiting for the answer …*")


def error_line(error: Exception) -> str:
    """Return an error in one line, without keys."""
    from ...errors import BackendError
    from ..errors import MagicError

    message = str(MagicError(error))
    return f"{type(error).__name__}: {message}" if isinstance(error, BackendError) else message


def _progress_bar(event: RawResponse) -> str:
    progress = read_progress(event)
    if progress is None:
        return ""
    label, share = escape_line(progress[0]), progress[1]
    if share is None:
        return f"*{label} …*"
    return bar_markdown(label, share)
