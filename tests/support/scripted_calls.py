"""Tool calls of a scripted answer: ``backend.engine.enqueue("I look. ", tool_call("look", names=["df"]))``."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

_numbers = count(1)


def tool_call(name: str, /, **arguments: Any) -> dict[str, Any]:
    """Return the event of one call; several in one answer are parallel calls. Each has an id of its own."""
    return raw_call(name, json.dumps(arguments))


def raw_call(name: str, arguments: str) -> dict[str, Any]:
    """Return the event of a call whose arguments are this text, which need not be JSON."""
    call = {"id": f"call-{next(_numbers)}", "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"type": "tool_calls", "tool_calls": [call]}


def results(body: dict[str, Any]) -> list[str]:
    """Return what the tools of a request's messages returned: ``results(backend.engine.history[-1])``."""
    return [message["content"] for message in body["messages"] if message["role"] == "tool"]
