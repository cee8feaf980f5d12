"""One answer as a cell's output shows it: as it comes, as it stays, and who gave it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ...chat.answer import Answer
from ...events import RawResponse
from ...markdown.data_uris import MAX_LIVE, shorten_data_uris
from ...markdown.data_uris import shorten_images as live_text
from ...markdown.elements import code_block, escape_line, join_blocks
from ...markdown.images import AnswerMarkdown, piece_markdown
from ...markdown.safe import safe_markdown
from ...markdown.split import PIECE, WHOLE, min_piece_size, pieces, split_points
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
    _has_thought: bool = False  # an output of its own shows its reasoning
    _finished_count: int = 0  # so many pieces of its text are not shown again
    _blocks: list[tuple[str, str]] = field(default_factory=list)  # of the next one, as Markdown and as text
    _size: int = 0  # characters of them
    _previous_writer: AnswerMarkdown | None = None  # which wrote all of them
    _tail: list[str] = field(default_factory=list)  # of the text, behind them

    def add_event(self, event: RawResponse, answer: Answer) -> bool:
        """Take note of what an event has added to the answer; say whether that changes what is shown."""
        self.answer = answer
        if event.type not in _VISIBLE:
            return False
        self.progress, self._painted = _progress_bar(event) if event.type == "progress" else "", None
        if self._is_cut and (text := str(event)):
            self._tail.append(text)
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
        """Give the pieces, as Markdown and as text, that have come to their end: they are not shown again."""
        if not self._is_cut:
            return
        if self.answer.text and len(self.answer.reasoning) >= PIECE and not (self._finished_count or self._has_thought):
            self._has_thought = True
            yield self._thinking(live=True), ""
        text, start = "".join(self._tail), 0
        if places := split_points(text):
            self._previous_writer = AnswerMarkdown(
                self.answer.image_targets(), self.answer.alts, MAX_LIVE, self._previous_writer
            )
            for at in places:
                self._blocks.append((self._previous_writer.write(text[start:at]), text[start:at]))
                self._size += at - start
                start = at
                if self._size >= min_piece_size(self._finished_count):
                    shown, plain = zip(*self._blocks, strict=True)
                    yield join_blocks(self._first_thinking, *shown), shorten_data_uris("".join(plain))
                    self._finished_count += 1
                    self._blocks, self._size = [], 0
        self._tail = [text[start:]]

    @property
    def _first_thinking(self) -> str:
        """What it thought, if no output that is settled shows it."""
        return "" if self._finished_count or self._has_thought else self._thinking(live=True)

    def pieces(self) -> list[tuple[str, str]]:
        """Give all of it as it stays, in one piece if it is short: as Markdown and as text, each."""
        answer, alone = self.answer, len(self.answer.text) + len(self.answer.reasoning) <= WHOLE
        texts = [answer.text] if alone or not self._is_cut else pieces(answer.text)
        if alone or not self._is_cut or (len(texts) == 1 and len(answer.reasoning) < PIECE):
            return [(self.markdown(live=False), self.plain())]
        shown = piece_markdown(texts, answer.image_targets(), answer.alts)
        thinking = self._thinking(live=False)
        if len(answer.reasoning) >= PIECE:
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
        thinking = self._first_thinking if live else self._thinking(live=False)
        return join_blocks(thinking, self._body(live=live), self._ending if self.ended else self._waiting)

    def _thinking(self, *, live: bool) -> str:
        reasoning = live_text(self.answer.reasoning) if live else self.answer.reasoning
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
            rest = AnswerMarkdown(answer.image_targets(), answer.alts, MAX_LIVE, self._previous_writer).finish(
                "".join(self._tail)
            )
            return join_blocks(*(shown for shown, _ in self._blocks), rest)
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
