"""``tool``, and what ``Chat(tools=…)`` takes: functions, tools, dicts of a service; names that services accept."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nb_backend import Chat
from nb_backend.tools.tool import Tool, as_tools, joined, tool, wire_name


def weather(city: str) -> str:
    """Return the weather."""
    return f"rain in {city}"


def other(city: str) -> str:
    return city


def test_tool_is_a_function_and_a_decorator():
    @tool(name="time.now", description="Now.", approve=True)
    def now() -> str:
        return "12:00"

    assert (now.name, now.wire_name, now.description, now.approve) == ("time.now", "time__now", "Now.", True)
    assert now() == "12:00"
    assert repr(now) == "<Tool time.now(), asks first>"
    made = tool(weather)
    assert (made.name, made.description, made.approve) == ("weather", "Return the weather.", False)
    assert repr(made) == "<Tool weather(city)>"
    assert made("Rome") == made.function(**made.check({"city": "Rome"})) == "rain in Rome"

    @tool
    def bare(n: int = 1) -> int:
        return n

    assert bare.schema["function"]["parameters"]["properties"] == {"n": {"type": "integer", "default": 1}}


def test_a_tool_of_a_tool_keeps_what_is_not_named():
    first = tool(weather, approve=True)
    second = tool(first, name="rain")
    assert (second.name, second.description, second.approve) == ("rain", "Return the weather.", True)
    assert tool(first, description="").description == ""
    assert second.check is first.check


@pytest.mark.parametrize("name", ["", " ", "…", "a\nb", 5])
def test_a_name_without_letters_is_refused(name):
    with pytest.raises(ValueError, match="cannot be the name of a tool"):
        tool(weather, name=name)


@tool
def decorated(x: int) -> int:
    return x


class Lines:
    def __init__(self) -> None:
        self.lock = threading.Lock()  # neither copied nor pickled

    def count(self, x: int) -> int:
        return x


def test_a_chat_with_tools_is_copied_and_pickled():
    chat = Chat(tools=[weather, decorated, Lines().count])
    assert copy.deepcopy(chat).tools == copy.copy(chat).tools == chat.tools  # a copy asks the same functions
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(chat)
    chat.tools.pop()
    again = pickle.loads(pickle.dumps(chat)).tools
    assert [one.schema for one in again] == [one.schema for one in chat.tools]
    assert again[0].check({"city": "Oslo"}) == {"city": "Oslo"}
    assert again[0].function is weather
    assert again[1] is decorated


def test_a_lambda_needs_a_name():
    with pytest.raises(ValueError, match=r"a tool needs a name, and <lambda> is not one: tool\(function, name=…\)$"):
        tool(lambda city: city)
    assert tool(lambda city: city, name="city").name == "city"


@pytest.mark.parametrize("value", ["weather", 5, [weather], b"x"])
def test_what_is_not_a_function_is_refused_in_one_line(value):
    with pytest.raises(TypeError, match=f"a tool is a function, not {type(value).__name__}: give the function itself"):
        tool(value)


def test_what_a_chat_takes():
    own = {"type": "web_search"}
    made = tool(weather)
    assert [one.name for one in as_tools(weather)] == ["weather"]
    assert as_tools(made) == [made]
    assert as_tools(own) == [own]
    assert as_tools(None) == as_tools([]) == []
    assert [getattr(one, "name", one) for one in as_tools(iter([weather, own, made]))] == [own, "weather"]
    for wrong in ("weather", ["weather"], 5, [5], [None]):
        with pytest.raises(TypeError, match=r"a tool is a function, not (str|int|NoneType): give the function itself"):
            Chat(tools=wrong)
    with pytest.raises(TypeError, match="tools are a list of functions, not a dict of them"):
        Chat(tools={"weather": weather})


def test_two_tools_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"two tools are called weather: .* tool\(function, name=…\)"):
        as_tools([weather, tool(other, name="weather")])
    with pytest.raises(ValueError, match="two tools are called a__b"):
        as_tools([tool(weather, name="a.b"), tool(other, name="a__b")])


def defined_again() -> Any:
    """Return ``weather`` as a cell defines it that runs again."""
    notebook: dict[str, Any] = {"__name__": "__main__"}
    exec("def weather(place: str) -> str: return place", notebook)
    return notebook["weather"]


def test_a_function_that_was_defined_again_replaces_the_one_before():
    before, after = defined_again(), defined_again()
    assert [one.function for one in as_tools([before, other, after])] == [other, after]


def test_a_function_in_two_tools_of_one_name_is_one_tool_and_a_method_is_that_of_its_object():
    class Shop:
        def sell(self) -> None: ...

    shop, other_shop = Shop(), Shop()
    assert len(as_tools([weather, tool(weather), shop.sell, shop.sell])) == 2
    with pytest.raises(ValueError, match="two tools are called sell"):
        as_tools([shop.sell, other_shop.sell])


def test_the_tools_of_a_prompt_replace_those_of_the_chat():
    mine = tool(other, name="weather")
    assert joined([weather, {"type": "web_search"}], [mine])[1:] == [mine]
    assert [one.name for one in joined(weather, None, other)] == ["weather", "other"]


def names(chat: Chat, **options: Any) -> list[str]:
    """Return the names of the tools of a request."""
    request = chat.request("Rain?", **options)
    sent = [one["function"]["name"] for one in request.params.get("tools", [])]
    assert sent == [*request.tools]
    return sent


def test_the_list_of_a_chat_may_be_changed():
    chat = Chat(tools=[weather])
    chat.tools.append(other)
    assert names(chat) == ["weather", "other"]
    chat.tools.append(weather)
    assert names(chat) == ["other", "weather"]
    assert names(chat, tools=tool(other, name="third")) == ["other", "weather", "third"]
    chat.tools = other  # type: ignore[assignment]
    assert names(chat) == ["other"]
    assert chat.tools == [other]
    chat.tools = None  # type: ignore[assignment]
    assert names(chat) == chat.tools == []
    assert "tools" not in chat.request("x").params
    chat.tools = ["other"]
    with pytest.raises(TypeError, match="a tool is a function, not str"):
        chat.request("x")


def test_a_long_description_is_cut_as_services_refuse_it():
    made = Tool("t", "x" * 5000, {}, weather)
    assert len(made.schema["function"]["description"]) == 1024
    assert made.schema["function"]["description"].endswith("x…")


WITHOUT_EXTRAS = """
import sys
sys.modules.update(dict.fromkeys(("pydantic", "pydantic_core", "mcp", "mcp_types")))
from nb_backend import Chat, tools
chat = Chat(tools=[tools.look, tools.cells, tools.run])
assert len(chat.request("x").tools) == 3
for call in lambda: Chat(tools=[print]), lambda: chat.stream("x", tools=[print]), lambda: chat.mcp("mcp-server-time"):
    try:
        call()
    except (ImportError, ValueError) as error:
        print(error)
"""


def test_the_built_in_tools_need_no_extra_and_the_others_name_theirs():
    ran = subprocess.run([sys.executable, "-c", WITHOUT_EXTRAS], capture_output=True, text=True)
    named = [re.findall(r"nb_backend\[(\w+)\]", line) for line in ran.stdout.splitlines()]
    assert named == [["tools"], ["tools"], ["mcp"]]
    assert ran.stderr == ""


@given(st.text(min_size=1, max_size=100))
def test_each_name_is_sent_as_one_that_services_take(name):
    sent = wire_name(name)
    assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", sent)
    assert wire_name(name) == sent
