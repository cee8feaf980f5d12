"""The output of a command: a few lines of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

from ..markdown.safe import safe_markdown
from ..text import safe_terminal

EMBEDDED = "the embedded backend, on this machine"


class Report:
    """Lines of Markdown, rendered in a notebook; printed in a terminal, where the columns of a table are aligned."""

    def __init__(self, *lines: str) -> None:
        self.markdown = "\n".join(lines)

    def _repr_markdown_(self) -> str:
        markdown: str = safe_markdown(self.markdown)
        return markdown

    def __repr__(self) -> str:
        return safe_terminal("\n".join(_printed(self.markdown.split("\n"))))


def _printed(lines: list[str]) -> Iterator[str]:
    """Yield the lines as they are printed: tables with columns of equal width, without their bars."""
    for is_table, group in groupby(lines, key=lambda line: line.startswith("| ")):
        if not is_table:
            yield from group
            continue
        rows = [[_plain_cell(cell) for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in group]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = [
                "-" * width if cell == "---" else cell.ljust(width) for cell, width in zip(row, widths, strict=True)
            ]
            yield "  ".join(cells).rstrip()


def _plain_cell(text: str) -> str:
    text = text.strip().replace("\\|", "|")
    return text[1:-1] if len(text) > 2 and text[0] == text[-1] == "`" else text
