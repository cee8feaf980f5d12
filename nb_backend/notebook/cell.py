"""A live answer: in a notebook's cell as one Markdown output, in a terminal as text."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from contextlib import aclosing
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

from ..chat import Answer, AnswerStream
from ..markdown import safe_markdown, safe_terminal
from ..markdown_data import Shortener, live, shortened
from ..markdown_parts import code_block
from ..providers.response import RawResponse, reasoning_text

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

REPAINT_INTERVAL = 0.1  # seconds; a repaint per token drops frames in JupyterLab and sends ten times the bytes
_PAUSE = 2  # times what the last repaint took: painting a long answer takes a third of the time at the most
_VISIBLE = frozenset({"content", "reasoning", "progress"})  # types of events that change what is shown
_BAR = 24  # characters
_ENDINGS = {  # by the reason that a server gives, where a reader would wonder
    "length": "cut off at the limit of tokens",
    "max_tokens": "cut off at the limit of tokens",
    "content_filter": "cut off by the server's filter",
    "tool_calls": "asks for a tool",
}


class View(Protocol):
    """Where an answer is shown while it comes."""

    def update(self, event: RawResponse, answer: Answer) -> None:
        """Show what the event adds."""

    def finish(self, answer: Answer, failed: bool) -> None:
        """Show the answer as it stays."""


async def show_stream(stream: AnswerStream, view: View) -> Answer:
    """Show an answer as it comes. Whatever ends it, what had arrived stays shown."""
    failed = True
    try:
        async with aclosing(stream):
            async for event in stream:
                view.update(event, stream.answer)
        failed = False
    except asyncio.CancelledError:
        failed = False
        raise
    finally:
        view.finish(stream.answer, failed)
    return stream.answer


def view_for(shell: InteractiveShell, format: str = "markdown") -> View:
    """Choose how to show an answer: as a notebook does, or as a terminal. ``format`` is the one of the cell."""
    return CellView(shell, format) if hasattr(shell, "kernel") else TerminalView()


class CellView:
    """One output, repainted at most ten times a second; saved, reopened or converted it stays what it is.

    It is Markdown, but for the format "text", and JSON that "json" asks for is a block of code.
    """

    def __init__(self, shell: InteractiveShell, format: str = "markdown") -> None:
        from IPython.core.displaypub import CapturingDisplayPublisher

        self._shell = shell
        self._format = format
        self._display_id = uuid.uuid4().hex
        self._shown = False
        self._due = 0.0  # when the next repaint may be
        self._repaint: asyncio.TimerHandle | None = None
        self._answer = Answer()
        self._progress = ""
        # %%capture keeps every update as an output of its own: it gets only the last
        self._live = not isinstance(shell.display_pub, CapturingDisplayPublisher)
        if self._live:
            self._paint()
        self._due = 0.0  # the first word does not wait for its turn

    def update(self, event: RawResponse, answer: Answer) -> None:
        """Repaint, now or when the last repaint is long enough ago."""
        self._answer = answer
        if event.type not in _VISIBLE:
            return
        self._progress = _progress_bar(event) if event.type == "progress" else ""
        if self._live and self._repaint is None:
            wait = max(0.0, self._due - time.monotonic())
            self._repaint = asyncio.get_running_loop().call_later(wait, self._paint)

    def finish(self, answer: Answer, failed: bool) -> None:
        """Publish the answer as it stays, with what is known of it in the output's metadata."""
        if self._repaint is not None:
            self._repaint.cancel()
        marks = {"stopped": answer.stopped, "failed": failed, "trimmed": answer.trimmed}
        metadata = {"nb_backend": answer.record() | {mark: value for mark, value in marks.items() if value}}
        if self._format == "text":
            self._publish("", f"{safe_terminal(shortened(answer.text))}\n\n[{who_answered(answer, failed)}]", metadata)
            return
        thinking = _reasoning(answer.reasoning, open_=False)
        self._publish(_join(thinking, self._body(answer), _footer(answer, failed)), shortened(answer.text), metadata)

    def _paint(self) -> None:
        started = time.monotonic()
        self._repaint = None
        answer = self._answer
        begun = answer.text or answer.reasoning or answer.images
        waiting = "" if begun else self._progress or "*waiting for the answer …*"
        plain = shortened(answer.text)
        if self._format == "text":
            self._publish("", safe_terminal(plain) or waiting.strip("*"), {})
        else:
            thinking = _reasoning(live(answer.reasoning), open_=not answer.text)
            self._publish(_join(thinking, self._body(answer, live=True), waiting), plain, {})
        painted = time.monotonic()
        self._due = painted + max(REPAINT_INTERVAL, _PAUSE * (painted - started))

    def _body(self, answer: Answer, *, live: bool = False) -> str:
        if self._format == "json" and answer.text.lstrip().startswith(("{", "[", '"')):
            return "\n".join(code_block(shortened(answer.text) if live else answer.text, "json", nested=False))
        return answer.to_markdown(live=live)

    def _publish(self, markdown: str, plain: str, metadata: dict[str, Any]) -> None:
        self._shell.display_pub.publish(
            data={**({"text/markdown": markdown} if markdown else {}), "text/plain": plain},
            metadata=metadata,
            transient={"display_id": self._display_id},
            update=self._shown,
        )
        self._shown = True


class TerminalView:
    """The text as it comes, with nothing in it that would steer the terminal."""

    def __init__(self) -> None:
        self._in_line = False
        self._thinking = False
        self._shortener = Shortener()

    def update(self, event: RawResponse, answer: Answer) -> None:
        """Print what the event adds."""
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

    def finish(self, answer: Answer, failed: bool) -> None:
        """End the line, and say who answered."""
        self._print(self._shortener.flush())
        if self._in_line:
            self._print("\n")
        self._print(f"\n[{who_answered(answer, failed)}]\n")

    def _print(self, text: str) -> None:
        print_safely(text)
        if text:
            self._in_line = not text.endswith("\n")


def print_safely(text: str) -> None:
    """Print with nothing that would steer the terminal; what it cannot write is replaced: half an answer is worse."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(safe_terminal(text).encode(encoding, "replace").decode(encoding), end="", flush=True)  # noqa: T201


def _join(*blocks: str) -> str:
    return "\n\n".join(block.strip("\n") for block in blocks if block)


def _reasoning(text: str, *, open_: bool) -> str:
    if not text.strip():
        return ""
    tag = "<details open>" if open_ else "<details>"
    return f"{tag}<summary>Reasoning</summary>\n\n{safe_markdown(text)}\n\n</details>"


def _footer(answer: Answer, failed: bool) -> str:
    return f"<small>{inert(who_answered(answer, failed))}</small>"


def who_answered(answer: Answer, failed: bool) -> str:
    """Say who answered, how much, how long; and how it ended if not by itself."""
    name = answer.provider.get("label") or answer.provider.get("name")
    model = answer.provider.get("model")
    parts = []
    if answer.stopped:
        parts.append("stopped")
    if failed:
        parts.append("broke off" if answer.text else "no answer")
    if not (answer.stopped or failed or answer.text.strip() or answer.images):
        parts.append("an answer without text")
    if ending := _ENDINGS.get(answer.finish_reason or ""):
        parts.append(ending)
    if answer.trimmed:
        parts.append(f"without the {f'{answer.trimmed} oldest turns' if answer.trimmed > 1 else 'oldest turn'}")
    if name:
        detail = f" ({model})" if model and str(model) not in str(name) else ""
        parts.append(f"answered by {name}{detail}" if answer.text else f"asked {name}{detail}")
    if answer.tokens is not None:
        parts.append(f"{answer.tokens} token{'' if answer.tokens == 1 else 's'}")
    parts.append(f"{answer.seconds:.1f} s")
    return " ".join(" · ".join(parts).split())


def inert(text: str) -> str:
    """Make a name that a server gave inert: neither HTML nor Markdown."""
    text = safe_terminal(" ".join(text.split()))[:300]
    return "".join(f"&#{ord(char)};" if char in "\\`*_[]()#!|~$@:<>&" else char for char in escape(text, quote=False))


def _progress_bar(event: RawResponse) -> str:
    progress = event.get("progress")
    if not isinstance(progress, dict):
        return ""
    done, total = progress.get("done"), progress.get("total")
    label = inert(str(progress.get("label") or "working"))
    if not isinstance(done, int) or not isinstance(total, int) or total <= 0:
        return f"*{label} …*"
    share = min(max(done, 0), total) / total
    full = round(share * _BAR)
    return f"{label} `{'█' * full}{'░' * (_BAR - full)}` {share:.0%}"
