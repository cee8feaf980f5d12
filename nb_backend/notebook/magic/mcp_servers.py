"""``%backend mcp``: list the MCP servers, connect to one, or end one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ...text import shorten
from ...tools.mcp.connections import connect, disconnect, is_url, servers
from ..report import Report
from .line import Word

if TYPE_CHECKING:
    from ...tools.mcp.server import McpServer

_FORM: Final = "write %backend mcp add NAME COMMAND, %backend mcp add NAME URL or %backend mcp remove NAME"
_ENV: Final = ("-e", "--env")


def mcp_command(given: Sequence[Word]) -> Report:
    """Run ``%backend mcp`` with these words."""
    verb, rest = str(given[0]) if given else "", given[1:]
    if verb in ("", "list") and not rest:
        return _list()
    if verb == "add":
        return _add(rest)
    if verb == "remove" and len(rest) == 1:
        disconnect(rest[0])
        return Report(f"the MCP server {rest[0]} is removed")
    raise ValueError(f"%backend mcp does not take {shorten(' '.join(given))!r}: {_FORM}")


def _add(given: Sequence[Word]) -> Report:
    """Connect to a server; ``-e VARIABLE`` stands before the command, or after a url or a command in quotes."""
    name, (env, rest) = "".join(given[:1]), _without_variables(given[1:])
    is_whole = bool(rest) and (is_url(rest[0]) or " " in rest[0])
    more: list[str] = []
    if is_whole:
        more, others = _without_variables(rest[1:])
        if others:
            raise ValueError(f"%backend mcp add takes one command or url, not {shorten(' '.join(others))!r}, too")
    if not name or name.startswith("-") or not rest:
        raise ValueError(f"%backend mcp add needs a name and a command or a url: {_FORM}")
    try:
        server = connect(str(rest[0]) if is_whole else [*map(str, rest)], name, [*env, *more])
    except ImportError as error:  # the package mcp is missing
        raise ValueError(str(error)) from None
    first = f"{name}.…" if not server.tools else server.tools[0].name
    return Report(
        *_rows([server]),
        "",
        f"`%%backend -T {name}` offers these tools to the model of a cell, and `-T {first}` one of them",
    )


def _without_variables(words: Sequence[Word]) -> tuple[list[str], list[Word]]:
    """Return the variables that ``-e`` names at the beginning, and the other words."""
    names, rest = [], [*words]
    while rest and rest[0].partition("=")[0] in _ENV:
        option, equals, value = rest.pop(0).partition("=")
        if not equals and not rest:
            raise ValueError(f"{option} needs the name of an environment variable")
        names.append(value if equals else str(rest.pop(0)))
    return names, rest


def _list() -> Report:
    if not servers:
        return Report("no MCP server is connected: `%backend mcp add NAME COMMAND` or `… NAME URL` connects to one")
    return Report(*_rows([*servers.values()]))


def _rows(shown: Sequence[McpServer]) -> list[str]:
    """Return the table of servers, and a line for each tool that was left out."""
    rows = [
        f"| {server.name} | {_names(server, asks=True)} | {_names(server, asks=False)} | {_state(server)} |"
        for server in shown
    ]
    problems = [f"- {_code(line)}" for server in shown for line in server.problems]
    return [
        "| MCP server | tools that ask first | tools that only read | connected by |",
        "| --- | --- | --- | --- |",
        *rows,
        *(["", *problems] if problems else []),
    ]


def _names(server: McpServer, *, asks: bool) -> str:
    return ", ".join(tool.name for tool in server.tools if tool.approve == asks) or "–"


def _state(server: McpServer) -> str:
    ended = "" if server.is_connected else " (it has ended, and starts again with the next call)"
    return f"{_code(shorten(str(server.target), 200))}{ended}"


def _code(text: str) -> str:
    """Write what a server has said as code, in a cell of a table too."""
    return f"`{text.replace('|', '/').replace('`', chr(39))}`"


def names_of_servers() -> list[str]:
    """Return the names of the servers that are connected."""
    return [*servers]
