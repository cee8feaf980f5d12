"""How cells are read, before IPython reads them: a ``%%backend`` cell as it was typed, and ``%backend ask …?``."""

from __future__ import annotations

import re
import sys
import tokenize
from typing import Any

from IPython.core.async_helpers import _asyncio_runner
from IPython.core.inputtransformer2 import TokenTransformBase
from IPython.core.interactiveshell import InteractiveShell

_CELL = re.compile(r"\s*%%backend(?=[ \t\r\n]|$)[ \t]*(?P<line>[^\n]*)\n?(?P<body>.*)", re.DOTALL)
_ASK = re.compile(r"(?P<before>\s*(?:[^=%?]*=\s*)?)%backend[ \t]+(?P<line>ask[ \t].*\?)\s*")


def cell_to_call(lines: list[str], shell: InteractiveShell) -> list[str]:
    """Write a ``%%backend`` cell as a call, or an ``await`` where that works; leave every other cell as it is.

    It is taken as it was typed: later, IPython strips prompts and the like from it.
    """
    found = _CELL.fullmatch("".join(lines))
    if found is None:
        return lines
    call = f"({found['line'].strip()!r}, {found['body']!r});\n"
    if _kernel_runs_this_cell() and shell.autoawait and shell.loop_runner is _asyncio_runner:
        return [f"await __import__('nb_backend').notebook.magic.magics.ask_awaited{call}"]
    return [f"__import__('nb_backend').notebook.magic.magics.ask{call}"]


def _kernel_runs_this_cell() -> bool:
    """Tell whether what is being transformed is a cell that the kernel runs, which may await.

    Whatever else transforms one (``run_cell``, ``%run``, ``%%time``; in a cell, a task or a thread) runs the code then
    and there, where a loop may be running already. ipykernel does both in ``do_execute``.
    """
    frame = sys._getframe()
    while frame.f_code is not InteractiveShell.transform_cell.__code__:
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return frame.f_back is not None and frame.f_back.f_code.co_name == "do_execute"


class AskLineTransform(TokenTransformBase):
    """``%backend ask …?`` or ``answer = %backend ask …?`` where a statement begins.

    IPython takes a line that ends in a question mark for a call for help, and these are none.
    """

    priority = 1  # that of a call for help is 5: the lower one is the first

    @classmethod
    def find(cls, tokens_by_line: list[list[Any]]) -> AskLineTransform | None:
        """Give the first statement that asks, if there is one."""
        for tokens in tokens_by_line:
            first = next((token for token in tokens if token.type not in (tokenize.INDENT, tokenize.DEDENT)), None)
            if first is not None and _ASK.fullmatch(first.line):
                return cls(first.start)
        return None

    def transform(self, lines: list[str]) -> list[str]:
        """Write it as the call that it is."""
        found = _ASK.fullmatch(lines[self.start_line])
        if found is None:
            raise SyntaxError(lines[self.start_line])
        call = f"{found['before']}get_ipython().run_line_magic('backend', {found['line']!r})\n"
        return [*lines[: self.start_line], call, *lines[self.start_line + 1 :]]
