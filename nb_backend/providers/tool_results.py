"""Results of tools for dialects that take only texts as results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..media.message_parts import text_parts
from ..typing import Messages

RESULTS: Final = ("tool", "function")
"""Roles of messages that are results of tools."""
IS_ERROR: Final = "is_error"
"""The key of a result that says why there is none. Chat completions do not know it."""


def with_pictures_apart(messages: Messages) -> Messages:
    """Return the messages with texts as results; pictures follow all results of a round, as a message of the user.

    It names the tool of each picture. A question after it becomes part of it, as many servers want roles to alternate.
    """
    made: Messages = []
    pictures: list[Any] = []
    for message in messages:
        if message.get("role") in RESULTS:
            result, more = _split(message)
            made.append(result)
            pictures += more
            continue
        if pictures and message.get("role") == "user":
            made.append({**message, "content": [*pictures, *text_parts(message.get("content"))]})
        else:
            made += [{"role": "user", "content": pictures}] if pictures else []
            made.append(message)
        pictures = []
    return made + ([{"role": "user", "content": pictures}] if pictures else [])


def _split(message: Mapping[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """Return a result as a text, and its pictures behind a text that says which tool they are from."""
    result = {name: value for name, value in message.items() if name != IS_ERROR}
    content = message.get("content")
    if not isinstance(content, list):
        return result, []
    is_text = [isinstance(part, dict) and isinstance(part.get("text"), str) for part in content]
    texts = [part["text"] for part, known in zip(content, is_text, strict=True) if known]
    others = [part for part, known in zip(content, is_text, strict=True) if not known]
    if not others:
        return {**result, "content": "\n\n".join(texts)}, []
    one = len(others) == 1
    texts.append("(the picture follows)" if one else f"({len(others)} pictures follow)")
    name = message.get("name") or message.get("tool_call_id") or "the tool"
    about = f"The picture that {name} returned:" if one else f"The {len(others)} pictures that {name} returned:"
    return {**result, "content": "\n\n".join(texts)}, [{"type": "text", "text": about}, *others]
