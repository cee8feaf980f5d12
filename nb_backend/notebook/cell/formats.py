"""``-f``: what a cell makes of an answer, besides showing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...chat.answer import Answer
from ...chat.json_answer import readings
from ...chat.schema import Schema, SchemaError
from ...markdown.fences import code_blocks
from ...text import safe_terminal

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


class FormatError(ValueError):
    """The answer does not have the format of ``-f``; the message is one line and says where the answer is.

    If it does not fit a schema, ``complaint`` says why, and ``retry_prompt`` asks the model once more.
    """

    complaint = ""
    retry_prompt = ""


def value_of(answer: Answer, name: str, shell: InteractiveShell, schema: Schema | None = None) -> Any:
    """Return the value of a cell with this format; ``FormatError`` if the answer does not have it."""
    if name == "json":
        return json_of(answer, schema)
    return _code(answer, shell) if name == "code" else answer


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


def json_of(answer: Answer, schema: Schema | None = None) -> Any:
    """Return what the answer is as JSON, or else the first of its code blocks that is; with a schema, its value."""
    if schema is not None:
        return _fitting(answer, schema)
    failure = ""
    for one in readings(answer):
        if not one.error:
            one.accept(answer)
            return one.value
        failure = failure or one.error
    raise FormatError(f"the answer is not JSON ({failure}): {_ANSWER_IS_SHOWN}")


def _fitting(answer: Answer, schema: Schema) -> Any:
    try:
        return schema.read(answer)
    except SchemaError as misfit:
        error = FormatError(f"{misfit}: {_ANSWER_IS_SHOWN}")
        error.complaint, error.retry_prompt = misfit.complaint, misfit.retry_prompt()
        raise error from None


_PYTHON = frozenset(
    {"", "python", "python3", "py", "py3", "ipython", "ipython3", "ipy", "ipy3"}
)  # as in page/notebook.js
_ANSWER_IS_SHOWN = "read it above, and ask again"
