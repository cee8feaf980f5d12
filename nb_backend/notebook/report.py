"""What a command of the notebook says, and how a question is shown before it is sent."""

from __future__ import annotations

from ..markdown.safe import safe_markdown
from ..text import safe_terminal

EMBEDDED = "the embedded backend, on this machine"


class Report:
    """A few lines of Markdown that a command gives; in a terminal they read well as they are."""

    def __init__(self, *lines: str) -> None:
        self.markdown = "\n".join(lines)

    def _repr_markdown_(self) -> str:
        markdown: str = safe_markdown(self.markdown)
        return markdown

    def __repr__(self) -> str:
        return safe_terminal(self.markdown)
