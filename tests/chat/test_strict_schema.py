"""A schema in strict form: what it has, what is refused, and how an answer is mapped back to the original."""

from __future__ import annotations

import copy
import json
from typing import Any, Generic, Literal, TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field, RootModel

from nb_backend.chat.schema import Schema
from nb_backend.chat.strict_schema import StrictSchema

ALLOWED = {"type", "properties", "required", "additionalProperties", "items", "enum", "anyOf", "title", "description"}


def check(node: Any, is_root: bool = True, definitions: Any = None) -> None:
    """Check that a schema has what the three services document, and nothing else."""
    node = {**node}
    definitions = node.pop("$defs", {}) if is_root else definitions
    if "$ref" in node:
        assert node.keys() == {"$ref"}
        assert node["$ref"] == "#" or node["$ref"].removeprefix("#/$defs/").replace("~1", "/") in definitions
        assert not is_root
        return
    assert node.keys() <= ALLOWED
    assert ("type" in node) != ("anyOf" in node)
    for branch in node.get("anyOf", ()):
        check(branch, False, definitions)
    if node.get("type") == "object":
        assert node["additionalProperties"] is False
        assert node["required"] == [*node["properties"]]
        for inner in node["properties"].values():
            check(inner, False, definitions)
    elif node.get("type") == "array":
        check(node["items"], False, definitions)
    elif "type" in node:
        assert node["type"] in {"string", "integer", "number", "boolean", "null"}
        assert all(not isinstance(value, dict | list) for value in node.get("enum", ()))
    assert not is_root or node["type"] == "object"
    if is_root:
        for inner in definitions.values():
            check(inner, False, definitions)


def strict_of(schema: dict[str, Any]) -> StrictSchema | None:
    before = json.dumps(schema)
    made = StrictSchema.of(schema)
    assert json.dumps(schema) == before
    if made is not None:
        check(made.schema)
        Draft202012Validator.check_schema(made.schema)
    return made


# -- any schema and any value

NAMES = st.sampled_from(["a", "b", "c", "$ref", "type"])
SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "x", 0.5, 1.0])
ABOUT = st.fixed_dictionaries({}, optional={"title": st.just("T"), "description": st.just("D")})
LEAVES = (
    st.sampled_from(["string", "integer", "number", "boolean", "null"]).map(lambda kind: {"type": kind})
    | st.just({"type": ["string", "null"]})
    | st.lists(SCALARS, min_size=1, max_size=3).map(lambda values: {"enum": values})
    | SCALARS.map(lambda value: {"const": value})
    | st.sampled_from(["#", "#/$defs/one", "#/definitions/two~1three"]).map(lambda to: {"$ref": to})
)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def made(properties: dict[str, Any], required: list[str], is_closed: bool, has_type: bool) -> dict[str, Any]:
        return {
            **({"type": "object"} if has_type else {}),
            "properties": properties,
            "required": [name for name in dict.fromkeys(required) if name in properties],
            **({"additionalProperties": False} if is_closed else {}),
        }

    return st.builds(made, st.dictionaries(NAMES, inner, max_size=3), st.lists(NAMES), st.booleans(), st.booleans())


def larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        objects(inner)
        | inner.map(lambda items: {"type": "array", "items": items})
        | st.lists(inner, min_size=1, max_size=3).map(lambda branches: {"anyOf": branches})
        | st.builds(lambda about, one: {**one, **about} if "$ref" not in one else one, ABOUT, inner)
        | st.lists(objects(inner), min_size=1, max_size=2).map(lambda parts: {"allOf": parts})
        | inner.map(lambda one: {"allOf": [one], "description": "D"})
    )


PARTS = st.recursive(LEAVES, larger, max_leaves=8)
ROOTS = st.builds(
    lambda root, one, two: {**root, "$defs": {"one": one}, "definitions": {"two/three": two}},
    objects(PARTS) | st.just({"$ref": "#/$defs/one"}),
    PARTS,
    PARTS,
)


@st.composite
def value_of(draw: st.DrawFn, root: Any, node: Any, depth: int = 0) -> Any:
    """Draw a value of a strict schema."""
    if "$ref" in node:
        name = node["$ref"].removeprefix("#/$defs/").replace("~1", "/")
        return draw(value_of(root, root if node["$ref"] == "#" else root["$defs"][name], depth))
    if "anyOf" in node:
        branches = node["anyOf"][::-1][:1] if depth > 4 else node["anyOf"]
        return draw(value_of(root, draw(st.sampled_from(branches)), depth + 1))
    if "enum" in node:
        return draw(st.sampled_from(node["enum"]))
    match node["type"]:
        case "object":
            return {name: draw(value_of(root, one, depth + 1)) for name, one in node["properties"].items()}
        case "array":
            return draw(st.lists(value_of(root, node["items"], depth + 1), max_size=0 if depth > 4 else 2))
    scalars = {"string": ["", "x"], "integer": [1, 2.0], "number": [0.5, 7], "boolean": [True, False], "null": [None]}
    return draw(st.sampled_from(scalars[node["type"]]))


@given(ROOTS, st.data())
@example({"properties": {"a": {"enum": [None, 1]}}, "$defs": {}, "definitions": {}}, None)
def test_any_schema_is_made_strict_and_its_values_fit_the_original_once_they_are_mapped_back(schema, data):
    strict = strict_of(schema)
    if strict is None or data is None:
        return
    for _ in range(3):
        try:
            value = data.draw(value_of(strict.schema, strict.schema))
        except RecursionError:  # it has no finite value
            return
        assert Draft202012Validator(strict.schema).is_valid(value)
        before = copy.deepcopy(value)
        restored = strict.restored(value)
        assert value == before
        assert [*Draft202012Validator(schema).iter_errors(restored)] == []


@given(ROOTS, st.recursive(SCALARS, lambda one: st.lists(one, max_size=2) | st.dictionaries(NAMES, one, max_size=3)))
def test_a_value_of_the_original_stays_one(schema, value):
    strict = strict_of(schema)
    if strict is not None and Draft202012Validator(schema).is_valid(value):
        assert Draft202012Validator(schema).is_valid(strict.restored(value))


# -- classes


class Child(BaseModel):
    name: str = Field("x", min_length=1, max_length=9, pattern="^x")
    score: float | None = Field(None, ge=0, le=1, description="from 0 to 1")


class Tree(BaseModel):
    """A tree."""

    kind: Literal["leaf", "branch"]
    value: int = Field(5, gt=0)
    child: Child = Child()
    left: Tree | None = None
    more: list[Tree] = []
    either: Child | Literal[1, "one", None] = 1


Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    items: list[Item] = Field(min_length=1)
    next: Page[Item] | None = None


@pytest.mark.parametrize("model", [Child, Tree, Page[Child], RootModel[Tree], Page[Page[int]]])
def test_a_pydantic_class_has_a_strict_form(model):
    assert strict_of(model.model_json_schema()) is not None
    format = Schema(model).response_format["json_schema"]
    assert format["strict"] is True
    check(json.loads(json.dumps(format["schema"])))


def test_a_null_stands_for_the_default_of_a_class():
    schema = Schema(Tree)
    child = {"name": None, "score": None}
    tree = {"kind": "leaf", "value": None, "child": None, "left": None, "more": None, "either": None}
    read = schema._validate("", {**tree, "kind": "branch", "left": {**tree, "child": child}, "more": [tree]})
    leaf = Tree(kind="leaf", either=None)
    assert read == Tree(kind="branch", left=leaf, more=[leaf], either=None)
    assert "either" in read.model_fields_set  # which may be null in the class itself
    assert "value" not in read.model_fields_set


def test_what_a_service_does_not_take_is_left_out():
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://example.org/a",
        "type": "object",
        "properties": {
            "a": {"type": "string", "format": "date", "minLength": 1, "pattern": "x", "default": "x", "examples": []},
            "b": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2, "uniqueItems": True},
            "c": {"oneOf": [{"const": 1}, {"type": "string", "not": {"const": ""}}], "deprecated": True},
            "d": {"$ref": "#/$defs/d", "description": "lost", "default": {}},
            "e": {"allOf": [{"$ref": "#/$defs/d"}, {"minProperties": 1}]},
        },
        "required": ["a", "b", "c", "d", "e"],
        "minProperties": 1,
        "$defs": {"d": {"properties": {}}, "unused": {"patternProperties": {}}},
    }
    made = strict_of(schema)
    assert made is not None
    assert made.schema["properties"] == {
        "a": {"type": "string"},
        "b": {"type": "array", "items": {"type": "integer"}},
        "c": {"anyOf": [{"type": "integer", "enum": [1]}, {"type": "string"}]},
        "d": {"$ref": "#/$defs/d"},
        "e": {"$ref": "#/$defs/d"},
    }
    assert [*made.schema["$defs"]] == ["d"]


def closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties]}


DRAFT_7 = "http://json-schema.org/draft-07/schema#"
LOOP = {"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"$ref": "#/$defs/a"}}}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "array", "items": {"type": "string"}},
        {"type": "string"},
        {"anyOf": [closed(a={"type": "string"}), closed(b={"type": "string"})]},
        {},
        closed(a={}),
        closed(a=True),
        closed(a={"type": "array"}),
        closed(a={"type": "object"}),
        closed(a={"enum": [{"b": 1}]}),
        closed(a={"const": 1, "enum": [2]}),
        closed(a={"type": "array", "prefixItems": [{"type": "string"}], "items": False}),
        closed(a={"type": "array", "items": [{"type": "string"}]}) | {"$schema": DRAFT_7},
        closed(a={"type": "string"}) | {"additionalProperties": True},
        closed(a={"type": "string"}) | {"additionalProperties": {"type": "string"}},
        closed(a={"type": "string"}) | {"patternProperties": {"b": {"type": "string"}}},
        closed(a={"type": "string"}) | {"required": ["a", "b"]},
        closed(a={"type": "string"}) | {"if": {"required": ["a"]}, "then": {"required": ["b"]}},
        closed(a={"type": "string"}) | {"unevaluatedProperties": {"type": "string"}},
        closed(a={"type": "string"}) | {"anyOf": [{"required": ["a"]}]},
        closed(a={"$ref": "#/properties/b"}, b={"type": "string"}),
        closed(a={"$ref": "#/$defs/a"}) | LOOP,
        {"$ref": "#/$defs/b"} | LOOP,
        {"$ref": "#"},
        closed(a={"$ref": "#"}) | {"$ref": "#"},
        closed(a={"allOf": [{"$ref": "#/$defs/a"}]}) | {"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}, closed()]}}},
        {"allOf": [closed(a={"type": "string"}), closed(a={"type": "integer"})]},
        {"allOf": [closed(a={"type": "string"}), {"additionalProperties": False}]},
        closed(a={"allOf": [{"minLength": 1}]}),
        closed(a={"$id": "https://example.org/b", "$defs": {}, "type": "string"}),
    ],
)
def test_a_schema_without_a_strict_form_is_sent_as_it_is(schema):
    assert strict_of(schema) is None
    if not any(word in json.dumps(schema) for word in ('"#"', "$defs")):
        made = Schema(schema).response_format["json_schema"]
        assert (made["schema"], made["strict"]) == (schema, False)


def test_a_schema_that_is_nested_too_deeply_is_refused_in_one_line():
    deep = json.loads('{"properties": {"a": ' * 400 + "true" + "}}" * 400)
    assert StrictSchema.of(deep) is None
    with pytest.raises(ValueError, match="schema is nested too deeply"):
        Schema(deep)


def test_a_definition_that_many_others_join_twice_is_merged_once():
    """Each level would take twice the time of the one below it."""
    joined = {f"d{at}": {"allOf": [{"$ref": f"#/$defs/d{at + 1}"}] * 2} for at in range(60)}
    made = strict_of({"$ref": "#/$defs/d0", "$defs": {**joined, "d60": closed(a={"type": "string"})}})
    assert made is not None
    assert made.schema["required"] == ["a"]


def test_all_of_joins_objects():
    base = closed(a={"type": "string"})
    made = strict_of({"allOf": [{"$ref": "#/$defs/base"}, closed(b={"type": "integer"})], "$defs": {"base": base}})
    assert made is not None
    assert made.schema["required"] == ["a", "b"]


def test_an_answer_that_does_not_fit_is_not_changed():
    strict = strict_of({"properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "required": ["b"]})
    assert strict is not None
    for value in (7, {"a": None}, {"a": None, "b": 1}, {"a": None, "b": "", "c": 1}, {"a": 1, "b": ""}):
        assert strict.restored(value) == value
    assert strict.restored({"a": None, "b": ""}) == strict.restored({"b": ""}) == {"b": ""}


def test_the_work_does_not_grow_with_the_number_of_ways_to_read_a_value():
    """Each of 200 levels could be of either kind."""
    one, other = (closed(next={"$ref": "#/$defs/node"}, kind={"const": kind}) for kind in "ab")
    node = {"anyOf": [one, other, {"type": "null"}]}
    strict = strict_of({"properties": {"node": {"$ref": "#/$defs/node"}}, "$defs": {"node": node}})
    assert strict is not None
    value = None
    for _ in range(100):
        value = {"next": value, "kind": "b"}
    assert strict.restored({"node": value}) == {"node": value}
