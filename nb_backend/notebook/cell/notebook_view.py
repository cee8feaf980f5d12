"""Show answers in the outputs of a notebook's cell."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from ...capture import in_output_widget, is_captured
from ...chat.answer import Answer
from ...chat.speech import player
from ...events import RawResponse
from ...text import safe_terminal
from ..hints import Hints, no_hints
from ..outputs import clear_if_only, is_empty_widget
from .columns import one_by_one, side_by_side
from .section import AnswerSection

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


_MAX_PLAIN_CHARS = 500  # of a live answer that is also sent as plain text
REPAINT_INTERVAL = 0.1  # seconds; a repaint per token drops frames in JupyterLab and sends ten times the bytes
_MAX_CHARS_PER_SECOND = 34_000  # of repaints: a block of code is painted whole, however long it gets
_PAUSE_FACTOR = 2  # times the last repaint: repaints take at most a third of the time


class Output:
    """An output of the cell that can be updated."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self.display_id = uuid.uuid4().hex
        self._shown: tuple[dict[str, str], dict[str, Any]] | None = None

    @property
    def is_shown(self) -> bool:
        """Whether anything was shown."""
        return self._shown is not None

    def contains(self, markdown: str) -> bool:
        """Whether it shows this Markdown."""
        return self._shown is not None and markdown in self._shown[0].get("text/markdown", "")

    def show(self, data: dict[str, str], metadata: dict[str, Any] | None = None) -> int:
        """Show this data, unless it is shown already; return the number of characters sent."""
        shown = data, metadata or {}
        if shown == self._shown:
            return 0
        self._shell.display_pub.publish(
            data=data,
            metadata=metadata or {},
            transient={"display_id": self.display_id},
            update=self.is_shown,
        )
        self._shown = shown
        return sum(map(len, data.values()))

    def replace(self, data: dict[str, str], metadata: dict[str, Any]) -> None:
        """Show other data after the cell has ended, from any thread, past whatever captures outputs now."""
        from ..panel.comm import kernel_of, publish

        if self.is_shown and (kernel := kernel_of(self._shell)) is not None:
            self._shown = data, metadata
            content = {"data": data, "metadata": metadata, "transient": {"display_id": self.display_id}}
            publish(kernel, "update_display_data", content, {}, kernel.get_parent())


class CellView:
    """Outputs that are repainted at most ten times a second, and stay as they are when the notebook is saved.

    An answer is Markdown; with the format "text" it is preformatted text, and with "json" JSON is a block of code.
    Several answers, each under one of the ``names``, are side by side in one output. Each finished piece of a long
    answer gets an output of its own, which is not repainted, so a reader's selection there stays. While an answer
    grows, the finished parts of its last piece are in one output, which is repainted only when another part is
    finished, and the text that grows is in the last one. The steps of a round are in an output that is finished as soon
    as something follows them. A short answer ends as a single output.

    ``prompt`` is what was sent, if that is not the text of the cell; the metadata has it. ``hints`` is called at the
    end for what the status line says besides.
    """

    def __init__(
        self,
        shell: InteractiveShell,
        format: str = "markdown",
        names: Sequence[str] = (),
        prompt: str = "",
        hints: Hints = no_hints,
    ) -> None:

        self._shell = shell
        self._format = format
        self._prompt = prompt
        self._sections = [AnswerSection(format, name, hints=hints) for name in names or ("",)]
        self._outputs = [Output(shell)]
        self._due = 0.0  # the earliest time of the next repaint
        self._repaint: asyncio.TimerHandle | None = None
        self._in_widget = in_output_widget(shell)
        self._live = is_empty_widget(shell) if self._in_widget else not is_captured(shell)
        if self._live:
            self._paint()
        self._due = 0.0  # the first word is shown at once

    def update(self, event: RawResponse, answer: Answer, at: int = 0) -> None:
        """Add an event, and repaint as soon as the last repaint is long enough ago."""
        if self._sections[at].add_event(event, answer):
            self._paint_soon()

    def tick(self, at: int = 0) -> None:
        """Repaint if the seconds of silence are to be shown."""
        if self._sections[at].tick():
            self._paint_soon()

    def flush(self) -> None:
        """Repaint now if a repaint is due."""
        if self._repaint is not None:
            self._repaint.cancel()
            self._paint()

    def shows(self, markdown: str) -> bool:
        """Whether the cell shows this Markdown now."""
        return self._live and any(output.contains(markdown) for output in self._outputs)

    def finish(self, answer: Answer, failed: bool, at: int = 0, error: Exception | None = None) -> None:
        """End an answer; once all have ended, show them for good, with their records in the output's metadata."""
        section = self._sections[at]
        if section.ended:
            return
        section.end(answer, failed, error)
        if not self._ended:
            self._paint_soon()
            return
        if self._repaint is not None:
            self._repaint.cancel()
        self._show_for_good()

    def mark(self, text: str, at: int = 0) -> None:
        """Write a text into the status line of an answer that has ended, or remove it with ""."""
        self._sections[at].mark = text
        if self._ended and self._live and not self._in_widget:
            pieces = self._pieces()
            self._outputs[len(pieces) - 1].replace(pieces[-1], self._metadata())

    @property
    def _ended(self) -> bool:
        return all(section.ended for section in self._sections)

    def _metadata(self) -> dict[str, Any]:
        records = [section.metadata() for section in self._sections]
        record: dict[str, Any] = {"answers": records} if self._sections[0].name else records[0]
        return {"nb_backend": record | ({"prompt": self._prompt} if self._prompt else {})}

    def _paint_soon(self) -> None:
        if self._live and self._repaint is None:
            wait = max(0.0, self._due - time.monotonic())
            self._repaint = asyncio.get_running_loop().call_later(wait, self._paint)

    def _paint(self) -> None:
        started = time.monotonic()
        self._repaint = None
        if self._in_widget and not self._remove_outputs():
            self._live = False  # other code has added an output, which would be lost
            return
        section = self._sections[0]
        sent = 0
        for markdown, plain, grows in () if self._in_widget else section.finished_parts():
            output = self._outputs[-2 if grows else -1]
            sent += output.show({"text/markdown": markdown, "text/plain": safe_terminal(plain)})
            if not grows:
                self._outputs.append(Output(self._shell))
        sent += self._outputs[-1].show(self._live_data())
        painted = time.monotonic()
        self._due = painted + max(REPAINT_INTERVAL, _PAUSE_FACTOR * (painted - started), sent / _MAX_CHARS_PER_SECOND)

    def _remove_outputs(self) -> bool:
        """Remove the outputs, as soon as others replace them; return whether that is possible."""
        shown = {output.display_id for output in self._outputs if output.is_shown}
        removed = not shown or clear_if_only(self._shell, shown)
        self._outputs = [Output(self._shell)]
        return removed

    def _live_data(self) -> dict[str, str]:
        """Return what is shown while an answer grows: the form notebooks show, with plain text while it is short."""
        sections = self._sections
        if self._format == "text":
            return {"text/html": self._preformatted(self._plain)}
        shown = {"text/markdown": self._markdown(live=True)}
        if sum(len(section.answer.text) for section in sections) > _MAX_PLAIN_CHARS:
            return shown
        return {**shown, "text/plain": self._plain}

    def _pieces(self) -> list[dict[str, str]]:
        """Return the data of the outputs of an answer that has ended."""
        if self._format == "text":
            return [{"text/html": self._preformatted(self._plain), "text/plain": self._plain}]
        if self._sections[0].name:
            return [{"text/markdown": self._markdown(live=False), "text/plain": self._plain}]
        texts = self._sections[0].pieces()
        return [{"text/markdown": markdown, "text/plain": safe_terminal(plain)} for markdown, plain in texts]

    def _players(self) -> list[dict[str, str]]:
        """Return the data of the outputs below the text, which play spoken answers."""
        return [player(section.answer.audio) for section in self._sections if section.answer.audio is not None]

    def _show_for_good(self) -> None:
        texts, metadata = self._pieces(), self._metadata()
        pieces = [*texts, *self._players()]
        if self._in_widget:
            self._remove_outputs()
        elif len(pieces) < len(self._outputs):
            if clear_if_only(self._shell, {output.display_id for output in self._outputs}):
                self._outputs = []
            for output in self._outputs[len(pieces) :]:
                output.show({})
        self._outputs += [Output(self._shell) for _ in pieces[len(self._outputs) :]]
        for output, piece in zip(self._outputs, pieces, strict=False):
            output.show(piece, metadata if piece is texts[-1] else None)

    def _markdown(self, *, live: bool) -> str:
        sections = self._sections
        if not sections[0].name:
            return sections[0].markdown(live=live)
        return side_by_side((one.name, one.markdown(live=live)) for one in sections)

    @property
    def _plain(self) -> str:
        sections = self._sections
        several = bool(sections[0].name)
        return safe_terminal(
            one_by_one((one.name, one.plain()) for one in sections) if several else sections[0].plain()
        )

    @staticmethod
    def _preformatted(plain: str) -> str:
        """Return text as HTML: in plain text, JupyterLab turns every address into a link, even ``javascript://``."""
        return f"<pre>{escape(plain, quote=False)}</pre>"
