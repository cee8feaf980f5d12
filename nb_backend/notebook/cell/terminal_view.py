"""An answer in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ...chat.answer import Answer
from ...events import RawResponse, reasoning_text
from ...markdown.data_uris import DataUriShortener
from ...text import safe_terminal
from .columns import titled
from .section import AnswerSection


class TerminalView:
    """The text as it comes, with nothing in it that would steer the terminal; several answers one after the other.

    The first of them that has not ended is printed live, those behind it when it is their turn.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._sections = [AnswerSection("text", name) for name in names or ("",)]
        self._later: list[list[RawResponse]] = [[] for _ in self._sections]
        self._at = 0
        self._in_line = False
        self._thinking = False
        self._shortener = DataUriShortener()
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
        self._shortener = DataUriShortener()
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
