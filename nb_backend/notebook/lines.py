"""``%backend ask …?``: IPython takes a line that ends in a question mark for a call for help, and this is none."""

from __future__ import annotations

import re
import tokenize
from typing import Any

from IPython.core.inputtransformer2 import TokenTransformBase

_ASK = re.compile(r"(?P<before>\s*(?:[^\W\d]\w*\s*=\s*)?)%backend[ \t]+(?P<line>ask[ \t].*\?)\s*")


class AskLine(TokenTransformBase):
    """``%backend ask …?`` or ``answer = %backend ask …?`` where a statement begins."""

    priority = 1  # that of a call for help is 5: the lower one is the first

    @classmethod
    def find(cls, tokens_by_line: list[list[Any]]) -> AskLine | None:
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
