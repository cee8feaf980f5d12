"""``cells``: the source and the short text output of executed cells."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..media.attachment import Attachment
from ..redaction import truncate_redacted
from ..text import shorten
from .shell import on_cell_thread, user_shell, without_secrets
from .tool import Tool
from .values import show

_USUAL_COUNT, MAX_CELLS = 10, 30
_LONGEST_SOURCE, _LONGEST_OUTPUT, _LONGEST_TEXT = 4_000, 1_000, 18_000  # characters


async def executed_cells(first: int | None = None, last: int | None = None) -> str:
    """Return the cells ``In [first]`` to ``In [last]`` with their values and errors; by default the last ten.

    At most ``MAX_CELLS`` are returned, and secrets are masked. ``ToolFailed`` if there is no IPython, or no cell or
    call that waits for the answer.
    """
    return await on_cell_thread(partial(_cells, user_shell(), first, last))


def _cells(shell: Any, first: int | None, last: int | None) -> str:
    sources = [*shell.history_manager.input_hist_raw]
    newest = len(sources) - 1
    last = newest if last is None else min(last, newest)
    first = max(1, last - _USUAL_COUNT + 1) if first is None else max(1, first)
    if first > last:
        return f"(there are no such cells: the last one is In [{newest}])" if newest > 0 else "(no cell was executed)"
    shown = range(max(first, last - MAX_CELLS + 1), last + 1)
    notes = [f"[only the last {MAX_CELLS} of these cells]"] if len(shown) <= last - first else []
    parts = [_cell(number, sources[number], shell) for number in shown]
    while sum(map(len, parts)) > _LONGEST_TEXT and len(parts) > 1:
        parts.pop(0)
        notes = ["[earlier cells are left out: ask for fewer]"]
    return "\n\n".join([*notes, *parts])


def _cell(number: int, source: str, shell: Any) -> str:
    def hide(text: str) -> str:
        return without_secrets(text, shell)

    parts = [f"In [{number}]:\n{truncate_redacted(source.rstrip(), _LONGEST_SOURCE, hide)}"]
    if output := _output(number, shell):
        parts.append(f"Out [{number}]:\n{truncate_redacted(output, _LONGEST_OUTPUT, hide)}")
    if error := _error(number, shell):
        parts.append(f"Error: {hide(error)}")
    return "\n".join(parts)


def _output(number: int, shell: Any) -> str:
    """Return what the cell printed, as far as IPython keeps it, and its value."""
    kept = getattr(shell.history_manager, "outputs", None) or {}
    printed = [
        "".join(text) if isinstance(text, list) else text
        for one in kept.get(number, ())
        if (text := getattr(one, "bundle", {}).get("stream"))
    ]
    values = shell.user_ns.get("Out")
    if isinstance(values, dict) and number in values:
        try:
            shown = show(values[number])
        except Exception:  # of the user's class
            shown = "(its value cannot be shown)"
        printed.append(f"[image: {shown.name}]" if isinstance(shown, Attachment) else shown)
    return "\n".join(text.rstrip() for text in printed if isinstance(text, str))


def _error(number: int, shell: Any) -> str:
    found = (getattr(shell.history_manager, "exceptions", None) or {}).get(number)
    return shorten(f"{found.get('ename')}: {found.get('evalue')}", 300) if isinstance(found, dict) else ""


def _checked(arguments: dict[str, Any]) -> dict[str, Any]:
    for name, value in arguments.items():
        if name not in ("first", "last"):
            raise ValueError(f"there is no argument {shorten(name)}")
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise ValueError(f"{name} must be a whole number, the n of In [n]")
    return arguments


cells = Tool(
    name="cells",
    description=(
        "Return executed cells of the user's notebook: their source, the text of their output, and their error. They "
        "are counted as In [n]. Without numbers it returns the last ten."
    ),
    parameters={
        "type": "object",
        "properties": {
            "first": {"type": "integer", "description": "the n of In [n]"},
            "last": {"type": "integer", "description": "the n of In [n]"},
        },
        "additionalProperties": False,
    },
    function=executed_cells,
    check=_checked,
)
