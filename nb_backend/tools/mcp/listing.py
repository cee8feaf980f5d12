"""What a server lists, made safe: names, descriptions and schemas. Everything that a server says is hostile."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ...text import shorten, unicode_text, without_hidden
from ..tool import wire_name

MAX_TOOLS = 256
_MAX_DESCRIPTION = 8_000  # characters
_MAX_SCHEMA = 60_000  # bytes of JSON
_MAX_DEPTH = 40
_NAME = re.compile(r"[A-Za-z0-9_./-]{1,128}")
_NAMED_SCHEMAS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_VALUES = frozenset({"const", "enum", "default", "examples", "example", "required", "type"})
_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_LEFT_OUT = frozenset({"$schema", "$id", "$comment", "$vocabulary"})  # they name addresses, and say nothing to a model


class Listing:
    """Screens what a server lists, before the SDK reads it: a wrong entry would make it refuse all others.

    ``problems`` has a line for each tool that was left out. What the SDK gets of a tool is its name, its description,
    its schema, and whether it only reads.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self.begin()

    def begin(self) -> None:
        """Begin a new listing."""
        self.problems: list[str] = []
        self._taken: set[str] = set()

    def screen(self, message: Any) -> None:
        """Drop the wrong tools of a page; other messages stay as they are."""
        result = getattr(getattr(message, "message", None), "result", None)
        if isinstance(result, dict) and isinstance(result.get("tools"), list):
            result["tools"] = [*self._right(result["tools"])]

    def _right(self, tools: list[Any]) -> Iterator[dict[str, Any]]:
        for tool in tools:
            about = tool if isinstance(tool, dict) else {}
            name = about.get("name")
            shown = repr(shorten(name, 60)) if isinstance(name, str) else "without a name"
            try:
                if len(self._taken) >= MAX_TOOLS:
                    raise ValueError(f"only {MAX_TOOLS} tools of a server are used")
                yield self._checked(about, name)
            except ValueError as error:
                line = f"{self._server}: the tool {shown} is left out: {error}"
                if len(self.problems) < MAX_TOOLS:
                    self.problems.append(line)

    def _checked(self, tool: dict[str, Any], name: Any) -> dict[str, Any]:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError("its name is not one of letters, digits and _ . / -")
        description = tool.get("description") or tool.get("title") or ""
        if not isinstance(description, str):
            raise ValueError("its description is not a text")
        schema = checked_schema(tool.get("inputSchema"))
        sent = wire_name(f"{self._server}.{name}")
        if sent in self._taken:
            raise ValueError("its name is listed twice")
        self._taken.add(sent)
        notes = tool.get("annotations")
        only_reads = isinstance(notes, dict) and notes.get("readOnlyHint") is True
        return {
            "name": name,
            "description": without_hidden(unicode_text(description))[:_MAX_DESCRIPTION],
            "inputSchema": schema,
            "annotations": {"readOnlyHint": only_reads},
        }


def checked_schema(schema: Any) -> dict[str, Any]:
    """Return the schema of a tool's arguments without what refers to another place, which no one is to fetch.

    Raises ``ValueError`` in one line if it is not the schema of an object, is too large or refers to nothing.
    """
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise ValueError("its schema is not that of an object")
    if not isinstance(schema.get("properties", {}), dict):
        raise ValueError("its schema has properties that are not an object")
    _check_depth(schema)
    if len(json.dumps(schema)) > _MAX_SCHEMA:
        raise ValueError(f"its schema has more than {_MAX_SCHEMA // 1000} kB")
    found: dict[str, Any] = _without_addresses(schema, schema)
    return found


def _check_depth(value: Any) -> None:
    layer = [value]
    for _ in range(_MAX_DEPTH):
        layer = [
            inner
            for one in layer
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ]
        if not layer:
            return
    raise ValueError(f"its schema has more than {_MAX_DEPTH} levels")


def _without_addresses(schema: Any, root: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_without_addresses(one, root) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {}
    for key, value in schema.items():
        if key in _LEFT_OUT or (key in _REFERENCES and not _is_local(value, root)):
            continue
        if key in _NAMED_SCHEMAS and isinstance(value, dict):
            found[key] = {name: _without_addresses(one, root) for name, one in value.items()}
        else:
            found[key] = value if key in _VALUES else _without_addresses(value, root)
    return found


def _is_local(reference: Any, root: dict[str, Any]) -> bool:
    """Whether a reference is to a place in the schema itself, which has to be there; else ``ValueError``."""
    if not isinstance(reference, str):
        raise ValueError("its schema has a $ref that is not a text")
    if not reference.startswith("#"):
        return False
    place: Any = root
    for step in filter(None, reference[1:].split("/")):
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(place, list) and step.isdecimal() and int(step) < len(place):
            place = place[int(step)]
        elif isinstance(place, dict) and step in place:
            place = place[step]
        else:
            raise ValueError(f"its schema has a $ref to nothing, {shorten(reference, 40)}")
    return True
