"""Show the attachments of a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...markdown.elements import code_span
from ...media.attachment import Attachment
from ...text import print_safely
from ..report import Report

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def show_attached(attached: Attached | None, shell: InteractiveShell) -> None:
    """Show the attachments, if there are any; the answer follows below them."""
    if attached is not None and hasattr(shell, "kernel"):
        data = {"text/markdown": attached._repr_markdown_(), "text/plain": repr(attached)}
        shell.display_pub.publish(data, {"nb_backend": {"attached": True}})
    elif attached is not None:
        print_safely(f"{attached!r}\n")


class Attached(Report):
    """The attachments of a prompt: their thumbnails and names."""

    def __init__(self, attachments: list[Attachment]) -> None:
        super().__init__(f"[with {', '.join(map(str, attachments))}]")
        shown = " ".join(f"![image]({small})" for one in attachments if (small := one.thumbnail()))
        names = f"<small>with {', '.join(code_span(str(one)) for one in attachments)}</small>"
        self._markdown = f"{shown}\n\n{names}" if shown else names

    def _repr_markdown_(self) -> str:
        return self._markdown
