"""``-f``: what a cell makes of an answer, besides showing it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...chat.answer import Answer, code_blocks
from ...chat.json_answer import readings
from ...text import safe_terminal

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


class FormatError(ValueError):
    """The answer does not have the format of ``-f``; the message is one line and says where the answer is."""


def value_of(answer: Answer, name: str, shell: InteractiveShell) -> Any:
    """Return the value of a cell with this format; ``FormatError`` if the answer does not have it."""
    return _FORMATS.get(name, _unchanged)(answer, shell)


def _unchanged(answer: Answer, shell: InteractiveShell) -> Answer:
    return answer


def _code(answer: Answer, shell: InteractiveShell) -> Answer:
    """Put the code into a new cell below, or into the next line of a terminal, without running it.

    Blocks in another language than the kernel's are left out.
    """
    blocks = code_blocks(answer.text)
    if not blocks:
        raise FormatError(f"the answer has no code block to put into a cell: {_ANSWER_IS_SHOWN}")
    code = [text for language, text in blocks if language in _PYTHON]
    if not code:
        languages = ", ".join(dict.fromkeys(safe_terminal(language) for language, _ in blocks))
        raise FormatError(f"the answer has no Python code to put into a cell, only {languages}: {_ANSWER_IS_SHOWN}")
    shell.set_next_input(safe_terminal("\n\n".join(code)), replace=False)
    return answer


def json_of(answer: Answer, shell: InteractiveShell | None = None) -> Any:
    """Parse the answer as JSON, or else the first of its code blocks that is JSON."""
    failure = ""
    for one in readings(answer):
        if not one.error:
            one.accept(answer)
            return one.value
        failure = failure or one.error
    raise FormatError(f"the answer is not JSON ({failure}): {_ANSWER_IS_SHOWN}")


_PYTHON = frozenset(
    {"", "python", "python3", "py", "py3", "ipython", "ipython3", "ipy", "ipy3"}
)  # as in page/notebook.js
_ANSWER_IS_SHOWN = "read it above, and ask again"
_FORMATS: dict[str, Callable[[Answer, InteractiveShell], Any]] = {"code": _code, "json": json_of}
