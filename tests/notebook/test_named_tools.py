"""``-T NAME``: a function of the user first, then our own tools and those of MCP servers; one clear line otherwise."""

from __future__ import annotations

import sys
from functools import partial
from types import SimpleNamespace

import pytest

from nb_backend import settings, tool
from nb_backend.notebook.magic.named_tools import named_tools, tool_names
from nb_backend.notebook.magic.options import parse
from nb_backend.tools.tool import Tool


def population(country: str) -> int:
    """Return how many people live there."""
    return len(country)


now = Tool("time.now", "", {"type": "object"}, lambda: "now", approve=True)
zones = Tool("time.zones", "", {"type": "object"}, list)
NAMES = {"population": population, "both": [population, now], "drop": tool(population, name="drop"), "n": 3, "none": []}


@pytest.fixture(autouse=True)
def servers(monkeypatch):
    connected = {"time": [now, zones]}
    monkeypatch.setitem(sys.modules, "nb_backend.tools.mcp", SimpleNamespace(connected=lambda: connected))


def names_of(*named, **names):
    return [one.name for one in named_tools(named, {**NAMES, **names})]


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (["population"], ["population"]),
        (["both"], ["population", "time.now"]),
        (["drop", "drop"], ["drop"]),
        (["[population, drop]"], ["population", "drop"]),
        (["population if n else drop"], ["population"]),
        (["time"], ["time.now", "time.zones"]),
        (["time.zones", "population"], ["time.zones", "population"]),
    ],
)
def test_what_a_name_stands_for(named, expected):
    assert names_of(*named) == expected


def test_names_may_be_separated_by_commas():
    assert names_of("population,look", "time.now") == ["population", "look", "time.now"]


def test_what_has_no_name_of_its_own_is_called_as_its_variable_is():
    bound = partial(population, country="Italy")
    assert names_of("square", "italy", square=lambda n: n * n, italy=bound) == ["square", "italy"]


def test_a_function_of_the_user_wins_over_a_server_and_a_module_does_not():
    assert names_of("time", time=population) == ["population"]
    assert names_of("time.now", time=sys) == ["time.now"]
    assert names_of("time", time=sys) == ["time.now", "time.zones"]


def test_a_function_of_the_user_wins_over_a_tool_of_ours():
    def run(code: str) -> str:
        return code

    (found,) = named_tools(["run"], {"run": run})
    assert found.function is run
    assert not found.approve


@pytest.mark.parametrize(
    ("named", "line"),
    [
        ("nobody", "-T nobody: there is no tool nobody: name a function of yours, look, cells, run or time.…"),
        ("[population, nobody]", "-T [population, nobody]: there is no tool nobody: "),
        ("exec", "-T exec: there is no tool exec: "),
        ("n", "-T n is not a function or a list of functions, but int: "),
        ("none", "-T none is not a function or a list of functions, but an empty list: "),
        ("[population, n]", "-T [population, n] is not a function or a list of functions, but int: "),
        ("both[7]", "-T both[7] raised IndexError: list index out of range"),
        ("7", "-T 7 does not name a tool: "),
        ("time.zone", "-T time.zone: there is no tool time.zone: "),
    ],
)
def test_what_is_not_a_tool_is_one_line(named, line):
    with pytest.raises(ValueError, match=r"^-T") as raised:
        names_of(named)
    assert str(raised.value).startswith(line)
    assert "\n" not in str(raised.value)


def test_without_servers_the_line_says_how_to_connect_to_one(monkeypatch):
    monkeypatch.setattr("nb_backend.notebook.magic.named_tools.servers_connected", dict)
    with pytest.raises(ValueError, match=r"look, cells, run or a server that %backend mcp add connects to$"):
        names_of("clock")


def test_tools_that_are_turned_off_are_one_line(monkeypatch):
    monkeypatch.setenv("NB_BACKEND_TOOLS", "no")
    with pytest.raises(ValueError, match=r"tools are turned off by NB_BACKEND_TOOLS=0: leave out -T"):
        names_of("population")
    assert settings.current.tools


def test_tab_offers_functions_tools_ours_and_servers():
    offered = [*tool_names(NAMES)]
    assert offered == ["population", "drop", "look", "cells", "run", "time", "time.now", "time.zones"]


def test_the_options_of_tools():
    assert parse("gpt-5.4 -T population --tool=run").tool == ["population", "run"]
    assert parse("--act").request_options()["act"] is True
    with pytest.raises(ValueError, match=r"put a value with spaces in quotes: -T \"\[population, drop\]\""):
        parse("-T [population, drop]")
