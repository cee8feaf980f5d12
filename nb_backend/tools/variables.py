"""``look``: what the variables of the user are, by type, shape and schema; never what they hold."""

from __future__ import annotations

from types import FunctionType, MethodType
from typing import Any

from ..redaction import is_secret_name
from ..text import counted, shorten
from .shell import user_shell, without_secrets
from .tool import Tool
from .type_summary import class_name, type_summary

MAX_NAMES = 40
_LONGEST_LINE = 3_000  # characters


def look_at(names: str | list[str] | None = None) -> str:
    """Return a line about each of these variables, or about all variables of the user. No code of the user runs.

    At most ``MAX_NAMES`` are looked at. A variable whose name says that it is secret gets its type only.
    ``ToolFailed`` if there is no IPython.
    """
    shell = user_shell()
    space: dict[str, Any] = shell.user_ns
    asked = [names] if isinstance(names, str) else [*(names or _variables(shell))]
    lines = [_line(name, space) for name in asked[:MAX_NAMES]]
    if len(asked) > MAX_NAMES:
        lines.append(f"[… {counted(len(asked) - MAX_NAMES, 'more name')}: look at them by name]")
    return without_secrets("\n".join(lines), shell) or "(there are no variables)"


def _variables(shell: Any) -> list[str]:
    """Return the names that the user has defined, the latest last."""
    space, hidden = dict(shell.user_ns), shell.user_ns_hidden
    return [
        name
        for name, value in space.items()
        if isinstance(name, str) and not name.startswith("_") and hidden.get(name, hidden) is not value
    ]


def _line(name: str, space: dict[str, Any]) -> str:
    shown = shorten(name)
    if name not in space:
        first = name.partition(".")[0].partition("[")[0].strip()
        other = f"; only whole variables can be looked at, such as {shorten(first)}" if first in space else ""
        return f"{shown}: there is no variable of this name{other}"
    value = space[name]
    if is_secret_name(name):
        return f"{shown}: {class_name(type(value))}"
    return f"{shown}: {type_summary(value)}{_doc(value)}"[:_LONGEST_LINE]


def _doc(value: Any) -> str:
    """Return the first line of the docstring of a function or a class of Python."""
    doc = value.__doc__ if type(value) in (FunctionType, MethodType, type) else None
    lines = doc.strip().splitlines() if type(doc) is str else []
    return f" – {shorten(lines[0], 200)}" if lines else ""


def _checked(arguments: dict[str, Any]) -> dict[str, Any]:
    names = arguments.get("names")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError("names must be a list of names")
    if other := arguments.keys() - {"names"}:
        raise ValueError(f"there is no argument {shorten(min(other))}")
    return arguments


look = Tool(
    name="look",
    description=(
        "Return the type, shape and schema of variables in the user's notebook: the columns of a table with their "
        "dtypes, the types in a list or dict, the signature of a function. It returns no values. Without names it "
        "lists all variables."
    ),
    parameters={
        "type": "object",
        "properties": {
            "names": {"type": "array", "items": {"type": "string"}, "description": "names of variables"},
        },
        "additionalProperties": False,
    },
    function=look_at,
    check=_checked,
)
