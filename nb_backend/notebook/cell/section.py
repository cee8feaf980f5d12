"""One answer as a cell's output shows it: as it comes, as it stays, and who gave it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ...chat.answer import Answer
from ...events import RawResponse
from ...markdown.data_uris import shorten_data_uris, shorten_images
from ...markdown.elements import code_block, escape_line, join_blocks
from ...markdown.images import piece_markdown
from ...markdown.safe import safe_markdown
from ...markdown.split import MAX_UNSPLIT_CHARS, MIN_PIECE_CHARS, StreamingMarkdown, split_text
from ..status_line import status_line
from .formats import FormatError, json_of

_VISIBLE = frozenset({"content", "reasoning", "progress"})  # types of events that change what is shown
_BAR = 24  # characters
_FAILED = '<div style="border-left:3px solid #d32f2f; padding-left:0.6em; margin-bottom:0.6em">'


@dataclass
class AnswerSection:
    """An answer as far as it has come; ``name`` is that of its model where it is one of several in its output.

    ``reason`` says in one line why it failed; of an answer that stands alone, the cell says it.
    """

    format: str = "markdown"
    name: str = ""
    answer: Answer = field(default_factory=Answer)
    progress: str = ""
    ended: bool = False
    failed: bool = False
    reason: str = ""
    _painted: str | None = None  # others have changed more often
    _reasoning_finished: bool = False  # a finished piece shows the reasoning
    _growing: StreamingMarkdown = field(default_factory=StreamingMarkdown)

    def add_event(self, event: RawResponse, answer: Answer) -> bool:
        """Take note of what an event has added to the answer; say whether that changes what is shown."""
        self.answer = answer
        if event.type not in _VISIBLE:
            return False
        self.progress, self._painted = _progress_bar(event) if event.type == "progress" else "", None
        if self._is_cut and (text := str(event)):
            self._growing.append(text)
        return True

    def end(self, answer: Answer, failed: bool, error: Exception | None = None) -> None:
        """Take note that nothing more comes, and why, if it failed."""
        self.answer, self.ended, self.failed, self._painted = answer, True, failed, None
        if self.name and self.format == "json" and error is None and not answer.stopped:
            try:
                json_of(answer)
            except FormatError as no_json:
                error = no_json
        self.reason = reason_of(error) if self.name and error is not None else ""

    @property
    def who(self) -> str:
        """Say who answered, how much, how long."""
        return status_line(self.answer, self.failed)

    def metadata(self) -> dict[str, object]:
        """Give what is known of the answer, and how it ended if not by itself."""
        marks = {"stopped": self.answer.stopped, "failed": self.failed, "trimmed": self.answer.trimmed}
        return self.answer.metadata() | {mark: value for mark, value in marks.items() if value}

    @property
    def _is_cut(self) -> bool:
        """Whether it is shown in pieces: a block of code is one, and a column has one."""
        return self.format in ("markdown", "code") and not self.name

    def finished_pieces(self) -> Iterator[tuple[str, str]]:
        """Yield each piece that is finished since the last call, as Markdown and as text; it is not shown again."""
        if not self._is_cut:
            return
        answer = self.answer
        if answer.text and len(answer.reasoning) >= MIN_PIECE_CHARS and not self._reasoning_finished:
            yield self._thinking(live=True), ""
            self._reasoning_finished = True
        for blocks, text in self._growing.finished_pieces(answer.image_targets(), answer.alts):
            yield join_blocks(self._open_reasoning, *blocks), shorten_data_uris(text)
            self._reasoning_finished = True

    @property
    def _open_reasoning(self) -> str:
        """The reasoning as Markdown, or "" if a finished piece shows it."""
        return "" if self._reasoning_finished else self._thinking(live=True)

    def pieces(self) -> list[tuple[str, str]]:
        """Give all of it as it stays, in one piece if it is short: as Markdown and as text, each."""
        answer, alone = self.answer, len(self.answer.text) + len(self.answer.reasoning) <= MAX_UNSPLIT_CHARS
        texts = [answer.text] if alone or not self._is_cut else split_text(answer.text)
        if alone or not self._is_cut or (len(texts) == 1 and len(answer.reasoning) < MIN_PIECE_CHARS):
            return [(self.markdown(live=False), self.plain())]
        shown = piece_markdown(texts, answer.image_targets(), answer.alts)
        thinking = self._thinking(live=False)
        if len(answer.reasoning) >= MIN_PIECE_CHARS:
            shown, texts = [thinking, *shown], ["", *texts]
        else:
            shown[0] = join_blocks(thinking, shown[0])
        shown[-1] = join_blocks(shown[-1], self._ending)
        return [*zip(shown, map(shorten_data_uris, texts), strict=True)]

    def markdown(self, *, live: bool) -> str:
        """Give it as Markdown; ``live``: large images as a word or link, for it is painted again."""
        if not live:
            return self._markdown(live=False)
        if self._painted is None:
            self._painted = self._markdown(live=True)
        return self._painted

    def _markdown(self, *, live: bool) -> str:
        thinking = self._open_reasoning if live else self._thinking(live=False)
        return join_blocks(thinking, self._body(live=live), self._ending if self.ended else self._waiting)

    def _thinking(self, *, live: bool) -> str:
        reasoning = shorten_images(self.answer.reasoning) if live else self.answer.reasoning
        return _reasoning(reasoning, open_=not (self.ended or self.answer.text))

    @property
    def _ending(self) -> str:
        why = f"{_FAILED}{escape_line(self.reason, len(self.reason))}</div>" if self.reason else ""
        return join_blocks(why, f"<small>{escape_line(self.who)}</small>")

    def _body(self, *, live: bool) -> str:
        answer = self.answer
        if self.format == "json" and answer.text.lstrip().startswith(("{", "[", '"')):
            return "\n".join(code_block(shorten_data_uris(answer.text) if live else answer.text, "json", nested=False))
        if live and self._is_cut:
            return join_blocks(*self._growing.open_blocks(answer.image_targets(), answer.alts))
        return answer.to_markdown(live=live)

    def plain(self) -> str:
        """Give it as text."""
        text = shorten_data_uris(self.answer.text)
        if not self.ended:
            return text or (self._waiting.strip("*") if self.format == "text" else "")
        why = f"[{self.reason}]" if self.reason else ""
        return "\n\n".join(filter(None, [text, why])) + (f"\n\n[{self.who}]" if self.format == "text" else "")

    @property
    def _waiting(self) -> str:
        begun = self.answer.text or self.answer.reasoning or self.answer.images
        return "" if begun else self.progress or "*waiting for the answer …*"


def reason_of(error: Exception) -> str:
    """Say in one line what failed, with no key in it."""
    from ...errors import BackendError
    from ..errors import MagicError

    said = str(MagicError(error))
    return f"{type(error).__name__}: {said}" if isinstance(error, BackendError) else said


def _reasoning(text: str, *, open_: bool) -> str:
    if not text.strip():
        return ""
    tag = "<details open>" if open_ else "<details>"
    return f"{tag}<summary>Reasoning</summary>\n\n{safe_markdown(text)}\n\n</details>"


def _progress_bar(event: RawResponse) -> str:
    progress = event.get("progress")
    if not isinstance(progress, dict):
        return ""
    done, total = progress.get("done"), progress.get("total")
    label = escape_line(str(progress.get("label") or "working"))
    if not isinstance(done, int) or not isinstance(total, int) or total <= 0:
        return f"*{label} …*"
    share = min(max(done, 0), total) / total
    full = round(share * _BAR)
    return f"{label} `{'█' * full}{'░' * (_BAR - full)}` {share:.0%}"
