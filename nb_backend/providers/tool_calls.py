"""Tool calls of an answer: ``ToolCall``, and the pieces in which servers send them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from .. import settings
from ..redaction import mask
from ..text import truncate
from ..transport.json_body import encode_json
from .json_events import exceeds_depth

_MAX_NAMES_CHARS = 60  # in the status line
MAX_CALLS = 1000  # more in one answer are ignored
_ARGUMENT_KEYS = ("arguments", "input", "args", "parameters")
_MAX_CHECKS = 1000
_NO_ARGUMENTS = ("", "null", "None")  # what models write for a function without parameters


@dataclass(frozen=True, repr=False)
class ToolCall:
    """A function that the model wants to be called, with ``arguments`` by name.

    If the model wrote arguments that are not a JSON object, ``arguments`` is ``{}`` and ``unparsed`` is what it wrote.
    """

    id: str
    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    unparsed: str = ""

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return mask(f"ToolCall({given})", settings.known_keys())

    @classmethod
    def of(cls, call: Mapping[str, Any]) -> Self:
        """Return the call in the form of ``ToolCallCollector.calls``."""
        function = call["function"]
        arguments = parse_arguments(function["arguments"])
        unparsed = function["arguments"] if arguments is None else ""
        return cls(call["id"] or "", function["name"], arguments or {}, unparsed)


def parse_arguments(text: str) -> dict[str, Any] | None:
    """Return the arguments of a call, ``{}`` for an empty text, or ``None`` if it is not a JSON object.

    Line ends inside strings and an object that is itself written as a JSON string are accepted: models send both.
    ``None`` also if it is nested more deeply than an event may be. An integer of more than 64 bits stays a text: it
    could not be sent back.
    """
    if text.strip() in _NO_ARGUMENTS:
        return {}
    try:
        value = _arguments.decode(text)
        if isinstance(value, str):
            value = _arguments.decode(value)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and not exceeds_depth(value, text.encode("utf-8", "replace")) else None


def _integer(digits: str) -> int | str:
    return number if -(2**63) <= (number := int(digits)) < 2**64 else digits


_arguments = json.JSONDecoder(strict=False, parse_constant=lambda _: None, parse_int=_integer)


def with_free_choice(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a request that forces no call; one that does so would get nothing but calls, for ever."""
    made = dict(fields)
    if (choice := made.get("tool_choice")) is not None:
        made["tool_choice"] = _free(choice)
    for name in ("tool_config", "toolConfig"):  # of Gemini
        if isinstance(config := made.get(name), dict):
            made[name] = {key: _free_mode(value) for key, value in config.items()}
    if isinstance(extra := made.get("extra_body"), dict):
        made["extra_body"] = with_free_choice(extra)
    return made


def _free(choice: Any) -> Any:
    match choice:
        case "auto" | "none" | {"type": "auto" | "none"}:
            return choice
        case {"type": "allowed_tools", "allowed_tools": dict(allowed)}:
            return {**choice, "allowed_tools": {**allowed, "mode": "auto"}}
        case {"type": "allowed_tools"}:
            return {**choice, "mode": "auto"}
        case {"disable_parallel_tool_use": alone}:  # of Anthropic
            return {"type": "auto", "disable_parallel_tool_use": alone}
    return "auto"


def _free_mode(config: Any) -> Any:
    if not isinstance(config, dict) or config.get("mode") not in ("ANY", "any"):
        return config
    return {**{key: value for key, value in config.items() if not key.startswith("allowed")}, "mode": "AUTO"}


def names_of_tools(tools: Any) -> set[str]:
    """Return the names of the functions that tools declare, in the form of any dialect."""
    names: set[str] = set()
    for one in tools if isinstance(tools, list | tuple) else ():
        if not isinstance(one, dict):
            continue
        lists = (one.get(key) for key in ("functionDeclarations", "function_declarations"))
        declared = [function for functions in lists if isinstance(functions, list) for function in functions]
        for function in (one, one.get("function"), one.get("custom"), *declared):
            if isinstance(function, dict) and isinstance(name := function.get("name"), str):
                names.add(name)
    return names


def describe_calls(calls: Sequence[ToolCall]) -> str:
    """Return which tools the calls ask for, for the status line.

    >>> describe_calls([ToolCall("", "weather"), ToolCall("", "clock")])
    'asks for 2 tools (weather, clock)'
    """
    names = [*dict.fromkeys(call.name for call in calls)]
    listed = truncate(" ".join(", ".join(filter(None, names)).split()), _MAX_NAMES_CHARS)
    return f"asks for {'a tool' if len(names) == 1 else f'{len(names)} tools'}{listed and f' ({listed})'}"


@dataclass
class _GrowingCall:
    """Tool call that has not arrived completely."""

    id: str | None
    index: int | None
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    _known: tuple[int, bool] = (0, False)  # for how many pieces it is known whether they are whole
    _checks: int = 0

    @property
    def arguments(self) -> str:
        """The arguments as JSON, without a ``{}`` that some servers send before them."""
        text = "".join(self.pieces)
        rest = text.lstrip()[2:].lstrip() if text.lstrip().startswith("{}") else ""
        return rest if rest.startswith("{") else text

    @property
    def is_whole(self) -> bool:
        """Whether the arguments so far are a JSON object. They are parsed only if they end with a brace.

        False after ``_MAX_CHECKS`` checks, each of which reads all pieces.
        """
        size, whole = self._known
        if size != len(self.pieces) and self.pieces[-1].rstrip()[-1:] == "}" and self._checks < _MAX_CHECKS:
            whole = _is_object(self.arguments)
            self._checks += 1
        elif size != len(self.pieces):
            whole = False
        self._known = len(self.pieces), whole
        return whole


class ToolCallCollector:
    """Joins tool calls from their pieces.

    A piece belongs to a call by ``index``, by ``id``, or, if it has neither, by its place in the list or by order.
    Servers that send several calls with the same index send each with a name, after the one before is whole.
    """

    def __init__(self) -> None:
        self._calls: list[_GrowingCall] = []

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, pieces: Any) -> None:
        """Add the pieces of one chunk: a list in OpenAI's form, or a single one."""
        given = [piece for piece in (pieces if isinstance(pieces, list) else [pieces]) if isinstance(piece, dict)]
        for place, piece in enumerate(given):
            function = next((piece[key] for key in ("function", "custom") if isinstance(piece.get(key), dict)), piece)
            name = function.get("name")
            value = next((function[key] for key in _ARGUMENT_KEYS if function.get(key) is not None), "")
            index, id_ = piece.get("index"), piece.get("id")
            if type(index) is not int:
                index = place if len(given) > 1 else None
            self._add(
                index,
                str(id_) if id_ or type(id_) is int else None,
                name if isinstance(name, str) else "",
                value if isinstance(value, str) else encode_json(value).decode(),
            )

    def calls(self) -> list[dict[str, Any]]:
        """Return the calls in OpenAI's form; ``arguments`` is text."""
        return [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in self._calls
        ]

    def _add(self, index: int | None, id_: str | None, name: str, arguments: str) -> None:
        if not (id_ or name or arguments):
            return
        call = self._call_of(index, id_)
        if call is not None and name and call.is_whole and call.id == id_ is not None:
            if arguments in ("", call.arguments):
                return  # sent again
            call = None
        elif call is not None and _starts_another(call, index, id_, name):
            call = None
        if call is None:
            if len(self._calls) >= MAX_CALLS:
                return
            call = _GrowingCall(id_, index)
            self._calls.append(call)
        call.id = call.id or id_
        if name.startswith(call.name):
            call.name = name
        elif name and not call.name.endswith(name):
            call.name += name  # a name in pieces
        if arguments:
            call.pieces.append(arguments)

    def _call_of(self, index: int | None, id_: str | None) -> _GrowingCall | None:
        """Return the call that a piece continues if it does not start another one."""
        newest_first = self._calls[::-1]
        for call in newest_first:
            if id_ and call.id == id_ and (index is None or call.index is None or index == call.index):
                return call
        if index is not None:
            return next((call for call in newest_first if call.index == index), None)
        return newest_first[0] if newest_first and not id_ else None


def _starts_another(call: _GrowingCall, index: int | None, id_: str | None, name: str) -> bool:
    """Whether a piece with a name starts a call, although its index, or its order, is that of ``call``."""
    if not name:
        return False
    if id_ and call.id and id_ != call.id:
        return not call.pieces or call.is_whole  # some servers send a new id with each piece of the same call
    is_next = index is None and id_ is None and call.name not in ("", name) and not call.pieces
    return call.is_whole or is_next


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text, strict=False), dict)
    except (ValueError, RecursionError):
        return False
