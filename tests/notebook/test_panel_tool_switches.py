"""The switches of tools in a panel: those of the chat, built-in ones, and tools in variables."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import nb_backend.tools
from nb_backend import Chat
from nb_backend.notebook.panel.chat_settings import settings_of
from nb_backend.notebook.panel.tool_switches import switch_tool, switches
from nb_backend.tools.tool import Tool

POPULATION = Tool("population", "Return the\u202e population.\nOf a country.", {}, len)
DROP = Tool("drop", "", {}, len, approve=True)
SHELL = SimpleNamespace(user_ns={"drop": DROP, "_hidden": Tool("hidden", "", {}, len), "number": 3})


def test_a_tool_that_was_switched_off_can_be_switched_on_again():
    search = {"type": "web_search"}
    chat = Chat(tools=[POPULATION, search])
    assert settings_of(chat)["tools"] == ["population", "web_search"]
    switch_tool(chat, SHELL, "population", False)
    assert chat.tools == [search]
    found = {one["name"]: one for one in switches(chat, SHELL)}
    assert found["population"] == {
        "name": "population",
        "about": "Return the[U+202E] population.",
        "on": False,
        "asks": False,
    }
    assert found["drop"]["asks"]
    assert not found["drop"]["on"]
    assert "hidden" not in found
    for name in ("population", "drop", "drop"):
        switch_tool(chat, SHELL, name, True)
    assert chat.tools == [search, POPULATION, DROP]
    with pytest.raises(ValueError, match="no tool named 'nothing'"):
        switch_tool(chat, SHELL, "nothing", True)


def test_built_in_tools_are_off_until_they_are_switched_on(monkeypatch):
    built_in = [*nb_backend.tools.BUILT_IN]
    chat = Chat()
    shown = {one["name"]: one["on"] for one in switches(chat, None)}
    assert shown == dict.fromkeys(built_in, False)
    for name in built_in:
        switch_tool(chat, None, name, True)
    assert settings_of(chat)["tools"] == built_in


def test_a_variable_wins_over_a_built_in_tool():
    mine = Tool("look", "mine", {}, len)
    chat = Chat()
    switch_tool(chat, SimpleNamespace(user_ns={"look": mine}), "look", True)
    assert chat.tools == [mine]
