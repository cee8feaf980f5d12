"""Live answers: in a notebook's cell as one Markdown output, in a terminal as text."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import aclosing
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

from ..chat.answer import Answer
from ..chat.stream import AnswerStream
from ..events import RawResponse, reasoning_text
from ..markdown.data_uris import Shortener
from ..text import safe_terminal
from .columns import one_by_one, side_by_side, titled
from .outputs import clear_if_only
from .section import Section

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from .report import Attached

_SHORT = 500  # characters
REPAINT_INTERVAL = 0.1  # seconds; a repaint per token drops frames in JupyterLab and sends ten times the bytes
_MOST_A_SECOND = 34_000  # characters that repaints take: a block of code is painted whole, however long it gets
_PAUSE = 2  # times what the last repaint took: painting a long answer takes a third of the time at the most


class View(Protocol):
    """Where answers are shown while they come; ``at`` is which of several."""

    def update(self, event: RawResponse, answer: Answer, at: int = 0) -> None:
        """Show what the event adds."""

    def finish(self, answer: Answer, failed: bool, at: int = 0, error: Exception | None = None) -> None:
        """Show the answer as it stays; of one that has ended already, that is so."""


async def show_stream(stream: AnswerStream, view: View, at: int = 0) -> Answer:
    """Show an answer as it comes. Whatever ends it, what had arrived stays shown."""
    failed, error = True, None
    try:
        async with aclosing(stream):
            async for event in stream:
                view.update(event, stream.answer, at)
        failed = False
    except asyncio.CancelledError:
        failed = False
        raise
    except Exception as failure:
        error = failure
        raise
    finally:
        view.finish(stream.answer, failed, at, error)
    return stream.answer


def view_for(shell: InteractiveShell, format: str = "markdown", names: Sequence[str] = ()) -> View:
    """Choose how to show an answer: as a notebook does, or as a terminal. ``format`` is the one of the cell.

    ``names`` are those of the models where several answer.
    """
    return CellView(shell, format, names) if hasattr(shell, "kernel") else TerminalView(names)


def show_attached(attached: Attached | None, shell: InteractiveShell) -> None:
    """Show what goes along, small; the answer comes below it."""
    if attached is not None and hasattr(shell, "kernel"):
        data = {"text/markdown": attached._repr_markdown_(), "text/plain": repr(attached)}
        shell.display_pub.publish(data, {"nb_backend": {"attached": True}})
    elif attached is not None:
        print_safely(f"{attached!r}\n")


class Output:
    """An output of the cell, that may be shown anew."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self.display_id = uuid.uuid4().hex
        self._shown: tuple[dict[str, str], dict[str, Any]] | None = None

    def show(self, data: dict[str, str], metadata: dict[str, Any] | None = None) -> int:
        """Show it, if that is not what is seen; give how many characters that took."""
        shown = data, metadata or {}
        if shown == self._shown:
            return 0
        self._shell.display_pub.publish(
            data=data,
            metadata=metadata or {},
            transient={"display_id": self.display_id},
            update=self._shown is not None,
        )
        self._shown = shown
        return sum(map(len, data.values()))


class CellView:
    """An output, repainted at most ten times a second; saved, reopened or converted it stays what it is.

    It is Markdown, but for the format "text", and JSON that "json" asks for is a block of code. Several answers, each
    under one of the ``names``, are side by side in it. The pieces of a long one that are complete have an output each,
    which is not painted again: what a reader has selected there stays so. In the end a short one is a single output.
    """

    def __init__(self, shell: InteractiveShell, format: str = "markdown", names: Sequence[str] = ()) -> None:
        from IPython.core.displaypub import CapturingDisplayPublisher

        self._shell = shell
        self._format = format
        self._sections = [Section(format, name) for name in names or ("",)]
        self._outputs = [Output(shell)]
        self._due = 0.0  # when the next repaint may be
        self._repaint: asyncio.TimerHandle | None = None
        # %%capture keeps every update as an output of its own: it gets only the last
        self._live = not isinstance(shell.display_pub, CapturingDisplayPublisher)
        if self._live:
            self._paint()
        self._due = 0.0  # the first word does not wait for its turn

    def update(self, event: RawResponse, answer: Answer, at: int = 0) -> None:
        """Repaint, now or when the last repaint is long enough ago."""
        if self._sections[at].take(event, answer):
            self._paint_soon()

    def finish(self, answer: Answer, failed: bool, at: int = 0, error: Exception | None = None) -> None:
        """Publish the answers as they stay, with what is known of them in the output's metadata, once all are there."""
        section = self._sections[at]
        if section.ended:
            return
        section.end(answer, failed, error)
        if not all(section.ended for section in self._sections):
            self._paint_soon()
            return
        if self._repaint is not None:
            self._repaint.cancel()
        records = [section.record() for section in self._sections]
        self._show_for_good({"nb_backend": {"answers": records} if section.name else records[0]})

    def _paint_soon(self) -> None:
        if self._live and self._repaint is None:
            wait = max(0.0, self._due - time.monotonic())
            self._repaint = asyncio.get_running_loop().call_later(wait, self._paint)

    def _paint(self) -> None:
        started = time.monotonic()
        self._repaint = None
        section = self._sections[0]
        sent = 0
        for markdown, plain in section.settle():
            sent += self._outputs[-1].show({"text/markdown": markdown, "text/plain": safe_terminal(plain)})
            self._outputs.append(Output(self._shell))
        sent += self._outputs[-1].show(self._live_data())
        painted = time.monotonic()
        self._due = painted + max(REPAINT_INTERVAL, _PAUSE * (painted - started), sent / _MOST_A_SECOND)

    def _live_data(self) -> dict[str, str]:
        """Give what is seen while it grows: the one form that notebooks show, and while it is short as text, too."""
        sections = self._sections
        if self._format == "text":
            return {"text/html": self._preformatted(self._plain)}
        shown = {"text/markdown": self._markdown(live=True)}
        if sum(len(section.answer.text) for section in sections) > _SHORT:
            return shown
        return {**shown, "text/plain": self._plain}

    def _show_for_good(self, metadata: dict[str, Any]) -> None:
        if self._format == "text":
            pieces = [{"text/html": self._preformatted(self._plain), "text/plain": self._plain}]
        elif self._sections[0].name:
            pieces = [{"text/markdown": self._markdown(live=False), "text/plain": self._plain}]
        else:
            found = self._sections[0].pieces()
            pieces = [{"text/markdown": shown, "text/plain": safe_terminal(plain)} for shown, plain in found]
        if len(pieces) < len(self._outputs):
            if clear_if_only(self._shell, {output.display_id for output in self._outputs}):
                self._outputs = []
            for output in self._outputs[len(pieces) :]:
                output.show({})
        self._outputs += [Output(self._shell) for _ in pieces[len(self._outputs) :]]
        for output, piece in zip(self._outputs, pieces, strict=False):
            output.show(piece, metadata if piece is pieces[-1] else None)

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
        """Give a text as it is: JupyterLab would make a link of each address in it, also of ``javascript://``."""
        return f"<pre>{escape(plain, quote=False)}</pre>"


class TerminalView:
    """The text as it comes, with nothing in it that would steer the terminal; several answers one after the other.

    The first of them that has not ended is printed live, those behind it when it is their turn.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._sections = [Section("text", name) for name in names or ("",)]
        self._later: list[list[RawResponse]] = [[] for _ in self._sections]
        self._at = 0
        self._in_line = False
        self._thinking = False
        self._shortener = Shortener()
        self._begin()

    def update(self, event: RawResponse, answer: Answer, at: int = 0) -> None:
        """Print what the event adds."""
        if at != self._at:
            self._later[at].append(event)
            return
        if token := reasoning_text(event):
            if not self._thinking:
                self._print("[reasoning] ")
            self._thinking = True
            self._print(token)
        if text := str(event):
            if self._thinking:
                self._thinking = False
                self._print("\n\n")
            self._print(self._shortener.feed(text))

    def finish(self, answer: Answer, failed: bool, at: int = 0, error: Exception | None = None) -> None:
        """End the line, and say who answered."""
        if not self._sections[at].ended:
            self._sections[at].end(answer, failed, error)
        while self._at < len(self._sections) and (section := self._sections[self._at]).ended:
            self._print(self._shortener.flush())
            if self._in_line:
                self._print("\n")
            self._print(f"\n[{section.reason}]\n" if section.reason else "")
            self._print(f"\n[{section.who}]\n")
            self._at += 1
            self._begin()

    def _begin(self) -> None:
        """Print what there is of the answer whose turn it is."""
        self._thinking = False
        self._shortener = Shortener()
        if self._at < len(self._sections):
            section = self._sections[self._at]
            if section.name:
                self._print(("\n" if self._at else "") + titled(section.name, ""))
            for event in self._later[self._at]:
                self.update(event, section.answer, self._at)

    def _print(self, text: str) -> None:
        print_safely(text)
        if text:
            self._in_line = not text.endswith("\n")


def print_safely(text: str) -> None:
    """Print with nothing that would steer the terminal; what it cannot write is replaced: half an answer is worse."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(safe_terminal(text).encode(encoding, "replace").decode(encoding), end="", flush=True)  # noqa: T201
