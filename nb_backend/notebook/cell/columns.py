"""The layout of several answers in one output of a cell."""

from __future__ import annotations

from collections.abc import Iterable

from ...markdown.elements import escape_line, join_blocks

# Columns share the width, and are below each other if there is no room for two. JupyterLab keeps these styles in
# notebooks that are not trusted; in a viewer that strips them, the answers are below each other.
_GRID = '<div style="display:grid; grid-template-columns:repeat(auto-fit,minmax(min(100%,20em),1fr)); gap:1em 2em">'
_COLUMN = '<div style="min-width:0; overflow-x:auto; border-top:1px solid rgba(128,128,128,0.4); padding-top:0.4em">'


def side_by_side(columns: Iterable[tuple[str, str]]) -> str:
    """Return pieces of safe Markdown as columns, each under its name; no piece can affect another."""
    blocks = [_GRID + "\n" + _COLUMN]
    for number, (name, markdown) in enumerate(columns):
        blocks += [f"</div>\n{_COLUMN}"] if number else []
        blocks += [f"**{escape_line(name)}**", markdown]
    return join_blocks(*blocks, "</div>\n</div>")


def one_by_one(texts: Iterable[tuple[str, str]]) -> str:
    """Return texts below each other, each under its name."""
    return "\n\n".join(titled(name, text) for name, text in texts)


def titled(name: str, text: str) -> str:
    """Return a text under its name as a heading."""
    name = " ".join(name.split())
    return f"{name}\n{'=' * len(name)}\n\n{text}"
