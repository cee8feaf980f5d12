"""``-f``: what becomes of an answer besides being shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...chat.answer import Answer
from ...chat.json_answer import json_candidates, parse_json
from ...text import safe_terminal

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


class FormatError(ValueError):
    """An answer that is not what was asked for; the message is one line, and says where the answer is."""


def value_of(answer: Answer, name: str, shell: InteractiveShell) -> Any:
    """Give what a cell is worth that asked for this format; ``FormatError`` if the answer is none."""
    return _FORMATS.get(name, _itself)(answer, shell)


def _itself(answer: Answer, shell: InteractiveShell) -> Answer:
    return answer


def _code(answer: Answer, shell: InteractiveShell) -> Answer:
    """Put the code into a new cell below, or into the next line of a terminal; nothing runs it."""
    if not answer.code:
        raise FormatError(f"there is no code block in the answer, so nothing to put into a cell: {_KEPT}")
    shell.set_next_input(safe_terminal("\n\n".join(answer.code)), replace=False)
    return answer


def json_of(answer: Answer, shell: InteractiveShell | None = None) -> Any:
    """Read the answer, or else the first of its code blocks that can be read."""
    failure = ""
    for text in json_candidates(answer):
        try:
            return parse_json(text)
        except ValueError as error:
            failure = failure or str(error)
    raise FormatError(f"the answer is no JSON ({failure}): {_KEPT}")


_KEPT = "it stands above"
_FORMATS: dict[str, Callable[[Answer, InteractiveShell], Any]] = {"code": _code, "json": json_of}
