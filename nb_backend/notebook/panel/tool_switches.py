"""The tools that can be switched in a panel: those of the chat, of MCP servers, built-in ones, and in variables."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from ... import tools
from ...chat.chat import Chat
from ...text import safe_terminal, truncate
from ..magic.named_tools import servers_connected

_MAX_ABOUT = 100  # characters of a description
_switched_off: WeakKeyDictionary[Chat, dict[str, Any]] = WeakKeyDictionary()
"""The tools of a chat that were switched off, by name, to switch them on again."""


def tools_on(chat: Chat) -> list[str]:
    """Return the names of the tools of a chat."""
    return [_name(one) for one in chat.tools]


def switches(chat: Chat, shell: Any) -> list[dict[str, Any]]:
    """Return the tools that can be switched, each with ``name``, ``about``, ``on``, and whether it ``asks``."""
    on = {*tools_on(chat)}
    return [
        {
            "name": name,
            "about": truncate(_first_sentence(safe_terminal(_about(one))), _MAX_ABOUT),
            "on": name in on,
            "asks": getattr(one, "approve", False) is True,
        }
        for name, one in _known(chat, shell).items()
    ]


def switch_tool(chat: Chat, shell: Any, name: str, on: bool) -> None:
    """Switch a tool of a chat on or off. ``ValueError`` if there is none of this name."""
    found = _known(chat, shell).get(name)
    if found is None:
        raise ValueError(f"there is no tool named {name[:80]!r} any more")
    others = [one for one in chat.tools if _name(one) != name]
    kept = _switched_off.setdefault(chat, {})
    if on:
        kept.pop(name, None)
        chat.tools = [*others, found] if name not in tools_on(chat) else chat.tools
        if mcp := sys.modules.get("nb_backend.tools.mcp"):
            mcp.follow(chat)
    else:
        kept[name] = found
        chat.tools = others


def _known(chat: Chat, shell: Any) -> dict[str, Any]:
    """Return all tools by name. One of the chat wins over a variable, and a variable over a built-in tool."""
    known = {_name(one): one for one in chat.tools}
    for server in servers_connected().values():
        known = {**{one.name: one for one in server}, **known}
    known = {**known, **{name: one for name, one in _switched_off.get(chat, {}).items() if name not in known}}
    for one in _in_variables(shell):
        known.setdefault(one.name, one)
    for name in tools.BUILT_IN:
        known.setdefault(name, getattr(tools, name))
    return known


def _in_variables(shell: Any) -> Iterator[tools.Tool]:
    """Yield the tools that variables of the user hold."""
    variables = getattr(shell, "user_ns", None) or {}
    for name in [*variables]:
        value = variables.get(name)
        if not str(name).startswith("_") and type(value) is tools.Tool:
            yield value


def _name(one: Any) -> str:
    if isinstance(one, dict):
        function = one.get("function")
        named = function if isinstance(function, dict) else one
        return str(named.get("name") or one.get("type") or "tool")
    return str(getattr(one, "name", None) or getattr(one, "__name__", type(one).__name__))


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=\w\w[.!?])\s", " ".join(text.split()), maxsplit=1)[0]


def _about(one: Any) -> str:
    if isinstance(one, dict):
        function = one.get("function")
        return str((function if isinstance(function, dict) else one).get("description") or "carried out by the service")
    return str(getattr(one, "description", None) or getattr(one, "__doc__", None) or "")
