r"""Templates of ``map``: each ``{{ name }}`` stands for a row's value of that name.

Only names: nothing is computed, and braces inside a value are not looked at. Other braces follow the rules of a cell's
prompt (``placeholders`` and ``notebook.prompt.interpolate``). What is not an expression there stays as it is: JSON,
LaTeX, ``{{0}}``. What is an expression there but not a name here is an error, because it would be sent unfilled.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from ..chat.placeholders import BLANK_LINE, MAX_LENGTH, find_placeholders
from ..text import float_text

_NAME_AND_CLOSING = re.compile(rf"([^{{}}]{{1,{MAX_LENGTH}}})\}}\}}")


class Template:
    """A text with placeholders; ``names`` lists them in order. ``ValueError`` if one is not among the given names."""

    def __init__(self, text: str, names: Collection[str]) -> None:
        self.names: list[str] = []
        self._texts = [""]  # before the first placeholder, between two, and after the last
        done = 0
        for found in find_placeholders(text, partial(_name_at, names)):
            before = text[done : found.start]
            done = found.end
            if found.escaped:
                self._texts[-1] += before[:-1] + text[found.start : found.end]
            else:
                self._texts[-1] += before
                self._texts.append("")
                self.names.append(found.content)
        self._texts[-1] += text[done:]
        self.check(names)

    def check(self, names: Collection[str]) -> None:
        """Raise ``ValueError`` if a placeholder is not among these names; the message lists them."""
        missing = [f"{{{{ {name} }}}}" for name in dict.fromkeys(self.names) if name not in names]
        if missing:
            known = ", ".join(names) or "none"
            raise ValueError(f"{', '.join(missing)} cannot be filled in: a template takes only these names: {known}")

    def fill(self, values: Mapping[str, Any]) -> str:
        """Return the text with the values filled in.

        A missing value (``None``, NaN) becomes an empty text. A whole float, as ids are if one is missing, becomes
        its digits.
        """
        parts = [self._texts[0]]
        for name, text in zip(self.names, self._texts[1:], strict=True):
            parts += (_text_of(values[name]), text)
        return "".join(parts)


def is_missing(value: Any) -> bool:
    """Whether a value is ``None``, NaN, or one of pandas' missing values."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    try:
        return bool(value != value)
    except Exception:  # an array has no truth value, for example
        return False


def _text_of(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if is_missing(value) else float_text(value) if isinstance(value, float) else str(value)


def _name_at(names: Collection[str], text: str, start: int) -> tuple[str, int] | None:
    """Parse the placeholder that begins at ``start``: its name, and the position after its closing braces.

    ``None`` for what a cell's prompt leaves as it is. An expression that is not a name is returned too, for ``check``.
    """
    found = _NAME_AND_CLOSING.match(text, start)
    if found is None or BLANK_LINE.search(found[1]):
        return None
    code, name = found[1], found[1].strip()
    if name in names or name.isidentifier() or ("#" not in code and _is_expression(name)):
        return name, found.end()
    return None


def _is_expression(code: str) -> bool:
    """Whether code is a Python expression with a name in it; ``x, y`` is not, as it may be LaTeX or C."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(code, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    if isinstance(body, ast.Tuple) and not code.startswith("("):
        return False
    return any(isinstance(node, ast.Name) for node in ast.walk(body))
