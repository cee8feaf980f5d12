"""The output of a command: a few lines of Markdown."""

from __future__ import annotations

from ..markdown.safe import safe_markdown
from ..text import safe_terminal

EMBEDDED = "the embedded backend, on this machine"


class Report:
    """Lines of Markdown, rendered in a notebook and printed as they are in a terminal."""

    def __init__(self, *lines: str) -> None:
        self.markdown = "\n".join(lines)

    def _repr_markdown_(self) -> str:
        markdown: str = safe_markdown(self.markdown)
        return markdown

    def __repr__(self) -> str:
        return safe_terminal(self.markdown)
