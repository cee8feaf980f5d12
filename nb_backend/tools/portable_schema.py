"""A JSON schema of pydantic as every service takes it.

- Titles are left out: pydantic makes them of the names.
- Definitions are written where they are used: some servers read no ``$defs``, and Gemini allows nothing beside a
  ``$ref``. A schema that contains itself keeps them, with each ``$ref`` alone.
- ``const`` becomes ``enum``, which all know.
- A ``pattern`` that an engine's grammar may not express is left out, as the arguments are checked here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_NAMED = ("properties", "$defs", "patternProperties", "dependentSchemas")  # keywords that hold schemas by name
_LISTED = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = ("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else")
_LEFT_OUT = ("title", "discriminator")
_START = "#/$defs/"
_MAX_WRITTEN_OUT = 200  # definitions; from then on, a schema is smaller with references


def portable(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema in this form. ``ValueError`` if it refers to anything outside of itself."""
    plain = _plain(schema)
    definitions = plain.pop("$defs", {})
    try:
        return {"type": "object", "properties": {}, **_Writer(definitions).written(plain)}
    except _ContainsItself:
        lone = _mapped(plain, _with_lone_reference)
        return {**lone, "$defs": {name: _mapped(one, _with_lone_reference) for name, one in definitions.items()}}


def _mapped(node: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Return a schema with each schema inside it changed, the innermost ones first."""
    if not isinstance(node, dict):
        return node
    made = dict(node)
    for key in _NAMED:
        if isinstance(inner := node.get(key), dict):
            made[key] = {name: _mapped(one, change) for name, one in inner.items()}
    for key in _LISTED:
        if isinstance(several := node.get(key), list):
            made[key] = [_mapped(one, change) for one in several]
    for key in _SINGLE:
        if isinstance(node.get(key), dict):
            made[key] = _mapped(node[key], change)
    return change(made)


def _plain(schema: dict[str, Any]) -> Any:
    def change(node: dict[str, Any]) -> dict[str, Any]:
        node = {key: value for key, value in node.items() if key not in _LEFT_OUT}
        if "const" in node:
            node["enum"] = [node.pop("const")]
        pattern = node.get("pattern")
        if isinstance(pattern, str) and not (pattern.startswith("^") and pattern.endswith("$") and "(?" not in pattern):
            del node["pattern"]
        reference = node.get("$ref")
        if reference is not None and not str(reference).startswith(_START):
            raise ValueError(f"it refers to {reference}, which is not part of it")
        return node

    return _mapped(schema, change)


def _with_lone_reference(node: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in node or len(node) == 1:
        return node
    beside = {key: value for key, value in node.items() if key != "$ref"}
    return {"anyOf": [{"$ref": node["$ref"]}], **beside}


class _ContainsItself(Exception):
    """A definition that refers to itself, or one that would be written out too often."""


class _Writer:
    """Writes definitions where they are referred to."""

    def __init__(self, definitions: dict[str, Any]) -> None:
        self._definitions = definitions
        self._around: list[str] = []
        self._count = 0

    def written(self, node: Any) -> Any:
        """Return a schema without references; ``_ContainsItself`` if it has no such form."""
        return _mapped(node, self._write)

    def _write(self, node: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in node:
            return node
        name = node["$ref"].removeprefix(_START)
        self._count += 1
        if name in self._around or self._count > _MAX_WRITTEN_OUT:
            raise _ContainsItself
        self._around.append(name)
        found = self.written(self._definitions[name])
        self._around.pop()
        return {**found, **{key: value for key, value in node.items() if key != "$ref"}}
