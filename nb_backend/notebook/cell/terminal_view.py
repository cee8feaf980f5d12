"""Show an answer in a terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

from ...chat.answer import Answer
from ...chat.source_list import sources_text
from ...chat.tool_rounds import BREAK, event_step
from ...events import RawResponse, reasoning_text
from ...markdown.data_uris import DataUriShortener
from ...text import print_safely
from ...tools.step import ToolStep
from ..hints import Hints, no_hints
from .columns import titled
from .section import AnswerSection
from .silence import Silence


class TerminalView:
    """Prints the text while it streams, without control characters; several answers one after the other.

    The first answer that has not ended is printed live. The events of those after it wait until it has ended. How long
    nothing has arrived is shown at the start of a line, and removed before anything else is printed.
    """

    def __init__(self, names: Sequence[str] = (), hints: Hints = no_hints) -> None:
        self._sections = [AnswerSection("text", name, hints=hints) for name in names or ("",)]
        self._waiting_events: list[list[RawResponse]] = [[] for _ in self._sections]
        self._current = 0
        self._is_mid_line = False
        self._in_reasoning = False
        self._shortener = DataUriShortener()
        self._silence = Silence()
        self._silent_line = ""
        self._is_asking = False  # the user, about a call
        self._begin()

    def update(self, event: RawResponse, answer: Answer, at: int = 0) -> None:
        """Print the text that the event adds."""
        step = event_step(event) if event.type == "step" else None
        if step is not None:
            self._is_asking = step.status == "asking"
        if at != self._current:
            self._waiting_events[at].append(event)
            return
        self._silence.hear(event)
        if step is not None:
            self._print_step(step)
            return
        if token := reasoning_text(event):
            if not self._in_reasoning:
                self._print("[reasoning] ")
            self._in_reasoning = True
            self._print(token)
        if text := str(event):
            if self._in_reasoning:
                self._in_reasoning = False
                self._print("\n\n")
            self._print(self._shortener.feed("\n" if text == BREAK and not self._is_mid_line else text))

    def tick(self, at: int = 0) -> None:
        """Show how long nothing has arrived, or when the request is sent again."""
        lines = [self._silence.retry_line, self._silence.waiting_line]
        can_show = at == self._current and not (self._is_mid_line or self._is_asking)
        if can_show and any(lines) and sys.stdout.isatty():
            self._print("")
            self._silent_line = f"[{'; '.join(filter(None, lines))}]"[: shutil.get_terminal_size().columns - 1]
            print_safely(self._silent_line)

    def flush(self) -> None:
        """Do nothing: everything is printed when it arrives."""

    def shows(self, markdown: str) -> bool:
        """Return False: what is asked about is printed with the question."""
        return False

    def finish(self, answer: Answer, failed: bool, at: int = 0, error: Exception | None = None) -> None:
        """End the line, and print the status line."""
        if not self._sections[at].ended:
            self._sections[at].end(answer, failed, error)
        while self._current < len(self._sections) and (section := self._sections[self._current]).ended:
            self._print(self._shortener.flush())
            if self._is_mid_line:
                self._print("\n")
            self._print(f"\n[{section.reason}]\n" if section.reason else "")
            if sources := sources_text(section.answer.sources):
                self._print(f"\n{sources}\n")
            self._print(f"\n{section.status_text}\n")
            self._current += 1
            self._begin()

    def _print_step(self, step: ToolStep) -> None:
        """Print a line for a call that starts or ends; what the user is asked about is printed with the question."""
        from ...chat.shown_steps import step_line

        self._print(self._shortener.flush())
        self._shortener, self._in_reasoning = DataUriShortener(), False
        line = f"{step_line(step)}\n" if step.status != "asking" else ""
        self._print("\n" * self._is_mid_line + line)

    def _begin(self) -> None:
        """Print what has arrived of the current answer."""
        self._in_reasoning = False
        self._shortener = DataUriShortener()
        if self._current < len(self._sections):
            section = self._sections[self._current]
            if section.name:
                self._print(("\n" if self._current else "") + titled(section.name, ""))
            for event in self._waiting_events[self._current]:
                self.update(event, section.answer, self._current)

    def _print(self, text: str) -> None:
        if self._silent_line:
            print(f"\r{' ' * len(self._silent_line)}\r", end="")  # noqa: T201
            self._silent_line = ""
        print_safely(text)
        if text:
            self._is_mid_line = not text.endswith("\n")
