"""Rewrite cells before IPython reads them: a ``%%backend`` cell, and a line ``%backend ask …`` or ``%backend …?``."""

from __future__ import annotations

import re
import sys
import tokenize
from typing import Any

from IPython.core.inputtransformer2 import TokenTransformBase
from IPython.core.interactiveshell import InteractiveShell

_CELL = re.compile(r"\s*%%backend(?=\s|$)[^\S\n]*(?P<line>[^\n]*)\n?(?P<body>.*)", re.DOTALL)
_ASK = re.compile(r"(?P<before>\s*(?:[^=%?]*=\s*)?)%backend[ \t]+(?P<line>\S+[ \t].*\?|\S+[ \t].*\{\{.*[^\s\\])\s*")


def cell_to_call(lines: list[str], shell: InteractiveShell) -> list[str]:
    """Rewrite a ``%%backend`` cell as a call, or as an ``await`` if the cell can await; return other cells unchanged.

    The text is taken as it was typed: IPython would later strip prompts such as ``>>>`` from it.
    """
    found = _CELL.fullmatch("".join(lines))
    if found is None:
        return lines
    function = "await {}.ask_awaited" if _can_await(shell) else "{}.ask"
    module = "__import__('nb_backend').notebook.magic.magics"
    return [f"{function.format(module)}({found['line'].strip()!r}, {found['body']!r});\n"]


def _can_await(shell: InteractiveShell) -> bool:
    """Whether the code that is being transformed is a cell that a kernel runs, with asyncio as its loop.

    ``run_cell``, ``%run`` and ``%%time`` (in a cell, a task or a thread) also transform cells, but run them at once,
    perhaps inside a running loop. There is no public way to tell them apart: ipykernel calls ``transform_cell`` from
    ``do_execute``.
    """
    if not shell.autoawait or shell.loop_runner is not shell.loop_runner_map["asyncio"][0]:
        return False
    frame = sys._getframe()
    while frame.f_code is not InteractiveShell.transform_cell.__code__:
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return frame.f_back is not None and frame.f_back.f_code.co_name == "do_execute"


class AskLineTransform(TokenTransformBase):
    """``%backend Why …?`` or ``answer = %backend ask {{ x }} …`` at the beginning of a statement.

    IPython would read a line that ends in a question mark as a request for help. And in a function Python would not
    see that the line uses a variable of the function around it.
    """

    priority = 1  # before the transform of help requests, whose priority is 5

    @classmethod
    def find(cls, tokens_by_line: list[list[Any]]) -> AskLineTransform | None:
        """Return the transform of the first statement that asks, or ``None``."""
        for tokens in tokens_by_line:
            first = next((token for token in tokens if token.type not in (tokenize.INDENT, tokenize.DEDENT)), None)
            if first is not None and "%backend" in first.line and _ASK.fullmatch(first.line):
                return cls(first.start)
        return None

    def transform(self, lines: list[str]) -> list[str]:
        """Rewrite the line as a call of the magic."""
        found = _ASK.fullmatch(lines[self.start_line])
        if found is None:
            raise SyntaxError(lines[self.start_line])
        line = repr(found["line"])
        if found["before"][:1].isspace() and (names := _names_read(found["line"])):
            line = f"[{line}, lambda: ({', '.join(names)},)][0]"  # for a nested function, which keeps what it names
        call = f"{found['before']}get_ipython().run_line_magic('backend', {line})\n"
        return [*lines[: self.start_line], call, *lines[self.start_line + 1 :]]


def _names_read(prompt: str) -> list[str]:
    """Return the names that the expressions of a prompt read."""
    from ..prompt.expression import expressions

    return sorted({name for found in expressions(prompt) if not found.escaped for name in found.reads})
