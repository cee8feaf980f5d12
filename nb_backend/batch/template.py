r"""Templates that make many prompts: each ``{{ name }}`` gives its place to a row's value of that name.

Names only: nothing is computed, and what a value holds is never looked at again. What a cell's prompt would take for no
expression stays as it is, character for character, by the rules of ``notebook.prompt``: single braces and JSON, three
braces and more in a row, braces that hug LaTeX or code (``\frac{{a}}{{b}}``, ``x^{{i}}``), and of ``\{{ name }}`` only
the backslash goes. What it would take for one, and is no name, is an error: it would be sent as it is to no purpose.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Collection, Mapping
from typing import Any

_BRACES = re.compile(r"\{\{+")
_NAME = re.compile(r"([^{}]{1,2000})\}\}")  # what may stand behind them
_BLANK_LINE = re.compile(r"\n[ \t\r\f]*\n")
_LATEX = re.compile(r"(?:\\[A-Za-z]{2,}_?|\^|\})\Z")  # one letter is no command: \n, \t


class Template:
    """A text with names in it; ``ValueError`` lists the ``names`` that there are, if one of the text's is none."""

    def __init__(self, text: str, names: Collection[str]) -> None:
        self._texts: list[str] = []  # one more than the names, which stand between them
        self.names: list[str] = []
        pieces: list[str] = []  # of the text before the next name
        done = 0
        while braces := _BRACES.search(text, done):
            before = text[done : braces.start()]
            done = braces.end()
            inside = _NAME.match(text, done) if len(braces[0]) == 2 and not _LATEX.search(before[-40:]) else None
            name = inside and _name(inside[1], names)
            if inside is None or name is None:
                pieces += (before, braces[0])
                continue
            done = inside.end()
            if (len(before) - len(before.rstrip("\\"))) % 2:
                pieces += (before[:-1], braces[0], inside[0])
            else:
                self.names.append(name)
                self._texts.append("".join([*pieces, before]))
                pieces = []
        self._texts.append("".join([*pieces, text[done:]]))
        self.check(names)

    def check(self, names: Collection[str]) -> None:
        """Raise ``ValueError`` if one of the text's names is none of these."""
        missing = [f"{{{{ {name} }}}}" for name in dict.fromkeys(self.names) if name not in names]
        if missing:
            are, there = "is" if len(missing) == 1 else "are", ", ".join(names) or "nothing"
            raise ValueError(f"{', '.join(missing)} {are} not there: a template takes {there}, by name only")

    def fill(self, values: Mapping[str, Any]) -> str:
        """Give the text with the values in it; ``None`` and what else stands for a missing value are ""."""
        pieces = [self._texts[0]]
        for name, text in zip(self.names, self._texts[1:], strict=True):
            pieces += (text_of(values[name]), text)
        return "".join(pieces)


def text_of(value: Any) -> str:
    """Give a value as the text that is asked with."""
    return value if isinstance(value, str) else "" if is_missing(value) else str(value)


def is_missing(value: Any) -> bool:
    """Whether this is ``None``, NaN, or what pandas has for them."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    try:
        return bool(value != value)
    except Exception:  # of an array, say
        return False


def _name(code: str, names: Collection[str]) -> str | None:
    """Give the name that stands between braces, missing or not; ``None`` if a cell's prompt leaves it as it is."""
    name = code.strip()
    if _BLANK_LINE.search(code):
        return None
    return name if name in names or name.isidentifier() or ("#" not in code and _is_expression(name)) else None


def _is_expression(code: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(code, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    if isinstance(body, ast.Tuple) and not code.startswith("("):
        return False  # of LaTeX or C
    return any(isinstance(node, ast.Name) for node in ast.walk(body))
