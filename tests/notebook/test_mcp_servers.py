"""``%backend mcp``: its words, and what it shows. Servers themselves are in tests/tools/test_mcp.py."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from nb_backend.notebook.magic import mcp_servers
from nb_backend.notebook.magic.commands import command
from nb_backend.tools.tool import Tool


class Connections:
    """Stands in for the connections: notes what is connected."""

    def __init__(self) -> None:
        self.given: list[tuple[Any, ...]] = []
        self.tools = [
            Tool("time.now", "", {"type": "object"}, print),
            Tool("time.set_it", "", {"type": "object"}, print, approve=True),
        ]

    def connect(self, command: Any, name: str, env: list[str]) -> Any:
        self.given.append((command, name, env))
        target = "uvx server|`time`"
        return SimpleNamespace(
            name=name, tools=self.tools, problems=["time: the tool '[x](http://a.b)' is left out"], target=target,
            is_connected=True,
        )  # fmt: skip


@pytest.fixture
def connections(monkeypatch) -> Connections:
    stand_in = Connections()
    monkeypatch.setattr(mcp_servers, "connect", stand_in.connect)
    return stand_in


@pytest.mark.parametrize(
    ("line", "given"),
    [
        ("time uvx mcp-server-time --local-timezone UTC", (["uvx", "mcp-server-time", "--local-timezone", "UTC"], [])),
        ('time "uvx mcp-server-time"', ("uvx mcp-server-time", [])),
        ('time "uvx mcp-server-time" -e TOKEN', ("uvx mcp-server-time", ["TOKEN"])),
        ("time -e A --env=B docker run -e C image", (["docker", "run", "-e", "C", "image"], ["A", "B"])),
        ("time https://example.com/mcp", ("https://example.com/mcp", [])),
        ("time https://example.com/mcp -e TOKEN", ("https://example.com/mcp", ["TOKEN"])),
        ("time server", (["server"], [])),
    ],
)
def test_add(connections, line, given):
    command(f"mcp add {line}")
    assert connections.given == [(given[0], "time", given[1])]


def test_what_is_added_is_shown(connections):
    shown = command("mcp add time uvx server").markdown.split("\n")
    assert shown == [
        "| MCP server | tools that ask first | tools that only read | connected by |",
        "| --- | --- | --- | --- |",
        "| time | time.set_it | time.now | `uvx server/'time'` |",
        "",
        "- `time: the tool '[x](http://a.b)' is left out`",
        "",
        "`%%backend -T time` offers these tools to the model of a cell, and `-T time.now` one of them",
    ]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("add", "needs a name and a command or a url"),
        ("add time", "needs a name and a command or a url"),
        ("add -e TOKEN time uvx", "needs a name and a command or a url"),
        ("add time -e", "-e needs the name of an environment variable"),
        ("add time https://example.com/mcp and more", "takes one command or url, not 'and more', too"),
        ("remove", "does not take 'remove': write %backend mcp add NAME COMMAND"),
        ("remove time", "there is no MCP server 'time': none is connected"),
        ("start time", "does not take 'start time'"),
    ],
)
def test_a_wrong_line_is_one_line(connections, line, error):
    with pytest.raises(ValueError, match=error) as failed:
        command(f"mcp {line}")
    assert "\n" not in str(failed.value)
    assert connections.given == []


def test_without_servers_it_says_how_to_connect_one():
    assert command("mcp").markdown.startswith("no MCP server is connected: `%backend mcp add NAME COMMAND`")
