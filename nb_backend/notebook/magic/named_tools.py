"""What ``-T`` names: a function of the user, a tool of this package, or those of an MCP server."""

from __future__ import annotations

import builtins
import inspect
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ... import settings
from ...text import shorten
from ...tools import BUILT_IN
from ..prompt.expression import names_read
from ..prompt.interpolate import RAISED, describe_error, evaluate

if TYPE_CHECKING:
    from ...tools.tool import Tool


def named_tools(named: Sequence[str], names: dict[str, Any]) -> list[Tool]:
    """Return the tools that the line of a cell names, each once; ``names`` are those that the cell sees.

    A function or a tool of the user wins over one of this package or of a server. ``ValueError`` in one line if a name
    is not a tool, and ``TypeError`` if a function cannot be one.
    """
    if named and (off := settings.tools_off()):
        raise ValueError(f"tools are turned off by {off}: leave out -T")
    given = [part for name in named for part in _parts(name)]
    return [*{id(one): one for name in given for one in _tools_of(name, names)}.values()]


def _parts(name: str) -> list[str]:
    """Return the names of ``look,run``, or an expression as it is."""
    parts = name.split(",")
    return parts if all(part.replace(".", "").isidentifier() for part in parts) else [name]


def _tools_of(name: str, names: dict[str, Any]) -> list[Tool]:
    from ...tools.tool import as_tools, tool

    value, error = _value_of(name, names)
    found = [*value] if type(value) in (list, tuple, set) else [value]
    if name.isidentifier() and (isinstance(value, partial) or getattr(value, "__name__", "") == "<lambda>"):
        return [tool(value, name=name)]  # it has no name of its own
    if found and all(callable(one) for one in found):
        return as_tools(found)
    if given := _known_tools(name):
        return given
    if error:
        raise ValueError(error)
    wrong = next((one for one in found if not callable(one)), value)
    raise ValueError(f"-T {shorten(name)} is not a function or a list of functions, but {_kind(wrong)}: {_choice()}")


def _value_of(name: str, names: dict[str, Any]) -> tuple[Any, str]:
    """Return the value of a variable or an expression, or ``None`` and why there is none."""
    if name in names:
        return names[name], ""
    reads = names_read(name)
    if not reads:
        return None, f"-T {shorten(name)} does not name a tool: {_choice()}"
    # print and exec are no tools, but may be part of an expression
    if missing := [one for one in reads if one not in names and (one == name or not hasattr(builtins, one))]:
        wrong = name if name.replace(".", "").isidentifier() else missing[0]
        return None, f"-T {shorten(name)}: there is no tool {shorten(wrong)}: {_choice()}"
    try:
        return evaluate(names, name), ""
    except RAISED as error:
        return None, f"-T {shorten(name)} raised {describe_error(error)}"


def _known_tools(name: str) -> list[Tool]:
    """Return the tool of this package, the tools of the MCP server, or the tool of a server that has this name."""
    if name in BUILT_IN:
        import nb_backend.tools

        return [getattr(nb_backend.tools, name)]
    servers = servers_connected()
    return servers.get(name) or [one for tools in servers.values() for one in tools if one.name == name]


def servers_connected() -> dict[str, list[Tool]]:
    """Return the tools of the MCP servers that are connected, by the names of the servers."""
    mcp = sys.modules.get("nb_backend.tools.mcp")
    return {} if mcp is None else mcp.connected()


def tool_names(names: dict[str, Any]) -> Iterator[str]:
    """Yield what ``-T`` may name: functions and tools among these variables, our own tools, servers and their tools."""
    tool = sys.modules.get("nb_backend.tools.tool")
    kinds = () if tool is None else (tool.Tool,)
    for name, value in [*names.items()]:
        if inspect.isfunction(value) or inspect.ismethod(value) or isinstance(value, kinds):
            yield name
    yield from BUILT_IN
    for server, tools in servers_connected().items():
        yield server
        yield from (one.name for one in tools)


def _choice() -> str:
    servers = [f"{name}.…" for name in servers_connected()] or ["a server that %backend mcp add connects to"]
    return f"name a function of yours, {', '.join([*BUILT_IN, *servers][:-1])} or {servers[-1]}"


def _kind(value: Any) -> str:
    kind = type(value)
    return f"an empty {kind.__name__}" if kind in (list, tuple, set) and not value else kind.__name__
