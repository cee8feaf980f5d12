r"""The grammar of ``{{ … }}``, shared by the prompts of cells and the templates of ``map``.

A placeholder is at most ``MAX_LENGTH`` characters long and has no blank line in it. These braces stay as they are:

- three or more in a row: ``{{{x}}}``
- braces right after LaTeX or code, that is, after ``\command``, ``\command_``, ``^`` or a ``}`` that ends no
  placeholder: ``\frac{{a}}{{b}}``
- a placeholder after an odd number of backslashes, which is escaped: of ``\{{ x }}`` only the backslash goes
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_LENGTH = 2_000  # characters between the braces; a text full of openings is still read in linear time
BLANK_LINE = re.compile(r"\n[ \t\r\f]*\n")
_OPENING = re.compile(r"\{\{+")
_ENDS_WITH_LATEX = re.compile(r"(?:\\[A-Za-z]{2,}_?|\^|\})\Z")  # two letters at least: \n and \t are line end and tab
_LATEX_WINDOW = 40  # characters before the braces that are searched for a LaTeX command


@dataclass(frozen=True)
class Placeholder(Generic[T]):
    """One ``{{ … }}`` in a text: ``text[start:end]`` with its braces, and ``content`` as it was parsed."""

    start: int
    end: int
    content: T
    escaped: bool


def find_placeholders(text: str, parse: Callable[[str, int], tuple[T, int] | None]) -> Iterator[Placeholder[T]]:
    """Yield the placeholders of a text from left to right, escaped ones too.

    ``parse`` is called with the text and the position after the opening braces. It returns the content and the
    position after the closing braces, or ``None`` if no placeholder begins there.
    """
    done = 0
    while opening := _OPENING.search(text, done):
        before = text[done : opening.start()]
        start, done = opening.span()
        if done - start > 2 or _ENDS_WITH_LATEX.search(before[-_LATEX_WINDOW:]):
            continue
        parsed = parse(text, done)
        if parsed is None:
            continue
        content, done = parsed
        backslashes = len(before) - len(before.rstrip("\\"))
        yield Placeholder(start, done, content, escaped=backslashes % 2 == 1)
