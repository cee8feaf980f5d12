"""A function becomes a tool: annotations, defaults and docstring are the schema, which also checks the arguments."""

from __future__ import annotations

import datetime
import decimal
import enum
import functools
import json
import math
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Required, TypedDict, Union  # noqa: F401  (named in texts)

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, create_model, validate_call

from nb_backend.tools.portable_schema import portable
from nb_backend.tools.schema import parameters_of
from nb_backend.tools.tool import tool


@dataclass
class Point:
    """Where it is."""

    x: int
    y: int = 3
    tags: list[str] = field(default_factory=list)


class Color(enum.Enum):
    """The color of a thing."""

    RED = "red"
    BLUE = "blue"


class Model(BaseModel):
    title: str
    points: list[Point] = []


class Tree(BaseModel):
    children: list[Tree] = []
    """The trees below."""


class Options(TypedDict, total=False):
    depth: Required[int]
    wide: bool


def schema_of(function: Any) -> dict[str, Any]:
    return parameters_of(function)[0]


def property_of(annotation: Any, **default: Any) -> dict[str, Any]:
    """Return the schema of one argument."""

    def function(it: Any) -> None: ...

    function.__annotations__["it"] = annotation
    function.__defaults__ = (default["default"],) if default else None
    found = schema_of(function)
    assert (found.get("required") == ["it"]) is (not default)
    return found["properties"]["it"]


def checked(function: Any, **arguments: Any) -> dict[str, Any]:
    return parameters_of(function)[1](arguments)


POINT = {
    "type": "object",
    "properties": {
        "x": {"type": "integer"},
        "y": {"type": "integer", "default": 3},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["x"],
    "additionalProperties": False,
}
MODEL = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "points": {"type": "array", "items": POINT, "default": []}},
    "required": ["title"],
}
OPTIONS = {"depth": {"type": "integer"}, "wide": {"type": "boolean"}}


def without_descriptions(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: without_descriptions(value) for key, value in schema.items() if key != "description"}
    return [*map(without_descriptions, schema)] if isinstance(schema, list) else schema


def _open(schema: Any) -> Any:
    """Return a schema without the word that an object has no other properties: whether pydantic says it, varies."""
    if isinstance(schema, dict):
        return {key: _open(value) for key, value in schema.items() if (key, value) != ("additionalProperties", False)}
    return [*map(_open, schema)] if isinstance(schema, list) else schema


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (int, {"type": "integer"}),
        (Any, {}),
        ("float | None", {"anyOf": [{"type": "number"}, {"type": "null"}]}),
        ("Optional[str]", {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ("Union[int, str]", {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal["a"], {"type": "string", "enum": ["a"]}),
        (Color, {"type": "string", "enum": ["red", "blue"]}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (datetime.date, {"type": "string", "format": "date"}),
        (datetime.datetime, {"type": "string", "format": "date-time"}),
        (Path, {"type": "string", "format": "path"}),
        (uuid.UUID, {"type": "string", "format": "uuid"}),
        (decimal.Decimal, {"anyOf": [{"type": "number"}, {"type": "string"}]}),  # its pattern is not for a grammar
        (Annotated[int, Field(ge=1)], {"type": "integer", "minimum": 1}),
        (Point, POINT),
        ("Model", MODEL),
        (list[Model], {"type": "array", "items": MODEL}),
        (Options, {"type": "object", "properties": OPTIONS, "required": ["depth"]}),
        (list[Options], {"type": "array", "items": {"type": "object", "properties": OPTIONS, "required": ["depth"]}}),
    ],
)
def test_an_annotation_is_a_schema_without_titles_and_references(annotation, schema):
    found = without_descriptions(property_of(annotation))
    assert _open(found) == _open(schema)


def test_the_object_of_the_arguments_allows_no_others():
    def function(city, days: int = 3, *, unit: Literal["C", "F"] = "C") -> None: ...

    assert schema_of(function) == {
        "type": "object",
        "properties": {
            "city": {},
            "days": {"type": "integer", "default": 3},
            "unit": {"type": "string", "enum": ["C", "F"], "default": "C"},
        },
        "required": ["city"],
        "additionalProperties": False,
    }
    assert schema_of(lambda: 0) == {"type": "object", "properties": {}, "additionalProperties": False}


def test_a_schema_that_contains_itself_keeps_local_references_that_stand_alone():
    def function(tree: Annotated[Tree, "the root"]) -> None: ...

    found = schema_of(function)
    assert found["properties"] == {"tree": {"anyOf": [{"$ref": "#/$defs/Tree"}], "description": "the root"}}
    assert found["$defs"]["Tree"]["properties"]["children"]["items"] == {"$ref": "#/$defs/Tree"}
    assert "title" not in json.dumps(found)
    assert checked(function, tree={"children": [{}]}) == {"tree": Tree(children=[Tree()])}


def test_a_schema_that_would_be_written_out_a_thousand_times_keeps_references():
    made: Any = int
    for number in range(10):
        made = create_model(f"Level{number}", left=(made, ...), right=(made, ...))

    def function(it: Any) -> None: ...

    function.__annotations__["it"] = made
    found = schema_of(function)
    assert len(found["$defs"]) == 10
    assert len(json.dumps(found)) < 5000


def test_a_reference_to_elsewhere_is_refused():
    with pytest.raises(ValueError, match=r"it refers to https://example\.com/a, which is not part of it"):
        portable({"type": "object", "properties": {"a": {"items": {"$ref": "https://example.com/a"}}}})


def test_properties_may_be_called_as_keywords_are():
    names = {"title": {"type": "string"}, "$ref": {"type": "string"}, "const": {}, "items": {"title": "x"}}
    assert portable({"properties": names})["properties"] == {**names, "items": {}}


def test_arguments_are_named_as_they_like():
    def function(schema: int, model_config: str, _private: bool, title: str, p0: int, json: int = 1) -> None: ...

    values = {"schema": 1, "model_config": "a", "_private": True, "title": "t", "p0": 7}
    assert [*schema_of(function)["properties"]] == [*values, "json"]
    assert checked(function, **values) == values


@pytest.mark.parametrize(
    "default", [{"b", "a"}, object(), float("nan"), float("inf"), "x" * 1000, [{"a"}], "sk-1234567890abcdef"]
)
def test_a_default_that_is_long_or_changes_or_is_a_key_is_not_described(default):
    assert "default" not in property_of(Any, default=default)


def test_a_default_under_the_name_of_a_secret_is_not_described():
    def function(token: str = "abc", api_key: str = "hidden", city: str = "Rome") -> None: ...

    assert [key for key, value in schema_of(function)["properties"].items() if "default" in value] == ["city"]


def test_a_known_key_is_not_described(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "a key of mine")
    assert "default" not in property_of(str, default="Bearer a key of mine")


def test_the_default_of_a_function_is_its_own():
    kept: list[int] = []

    def function(a: int, into: list[int] = kept) -> list[int]:
        return into

    assert checked(function, a="1") == {"a": 1}
    assert function(**checked(function, a=1)) is kept
    assert property_of(int, default=None) == {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None}


GOOGLE = """Return the weather.

    With rain: and wind.

    Args:
        city (str): Where,
            in words
        **days: how many: 1 to 9

    Returns:
        A text.
    """
NUMPY = """
    Return the weather.

    With rain: and wind.

    Parameters
    ----------
    city : str, optional
        Where,
        in words
    days, hours : int
        how many: 1 to 9

    Returns
    -------
        A text.
    """
REST = """Return the weather.

    With rain: and wind.

    :param str city: Where,
        in words
    :type city: str
    :param days: how many: 1 to 9
    :returns: A text.
    """


@pytest.mark.parametrize("docstring", [GOOGLE, NUMPY, REST])
def test_a_docstring_describes_the_function_and_its_arguments(docstring):
    def weather(city: str, days: int = 1) -> None: ...

    weather.__doc__ = docstring
    schema, _, description = parameters_of(weather)
    assert schema["properties"]["city"]["description"] == "Where, in words"
    assert schema["properties"]["days"]["description"] == "how many: 1 to 9"
    assert description.startswith("Return the weather.\n\nWith rain: and wind.\n\n")
    assert "A text." in description
    assert "in words" not in description


@given(st.text(alphabet="Aargs: \n-(x)`*:pmetP", max_size=200))
def test_any_docstring_is_read(docstring):
    def function(x: int, args: int = 1) -> None: ...

    function.__doc__ = docstring
    assert [*parameters_of(function)[0]["properties"]] == ["x", "args"]


def test_annotated_descriptions_win_over_the_docstring():
    def function(a: Annotated[int, "from the text"], b: Annotated[int, Field(description="from the field")], c) -> None:
        """Do it.

        Args:
            a: x
            b: x
            c: from the docstring
        """

    found = {name: one["description"] for name, one in schema_of(function)["properties"].items()}
    assert found == {"a": "from the text", "b": "from the field", "c": "from the docstring"}


class Counter:
    """Count things."""

    def __call__(self, things: list[str], at: Point | None = None) -> int:
        return len(things)

    def named(self, name: str) -> str:
        """Return the name."""
        return name

    @classmethod
    def made(cls, name: str) -> str:
        return name


@pytest.mark.parametrize(
    ("function", "name", "description", "names"),
    [
        (Counter(), "Counter", "Count things.", ["things", "at"]),
        (Counter().named, "named", "Return the name.", ["name"]),
        (Counter.made, "made", "", ["name"]),
        (functools.partial(Counter().named), "named", "Return the name.", ["name"]),
        (functools.partial(functools.partial(Counter(), at=None), ["a"]), "Counter", "Count things.", []),
        (Point, "Point", "Where it is.", ["x", "y", "tags"]),
    ],
)
def test_methods_partials_and_other_callables_are_tools(function, name, description, names):
    made = tool(function)
    assert (made.name, made.description, [*made.parameters["properties"]]) == (name, description, names)


def test_a_wrapped_function_has_its_own_signature():
    def loud(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    @loud
    def function(at: Point) -> None: ...

    assert _open(without_descriptions(schema_of(function)["properties"])) == {"at": _open(POINT)}


def test_the_fields_of_validate_call_are_described():
    @validate_call
    def function(days: int = Field(3, description="how many", ge=1), *, city: str = Field(description="where")) -> str:
        return f"{city} {days}"

    found = schema_of(function)
    assert found["required"] == ["city"]
    assert found["properties"]["days"] == {"type": "integer", "minimum": 1, "default": 3, "description": "how many"}
    assert function(**checked(function, city="Rome")) == "Rome 3"


def test_keyword_arguments_of_any_name():
    def function(a: int, **more: int) -> None: ...

    assert schema_of(function)["additionalProperties"] == {"type": "integer"}
    assert checked(function, a=1, b="2") == {"a": 1, "b": 2}
    with pytest.raises(ValueError, match=r"^b: it should be a valid integer"):
        checked(function, a=1, b="x")

    def untyped(**more) -> None: ...

    assert schema_of(untyped)["additionalProperties"] is True
    assert checked(untyped, b=[1]) == {"b": [1]}


def test_annotations_as_text_are_read_where_the_function_is_defined():
    notebook: dict[str, Any] = {"__name__": "__main__"}
    exec(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass Own:\n  n: int\n"
        "def function(own: Own | None, more: list[Own] = []) -> 'Missing': ...",
        notebook,
    )
    assert checked(notebook["function"], own={"n": 1}) == {"own": notebook["Own"](1)}


def test_values_are_what_the_annotations_say():
    def function(
        at: Point,
        models: list[Model],
        color: Color,
        day: datetime.date,
        path: Path,
        pair: tuple[int, str],
        u: uuid.UUID,
    ) -> None: ...

    arguments = {
        "at": {"x": "1"},
        "models": [{"title": "t", "points": [{"x": 2}]}],
        "color": "red",
        "day": "2026-01-02",
        "path": "/tmp",
        "pair": [1, "a"],
        "u": "12345678123456781234567812345678",
    }
    assert checked(function, **arguments) == {
        "at": Point(1),
        "models": [Model(title="t", points=[Point(2)])],
        "color": Color.RED,
        "day": datetime.date(2026, 1, 2),
        "path": Path("/tmp"),
        "pair": (1, "a"),
        "u": uuid.UUID("12345678123456781234567812345678"),
    }


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({}, "at is missing"),
        ({"at": {"x": "a"}}, "at.x: it should be a valid integer, unable to parse string as an integer"),
        ({"at": {"x": 1}, "color": "green"}, "color: it should be 'red' or 'blue'"),
        ({"at": {"x": 1}, "colour": "red"}, "there is no argument colour, only at, color"),
        ({"at": {"x": 1, "z": 2}}, "there is no argument at.z"),
        ({"at": 5, "color": 1}, "at: it should be an object; color: it should be 'red' or 'blue'"),
        ({"at": {"x": "\ud800"}}, "all of it: Invalid JSON"),
    ],
)
def test_a_mismatch_is_one_line_that_names_the_argument(arguments, line):
    def function(at: Point, color: Color = Color.RED) -> None: ...

    with pytest.raises(ValueError, match=r".") as error:
        checked(function, **arguments)
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)
    assert "http" not in str(error.value)


def test_a_mismatch_of_a_megabyte_is_a_short_line():
    def function(numbers: list[int]) -> None: ...

    with pytest.raises(ValueError, match=r"numbers.0: it should be a valid integer") as error:
        checked(function, numbers=["x" * 100] * 10_000, **{"y" * 10_000: 1})
    assert len(str(error.value)) < 1000
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested too deeply"):
        checked(function, numbers=deep)


def rows(df: pd.DataFrame, n: int = 1) -> None: ...
def calls(back: Callable[[int], int]) -> None: ...
def several(*texts: str) -> None: ...
def positional(text: str, /) -> None: ...
def unknown(at: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("function", "line"),
    [
        (rows, "the argument 'df' of the tool rows has the type pandas.*DataFrame, which a model cannot write as JSON"),
        (calls, "the argument 'back' of the tool calls has the type .*Callable"),
        (several, r"the tool several takes \*texts by position, and a model names arguments"),
        (positional, "the tool positional takes text by position"),
        (math.sqrt, "the tool sqrt takes x by position"),
        (max, "the tool max has no signature that can be read"),
        (unknown, "the annotation of 'at' of the tool unknown cannot be read: name 'Nowhere' is not defined"),
    ],
)
def test_a_function_that_a_model_cannot_call_is_refused_in_one_line(function, line):
    with pytest.raises(TypeError, match=line) as error:
        tool(function)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250


def test_what_a_model_cannot_write_can_be_bound():
    table = pd.DataFrame({"a": [1]})
    assert schema_of(functools.partial(rows, df=table))["properties"] == {"n": {"type": "integer", "default": 1}}


DIGEST = """
import enum, json, typing
from nb_backend.tools.portable_schema import portable
from nb_backend.tools.schema import parameters_of
class E(enum.Enum):
    A = "a"; B = "b"
def f(e: E, l: typing.Literal["x", "y", "z"], s: set[str] = {"p", "q", "r"}, t: frozenset[E] | None = None): ...
print(json.dumps(parameters_of(f)[0]))
"""


def test_the_schema_is_the_same_in_each_process(monkeypatch):
    found = set()
    for seed in ("1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        found.add(subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True).stdout)
    assert len(found) == 1


def test_without_pydantic_one_line_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(ValueError, match=r"^a function as a tool needs pydantic: pip install 'nb_backend\[tools\]'$"):
        tool(lambda: 0, name="nothing")
