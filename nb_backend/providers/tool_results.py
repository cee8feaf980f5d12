"""Rounds of tool calls in chat completions: results that are texts, and the forms that strict servers want."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from hashlib import blake2b
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


# --- what strict servers want of a chat with tools


def with_short_ids(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body with ids of calls that have nine letters and digits, as Mistral's models want them."""
    made = []
    for message in body["messages"]:
        calls = message.get("tool_calls")
        if isinstance(calls, list):
            message = {**message, "tool_calls": [{**call, "id": _short(call.get("id"))} for call in calls]}
        if message.get("role") in RESULTS:
            message = {**message, "tool_call_id": _short(message.get("tool_call_id"))}
        made.append(message)
    return {**body, "messages": made}


def _short(id_: Any) -> str:
    text = str(id_ or "")
    return text if re.fullmatch("[A-Za-z0-9]{9}", text) else blake2b(text.encode(), digest_size=5).hexdigest()[:9]


def with_answered_results(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body with a word of the model between results and what the user says next, as Mistral wants it."""
    made: list[Any] = []
    for message in body["messages"]:
        if made and made[-1].get("role") in RESULTS and message.get("role") == "user":
            made.append({"role": "assistant", "content": "OK"})
        made.append(message)
    return {**body, "messages": made}


def with_tools_of_history(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body; without tools, those that the chat has called are declared, as Bedrock wants them."""
    if body.get("tools"):
        return body
    calls = [call for message in body["messages"] for call in message.get("tool_calls") or ()]
    names = dict.fromkeys(str(call["function"].get("name")) for call in calls if isinstance(call.get("function"), dict))
    parameters = {"type": "object", "properties": {}}
    tools = [{"type": "function", "function": {"name": name, "parameters": parameters}} for name in names]
    return {**body, "tools": tools} if tools else body


STRICT: Final[tuple[tuple[re.Pattern[str], Callable[[dict[str, Any]], dict[str, Any]]], ...]] = (
    (re.compile(r"tool call id .{0,200}\blength of 9\b", re.IGNORECASE | re.DOTALL), with_short_ids),
    (re.compile(r"role .?user.? after role .?tool", re.IGNORECASE), with_answered_results),
    (re.compile(r"\btoolConfig\b.{0,40}\bmust be defined|`tools=` param|\bmust define tools\b"), with_tools_of_history),
)
"""How a server refuses the messages of tool rounds, and the form that it takes."""
