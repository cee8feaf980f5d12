"""An answer with its reasoning and its steps in the outputs of a cell: while it grows, and when it has ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...chat.answer import Answer
from ...chat.tool_rounds import BREAK
from ...events import RawResponse
from ...markdown.data_uris import shorten_data_uris, shorten_images
from ...markdown.elements import join_blocks
from ...markdown.images import piece_markdown
from ...markdown.safe import safe_markdown
from ...markdown.split import MAX_UNSPLIT_CHARS, MIN_PIECE_CHARS, StreamingMarkdown, pieces_of
from ...tools.step import ToolStep

_MAX_OUTPUTS = 40  # what comes after the steps of so many outputs is one output; JupyterLab shows 50


class GrowingAnswer:
    """The outputs of a long answer while it grows: finished parts, and an open part after them.

    The text of a round is split as in ``StreamingMarkdown``. Once something follows its steps, they are finished,
    together with the rest of the text before them: they are not painted again, and stay unfolded for a reader.
    """

    def __init__(self) -> None:
        self._texts = [StreamingMarkdown()]  # of the rounds
        self._round = 0  # the first one that is not finished
        self._outputs = 0  # which are finished
        self._has_shown_reasoning = False  # of this round, in a finished part
        self._piece_reasoning = ""  # the reasoning, if it is shown above the last finished parts
        self._shown_steps: dict[int, tuple[ToolStep, str]] = {}

    def add(self, event: RawResponse, answer: Answer) -> None:
        """Add an event of the stream, which the answer has taken."""
        if event.type == "step":
            for one in answer.tool_rounds[len(self._texts) - 1 :]:
                self._texts[-1].complete(one.text)
                self._texts.append(StreamingMarkdown())
        elif (text := str(event)) and not (text == BREAK and len(self._texts) > 1 and not self._texts[-1]):
            self._texts[-1].append(text)

    def finished_parts(self, answer: Answer) -> Iterator[tuple[str, str, bool]]:
        """Yield what is finished since the last call, as Markdown, as text, and whether it replaces the part before."""
        targets, alts = answer.image_targets(), answer.alts
        while True:
            at, text = self._round, self._texts[self._round]
            has_begun = bool(text) or at < len(self._texts) - 1
            if has_begun and len(answer.thoughts[at]) >= MIN_PIECE_CHARS and not self._has_shown_reasoning:
                yield self._reasoning(answer, at), "", False
                self._outputs += 1
                self._has_shown_reasoning = True
            for blocks, plain, grows in text.finished_parts(targets, alts):
                if not grows:
                    self._piece_reasoning = self._reasoning(answer, at)
                    self._outputs += 1
                yield join_blocks(self._piece_reasoning, *blocks), shorten_data_uris(plain), grows
                self._has_shown_reasoning = True
            if not self._is_followed(answer, at) or self._outputs >= _MAX_OUTPUTS:
                return
            rest = text.close(targets, alts)
            steps = answer.tool_rounds[at].steps
            shown = join_blocks(self._reasoning(answer, at), *rest.blocks, *self._steps(steps))
            yield shown, _plain(rest.text, steps), False
            self._outputs += 1
            self._round, self._has_shown_reasoning = at + 1, False
            self._texts[at + 1].follow(text)

    def open_blocks(self, answer: Answer) -> Iterator[str]:
        """Yield the blocks of the part that is not finished."""
        targets, alts = answer.image_targets(), answer.alts
        for at in range(self._round, len(self._texts)):
            yield self._reasoning(answer, at)
            yield from self._texts[at].open_blocks(targets, alts)
            if at < len(answer.tool_rounds):
                yield from self._steps(answer.tool_rounds[at].steps)

    def _is_followed(self, answer: Answer, at: int) -> bool:
        """Whether something has come after the steps of a round."""
        if at >= len(self._texts) - 1:
            return False
        return at < len(self._texts) - 2 or bool(self._texts[at + 1]) or bool(answer.thoughts[at + 1].strip())

    def _reasoning(self, answer: Answer, at: int) -> str:
        if at == self._round and self._has_shown_reasoning:
            return ""
        is_open = at == len(self._texts) - 1 and not self._texts[at]
        return reasoning_markdown(answer.thoughts[at], live=True, is_open=is_open)

    def _steps(self, steps: Sequence[ToolStep]) -> Iterator[str]:
        """Yield the steps as Markdown. Each is written once, as it may have pictures."""
        from ...chat.shown_steps import step_markdown

        for step in steps:
            known = self._shown_steps.get(id(step))
            if known is None or known[0] is not step:
                known = self._shown_steps[id(step)] = step, step_markdown(step)
            yield known[1]


def final_pieces(answer: Answer) -> list[tuple[str, str]]:
    """Return an answer that has ended in pieces, each as Markdown and as text; a short answer is one piece.

    They are the finished parts of the same answer while it grew, and the rest.
    """
    rounds, thoughts = answer.rounds, answer.thoughts
    parts: list[list[str]] = []
    for text, _ in rounds:
        parts.append(pieces_of(text, sum(map(len, parts))) or [""])
    shown = iter(piece_markdown([one for some in parts for one in some], answer.image_targets(), answer.alts))
    pieces: list[tuple[str, str]] = []
    is_full = False
    for some, (_, steps), thought in zip(parts, rounds, thoughts, strict=True):
        reasoning = reasoning_markdown(thought, live=False)
        if len(thought) >= MIN_PIECE_CHARS:
            _add(pieces, reasoning, "", beside=is_full)
            reasoning = ""
        for number, text in enumerate(some):
            after = steps if number == len(some) - 1 else []
            markdown = join_blocks(reasoning, next(shown), *_written(after))
            _add(pieces, markdown, _plain(text, after), beside=is_full)
            reasoning = ""
        is_full = is_full or len(pieces) >= _MAX_OUTPUTS
    return pieces


def is_short(answer: Answer) -> bool:
    """Whether an answer is saved as one output."""
    size = len(answer.text) + len(answer.reasoning) + sum(len(one) for one in _written(answer.steps))
    return size <= MAX_UNSPLIT_CHARS


def whole_blocks(answer: Answer, *, live: bool, ended: bool) -> Iterator[str]:
    """Yield the blocks of an answer that is one output: the reasoning, the text and the steps of each round."""
    parts, thoughts = answer.parts(live=live, growing=live and not ended), answer.thoughts
    for at, ((text, steps), thought) in enumerate(zip(parts, thoughts, strict=True)):
        is_open = at == len(parts) - 1 and not (ended or answer.rounds[at][0])
        yield from (reasoning_markdown(thought, live=live, is_open=is_open), text, steps)


def reasoning_markdown(text: str, *, live: bool, is_open: bool = False) -> str:
    """Return reasoning as a folded block of safe Markdown, unfolded if ``is_open``; "" if there is none."""
    if not text.strip():
        return ""
    tag = "<details open>" if is_open else "<details>"
    shown = safe_markdown(shorten_images(text) if live else text, growing=is_open)
    return f"{tag}<summary>Reasoning</summary>\n\n{shown}\n\n</details>"


def _add(pieces: list[tuple[str, str]], markdown: str, plain: str, *, beside: bool) -> None:
    """Add a piece that is not empty; ``beside``: to the last one."""
    if beside and pieces:
        before = pieces.pop()
        pieces.append((join_blocks(before[0], markdown), "\n\n".join(filter(None, (before[1], plain)))))
    elif markdown or plain:
        pieces.append((markdown, plain))


def _written(steps: Sequence[ToolStep]) -> list[str]:
    if not steps:
        return []
    from ...chat.shown_steps import step_markdown

    return [*map(step_markdown, steps)]


def _plain(text: str, steps: Sequence[ToolStep]) -> str:
    if not steps:
        return shorten_data_uris(text)
    from ...chat.shown_steps import steps_text

    return "\n\n".join(filter(None, [shorten_data_uris(text), steps_text(steps)]))
