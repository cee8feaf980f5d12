"""A JSON schema made to fit the strict structured outputs of OpenAI, Anthropic and Gemini.

They take a subset of JSON schema: every object names all its properties, all are required, and there are no others. So
an optional property becomes one that may be null, and ``StrictSchema.restored`` leaves it out of the answer again.
Keywords that only restrict values further (``minimum``, ``pattern``, ``format``) or say something about them
(``default``) are left out, as the answer is checked against the original schema here. What is left has the keywords
``type``, ``properties``, ``required``, ``additionalProperties``, ``items``, ``enum``, ``anyOf``, ``$ref``, ``$defs``,
``title`` and ``description``.

- https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
- https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations
- https://ai.google.dev/gemini-api/docs/structured-output#json_schema_support
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Self, TypeAlias
from urllib.parse import unquote

Node: TypeAlias = dict[str, Any]

_STRUCTURE = frozenset({"type", "properties", "required", "additionalProperties", "items", "enum", "const"})
_STRUCTURE |= {"anyOf", "oneOf", "allOf", "$ref"}
_OPEN = frozenset({"patternProperties", "prefixItems", "additionalItems", "dependentSchemas", "dependencies", "if"})
_OPEN |= {"then", "else", "$dynamicRef", "$recursiveRef"}
"""Keywords that allow more than the strict subset can say."""
_ABOUT = ("title", "description")
_NULL: Node = {"type": "null"}
_MISFIT: Any = object()  # in place of a value that does not fit


class NotStrict(Exception):
    """A schema that strict structured outputs cannot express, such as an object with any properties."""


class _Optional(Node):
    """A property that is optional in the original schema: null stands for its absence."""


class StrictSchema:
    """The strict form of a schema; ``schema`` is what a service gets. ``NotStrict`` if there is no such form."""

    def __init__(self, original: Node) -> None:
        self._original = original
        self._definitions: dict[str, Node] = {}
        self._merges: dict[int, tuple[Node, Node]] = {}  # by id: a schema with allOf, and what it is merged to
        try:
            root = self._resolved(original)
            strict = self._node(root)
        except RecursionError:
            raise NotStrict("it is nested too deeply") from None
        if strict.get("type") != "object":
            raise NotStrict("it is not an object")
        if any(self._leads_to(name, name, set()) for name in self._definitions):
            raise NotStrict("a definition is nothing but itself")
        self._root = strict
        self.schema: Node = {**strict, **({"$defs": self._definitions} if self._definitions else {})}

    @classmethod
    def of(cls, original: Node) -> Self | None:
        """Return the strict form of a schema, or ``None`` if there is none."""
        with suppress(NotStrict):
            return cls(original)
        return None

    def restored(self, value: Any) -> Any:
        """Return a value without the nulls that stand for absent properties; unchanged if it does not fit."""
        found = self._restore(value, self._root, {})
        return value if found is _MISFIT else found

    def _node(self, schema: Any) -> Node:
        """Return the strict form of a schema inside the original one."""
        if not isinstance(schema, dict):
            raise NotStrict("it allows anything, or nothing")
        _refuse_open(schema)
        if "$id" in schema and schema is not self._original:
            raise NotStrict("a part of it has an $id, to which references are relative")
        if "allOf" in schema:
            return self._node(self._merged(schema))
        if "$ref" in schema:
            _refuse_beside("$ref", schema)
            return {"$ref": self._reference(schema["$ref"])}
        for union in ("anyOf", "oneOf"):
            if union in schema:
                _refuse_beside(union, schema)
                return _union(schema, [self._node(one) for one in schema[union]])
        return _union(schema, [self._typed(schema, kind) for kind in _types(schema)])

    def _typed(self, schema: Node, kind: str) -> Node:
        """Return the strict form of a schema for the values of one type."""
        if (values := _enumeration(schema)) is not None:
            return {"type": kind} if kind == "null" else {"type": kind, "enum": [v for v in values if _is(kind, v)]}
        if kind == "array":
            return {"type": kind, "items": self._node(schema.get("items"))}
        if kind != "object":
            return {"type": kind}
        properties, required = schema.get("properties"), schema.get("required") or []
        is_open = properties is None and schema.get("additionalProperties") is not False
        if is_open or schema.get("additionalProperties") or not {*required} <= (properties or {}).keys():
            raise NotStrict("an object may have any properties")
        strict = {name: self._property(one, name in required) for name, one in (properties or {}).items()}
        return {"type": kind, "properties": strict, "required": [*strict], "additionalProperties": False}

    def _property(self, schema: Any, is_required: bool) -> Node:
        strict = self._node(schema)
        if is_required or self._accepts_null(schema):
            return strict
        bare = {name: value for name, value in strict.items() if name not in _ABOUT}
        return _Optional(_union(strict, [*bare.get("anyOf", [bare]), _NULL]))

    def _accepts_null(self, schema: Node) -> bool:
        """Whether null is a value of a schema that has a strict form."""
        schema = self._resolved(schema)
        if "allOf" in schema:
            return self._accepts_null(self._merged(schema))
        if branches := schema.get("anyOf") or schema.get("oneOf"):
            return any(map(self._accepts_null, branches))
        return "null" in _types(schema)

    def _reference(self, reference: str) -> str:
        """Return the reference to a definition of the strict schema, and add the definition if it is missing."""
        if reference == "#":
            return reference
        name = _definition_name(reference)
        if name not in self._definitions:
            self._definitions[name] = {}  # it may lead to itself
            self._definitions[name] = self._node(self._target(reference))
        return f"#/$defs/{reference.rpartition('/')[2]}"

    def _target(self, reference: str) -> Any:
        """Return the part of the original schema that a reference leads to."""
        if reference == "#":
            return self._original
        name = _definition_name(reference)
        found = [self._original[key][name] for key in ("$defs", "definitions") if name in self._original.get(key, {})]
        if len(found) != 1:
            raise NotStrict(f"{reference} is not one of its definitions")
        return found[0]

    def _resolved(self, schema: Any) -> Node:
        """Follow a schema that is only a reference to what it leads to."""
        seen: set[str] = set()
        while isinstance(schema, dict) and "$ref" in schema:
            _refuse_open(schema)
            _refuse_beside("$ref", schema)
            reference = schema["$ref"]
            if reference in seen or (reference == "#" and schema is self._original):
                raise NotStrict("a reference leads to itself")
            seen.add(reference)
            schema = self._target(reference)
        if not isinstance(schema, dict):
            raise NotStrict("it allows anything, or nothing")
        return schema

    def _merged(self, schema: Node) -> Node:
        """Return one schema for ``allOf`` and what stands beside it: of objects that share no property, or of one."""
        if id(schema) not in self._merges:  # a definition may be named many times
            self._merges[id(schema)] = schema, self._merge(schema)
        return self._merges[id(schema)][1]

    def _merge(self, schema: Node) -> Node:
        rest = {name: value for name, value in schema.items() if name != "allOf"}
        parts = [one for one in (rest, *schema["allOf"]) if one is not True]
        for one in parts:
            _refuse_open(one if isinstance(one, dict) else {"if": one})
        about = {name: schema[name] for name in _ABOUT if name in schema}
        parts = [one for one in parts if one.keys() & _STRUCTURE]
        if not parts:
            raise NotStrict("it allows anything")
        if len(parts) == 1:
            return {**about, **parts[0]}
        merged: Node = {"type": "object", "properties": {}, "required": []}
        for one in map(self._resolved, parts):
            one = self._merged(one) if "allOf" in one else one
            _refuse_open(one)
            if one.get("type", "object") != "object" or one.keys() & _STRUCTURE - merged.keys():
                raise NotStrict("allOf joins more than objects")
            for name, inner in one.get("properties", {}).items():
                if merged["properties"].setdefault(name, inner) != inner:
                    raise NotStrict("allOf names a property twice")
            merged["required"] += [name for name in one.get("required", []) if name not in merged["required"]]
        return {**about, **merged}

    def _leads_to(self, name: str, wanted: str, seen: set[str]) -> bool:
        """Whether a definition is another one by reference alone, without an object or a list between them."""
        seen.add(name)
        reached = {_definition_name(one) for one in _bare_references(self._definitions[name]) if one != "#"}
        return wanted in reached or any(self._leads_to(one, wanted, seen) for one in reached - seen)

    def _restore(self, value: Any, node: Node, known: dict[tuple[int, int], Any]) -> Any:
        """Return the restored value, or ``_MISFIT`` if it does not fit the node. ``known`` are results by ids."""
        while "$ref" in node:
            is_root = node["$ref"] == "#"
            node = self._root if is_root else self._definitions[_definition_name(node["$ref"])]
        key = id(value), id(node)
        if key not in known:
            known[key] = self._restore_new(value, node, known)
        return known[key]

    def _restore_new(self, value: Any, node: Node, known: dict[tuple[int, int], Any]) -> Any:
        if "anyOf" in node:
            for branch in node["anyOf"]:
                if (found := self._restore(value, branch, known)) is not _MISFIT:
                    return found
            return _MISFIT
        if not _is(node["type"], value) or not any(_is_same(one, value) for one in node.get("enum", [value])):
            return _MISFIT
        if node["type"] == "array":
            items = [self._restore(one, node["items"], known) for one in value]
            return _MISFIT if any(one is _MISFIT for one in items) else items
        return self._restore_object(value, node["properties"], known) if node["type"] == "object" else value

    def _restore_object(self, value: Node, properties: Node, known: dict[tuple[int, int], Any]) -> Any:
        missing = [one for name, one in properties.items() if name not in value]
        if not value.keys() <= properties.keys() or not all(isinstance(one, _Optional) for one in missing):
            return _MISFIT
        found = {name: self._restore(one, properties[name], known) for name, one in value.items()}
        if any(one is _MISFIT for one in found.values()):
            return _MISFIT
        return {
            name: one for name, one in found.items() if one is not None or not isinstance(properties[name], _Optional)
        }


def _union(schema: Node, branches: list[Node]) -> Node:
    """Return the strict schema of values that fit any of these, with the title and the description of a schema."""
    if not branches:
        raise NotStrict("it allows nothing")
    if len(branches) == 1 and "$ref" in branches[0]:  # OpenAI allows nothing beside it
        return branches[0]
    about = {name: text for name in _ABOUT if isinstance(text := schema.get(name), str)}
    return {**about, **(branches[0] if len(branches) == 1 else {"anyOf": branches})}


def _types(schema: Node) -> list[str]:
    """Return the types of the values of a schema; ``NotStrict`` if it allows any."""
    given = schema.get("type")
    types = [given] if isinstance(given, str) else [*(given or ())]
    if (values := _enumeration(schema)) is not None:
        if any(isinstance(value, dict | list) for value in values):
            raise NotStrict("an enumeration has objects or lists")
        kinds = [kind for kind in _IS if any(_is(kind, value) for value in values) and (not types or kind in types)]
        if "number" in kinds and "integer" in kinds:  # every integer is a number too
            are_integers = all(_is("integer", value) for value in values if _is_number(value))
            kinds.remove("number" if are_integers else "integer")
        return kinds
    if not types:
        types = [kind for kind, name in (("object", "properties"), ("array", "items")) if name in schema]
    if not types:
        raise NotStrict("it allows anything")
    return types


def _enumeration(schema: Node) -> list[Any] | None:
    """Return the values that a schema lists; ``None`` if it lists none."""
    values = schema.get("enum")
    if "const" in schema:
        values = [one for one in [schema["const"]] if values is None or any(_is_same(one, other) for other in values)]
    return values


def _refuse_open(schema: Node) -> None:
    if open_ := schema.keys() & _OPEN:
        raise NotStrict(f"it has {min(open_)}")
    if any(schema.get(name, False) is not False for name in ("unevaluatedProperties", "unevaluatedItems")):
        raise NotStrict("it has unevaluatedProperties or unevaluatedItems")


def _refuse_beside(name: str, schema: Node) -> None:
    """Raise ``NotStrict`` if something beside a keyword says more about the structure."""
    if others := schema.keys() & _STRUCTURE - {name}:
        raise NotStrict(f"{min(others)} stands beside {name}")


def _definition_name(reference: str) -> str:
    """Return the name of the definition that a reference leads to; ``NotStrict`` if it leads elsewhere."""
    for start in ("#/$defs/", "#/definitions/"):
        name = reference.removeprefix(start)
        if name != reference and "/" not in name:
            return unquote(name).replace("~1", "/").replace("~0", "~")
    raise NotStrict(f"it refers to {reference}")


def _bare_references(node: Node) -> Iterator[str]:
    """Yield the references that a value of the node may follow at once."""
    if "$ref" in node:
        yield node["$ref"]
    for branch in node.get("anyOf", ()):
        yield from _bare_references(branch)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_IS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: _is_number(value) and value == value // 1,
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
}


def _is(kind: str, value: Any) -> bool:
    return _IS[kind](value)


def _is_same(one: Any, other: Any) -> bool:
    """Whether two JSON values that are not objects or lists are equal; true is not 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
