"""One answer as Markdown and as text: while it streams, and as it stays in the notebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ...chat.answer import Answer
from ...chat.source_list import sources_markdown, sources_text
from ...events import RawResponse
from ...markdown.data_uris import shorten_data_uris, shorten_images
from ...markdown.elements import code_block, error_note, escape_line, join_blocks
from ...markdown.images import piece_markdown
from ...markdown.safe import safe_markdown
from ...markdown.split import MAX_UNSPLIT_CHARS, MIN_PIECE_CHARS, StreamingMarkdown, split_text
from ..hints import Hints, no_hints
from ..progress import bar_markdown, read_progress
from ..status_line import status_line, status_markdown, status_text
from .silence import Silence

_VISIBLE_TYPES = frozenset({"content", "reasoning", "progress"})  # of events; others do not change what is shown


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
    _reasoning_finished: bool = False  # a finished part shows the reasoning
    _piece_reasoning: str = ""  # the reasoning, if it is shown above the last finished parts
    _growing: StreamingMarkdown = field(default_factory=StreamingMarkdown)
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
        if self._is_split and (text := str(event)):
            self._growing.append(text)
        return True

    def tick(self) -> bool:
        """Note that time has passed; return whether it changes what is shown."""
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
        marks = {"stopped": self.answer.stopped, "failed": self.failed, "trimmed": self.answer.trimmed}
        marks["taken_back"] = bool(self.mark)
        return self.answer.metadata() | {mark: value for mark, value in marks.items() if value}

    @property
    def _is_split(self) -> bool:
        """Whether a long answer has several outputs: not so if it is one block, or a column among others."""
        return self.format in ("markdown", "code") and not self.name

    def finished_parts(self) -> Iterator[tuple[str, str, bool]]:
        """Yield what is finished since the last call, as Markdown, as text, and whether it replaces the part before."""
        if not self._is_split:
            return
        answer = self.answer
        if answer.text and len(answer.reasoning) >= MIN_PIECE_CHARS and not self._reasoning_finished:
            yield self._reasoning_markdown(live=True), "", False
            self._reasoning_finished = True
        for blocks, text, grows in self._growing.finished_parts(answer.image_targets(), answer.alts):
            if not grows:
                self._piece_reasoning = self._open_reasoning
            yield join_blocks(self._piece_reasoning, *blocks), shorten_data_uris(text), grows
            self._reasoning_finished = True

    @property
    def _open_reasoning(self) -> str:
        """The reasoning as Markdown, or "" if a finished part shows it."""
        return "" if self._reasoning_finished else self._reasoning_markdown(live=True)

    def pieces(self) -> list[tuple[str, str]]:
        """Return the final answer in pieces, each as Markdown and as text; a short answer is one piece."""
        answer, is_short = self.answer, len(self.answer.text) + len(self.answer.reasoning) <= MAX_UNSPLIT_CHARS
        texts = [answer.text] if is_short or not self._is_split else split_text(answer.text)
        if is_short or not self._is_split or (len(texts) == 1 and len(answer.reasoning) < MIN_PIECE_CHARS):
            return [(self.markdown(live=False), self.plain())]
        shown = piece_markdown(texts, answer.image_targets(), answer.alts)
        reasoning = self._reasoning_markdown(live=False)
        if len(answer.reasoning) >= MIN_PIECE_CHARS:
            shown, texts = [reasoning, *shown], ["", *texts]
        else:
            shown[0] = join_blocks(reasoning, shown[0])
        shown[-1] = join_blocks(shown[-1], self._ending)
        texts[-1] = "\n\n".join(filter(None, [texts[-1], self._why_incomplete]))
        return [*zip(shown, map(shorten_data_uris, texts), strict=True)]

    def markdown(self, *, live: bool) -> str:
        """Return the Markdown; ``live``: it will be painted again, so large images are written as a word or a link."""
        if not live:
            return self._markdown(live=False)
        if self._live_markdown is None:
            self._live_markdown = self._markdown(live=True)
        return self._live_markdown

    def _markdown(self, *, live: bool) -> str:
        reasoning = self._open_reasoning if live else self._reasoning_markdown(live=False)
        return join_blocks(reasoning, self._body(live=live), self._ending if self.ended else self._waiting_line)

    def _reasoning_markdown(self, *, live: bool) -> str:
        reasoning = shorten_images(self.answer.reasoning) if live else self.answer.reasoning
        return _details(reasoning, is_open=not (self.ended or self.answer.text))

    @property
    def _ending(self) -> str:
        reason = error_note(self.reason) if self.reason else ""
        return join_blocks(
            reason,
            sources_markdown(self.answer.sources),
            status_markdown(self.answer, self._status_line, self._shown_hints),
        )

    def _body(self, *, live: bool) -> str:
        answer = self.answer
        if self.format == "json" and answer.text.lstrip().startswith(("{", "[", '"')):
            return "\n".join(code_block(shorten_data_uris(answer.text) if live else answer.text, "json", nested=False))
        if live and self._is_split:
            return join_blocks(*self._growing.open_blocks(answer.image_targets(), answer.alts))
        return answer.to_markdown(live=live, growing=live and not self.ended)

    def plain(self) -> str:
        """Return the text; with ``-f text`` followed by the status line."""
        text = shorten_data_uris(self.answer.text)
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
    def _waiting_line(self) -> str:
        begun = self.answer.text or self.answer.reasoning or self.answer.images
        silent = f"*{self._silent_line}*" if self._silent_line else ""
        line = " ".join(filter(None, [self.progress, silent]))  # a service may search the web between two texts
        return line or ("" if begun else "*waiting for the answer …*")


def error_line(error: Exception) -> str:
    """Return an error in one line, without keys."""
    from ...errors import BackendError
    from ..errors import MagicError

    message = str(MagicError(error))
    return f"{type(error).__name__}: {message}" if isinstance(error, BackendError) else message


def _details(text: str, *, is_open: bool) -> str:
    if not text.strip():
        return ""
    tag = "<details open>" if is_open else "<details>"
    return f"{tag}<summary>Reasoning</summary>\n\n{safe_markdown(text, growing=is_open)}\n\n</details>"


def _progress_bar(event: RawResponse) -> str:
    progress = read_progress(event)
    if progress is None:
        return ""
    label, share = escape_line(progress[0]), progress[1]
    if share is None:
        return f"*{label} …*"
    return bar_markdown(label, share)
