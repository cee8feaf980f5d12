"""The body of a request to OpenAI's responses: messages become input items, and our parameters its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..media.message_parts import text_of, text_parts
from ..typing import Messages
from .common_fields import LIMITS, split_extra_body
from .content_parts import dicts
from .responses_items import CALLS, is_output, text_of_items

ENCRYPTED: Final = ["reasoning.encrypted_content"]
"""The value of ``include`` if the user has not set another: without it, reasoning cannot be sent back."""
SUMMARY: Final = "auto"
"""The value of ``summary`` in ``reasoning``: without it, a model reasons in silence."""

_RESULT_IDS = ("tool_call_id", "call_id")  # of a message with the role tool, of an item


def input_items(messages: Messages) -> list[dict[str, Any]]:
    """Return messages in the form of chat completions as input items; what is an item already stays as it is.

    Calls without a result are left out, as the service refuses them: a chat goes on although nobody ran a tool.
    """
    answered = {str(one) for message in messages for key in _RESULT_IDS if (one := message.get(key))}
    items: list[dict[str, Any]] = []
    custom: set[str] = set()  # ids of the calls of custom tools, whose results have a type of their own
    renamed: dict[str, str] = {}  # the newest calls: their ids in the chat, and as sent
    for message in messages:
        added = [_with_own_id(item, renamed, len(items)) for item in _items_of(message, answered)]
        custom |= {str(item.get("call_id")) for item in added if item.get("type") == "custom_tool_call"}
        for item in added:
            is_result = item.get("type") == "function_call_output" and str(item.get("call_id")) in custom
            items.append({**item, "type": "custom_tool_call_output"} if is_result else item)
    return items


def _with_own_id(item: dict[str, Any], renamed: dict[str, str], at: int) -> dict[str, Any]:
    """Return an item; a call gets another id if an earlier one had the same, and so does its result.

    Some servers number the calls of each response anew. ``renamed`` is changed, ``at`` differs for each message.
    """
    id_ = str(item.get("call_id") or "")
    if not id_:
        return item
    if item.get("type") in CALLS:
        renamed[id_] = f"{id_}_{at}" if id_ in renamed else id_
    return {**item, "call_id": renamed.get(id_, id_)}


def _items_of(message: Mapping[str, Any], answered: set[str]) -> list[dict[str, Any]]:
    role = message.get("role")
    if role is None:
        return [dict(message)]
    if role in ("tool", "function"):
        id_ = str(message.get("tool_call_id") or message.get("name") or "")
        return [{"type": "function_call_output", "call_id": id_, "output": _result(message.get("content"))}]
    if role != "assistant":
        return [{"type": "message", "role": role, "content": [*map(_input_part, text_parts(message.get("content")))]}]
    state = dicts(message.get("state"))
    text = text_of(message)
    calls = [str(item.get("call_id")) for item in state if item.get("type") in CALLS]
    is_whole = len(set(calls)) == len(calls) and answered.issuperset(calls) and all(map(is_output, state))
    if state and is_whole and text_of_items(state) == text:
        return state
    return [*_spoken(text), *(call for call in _calls(message.get("tool_calls")) if call["call_id"] in answered)]


def _spoken(text: str) -> list[dict[str, Any]]:
    """Return what the model has said as a message with a text: with parts, vLLM demands ids that we do not have."""
    return [{"type": "message", "role": "assistant", "content": text}] if text.strip() else []


def _calls(calls: Any) -> list[dict[str, Any]]:
    items = []
    for call in dicts(calls):
        function: dict[str, Any] = next(
            (call[key] for key in ("function", "custom") if isinstance(call.get(key), dict)), {}
        )
        arguments = next((function[key] for key in ("arguments", "input") if key in function), "") or "{}"
        named = {"call_id": str(call.get("id") or ""), "name": str(function.get("name") or "")}
        items.append({"type": "function_call", **named, "arguments": arguments})
    return items


def _result(content: Any) -> str | list[Any]:
    """Return the result of a tool: a text, or parts if it has images or files."""
    parts = [*map(_input_part, text_parts(content))]
    texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "input_text"]
    return "\n\n".join(map(str, texts)) if len(texts) == len(parts) else parts


def _input_part(part: Any) -> Any:
    """Return a content part of a chat completion as a part of an input item; others stay as they are."""
    if isinstance(part, str):
        return {"type": "input_text", "text": part}
    if not isinstance(part, dict):
        return part
    kind = part.get("type")
    value = part.get(kind) if isinstance(kind, str) else None
    if kind == "text":
        return {**part, "type": "input_text"}
    if kind == "image_url":
        image = value if isinstance(value, dict) else {"url": value}
        return {"type": "input_image", "image_url": image.get("url"), "detail": image.get("detail") or "auto"}
    if kind == "file" and isinstance(value, dict):
        return {"type": "input_file", **value}
    return part


def with_parameters(body: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body with the keywords of a call under this dialect's names; other names stay as they are.

    A field that is ``None`` is left out. The fields of the dict ``extra_body`` go into the body as they are.
    """
    fields, extra = split_extra_body(fields)
    given = {name: value for name, value in fields.items() if value is not None}
    limits = [given.pop(name) for name in reversed(LIMITS) if name in given]
    if limits:
        given["max_output_tokens"] = limits[0]
    efforts = [given.pop(name) for name in ("effort", "reasoning_effort") if name in given]
    if isinstance(reasoning := fields.get("reasoning", {}), dict):
        given["reasoning"] = _reasoning(reasoning, efforts)
    if isinstance(form := given.pop("response_format", None), dict):
        given["text"] = {"format": _flat(form), **_dict(given.get("text"))}
    if isinstance(tools := given.get("tools"), list):
        given["tools"] = [*map(_tool, tools)]
    if isinstance(choice := given.get("tool_choice"), dict):
        given["tool_choice"] = _flat(choice)
    left_out = {name for name, value in fields.items() if value is None}
    merged = {name: value for name, value in (body | given).items() if value is not None and name not in left_out}
    return merged | extra


def _reasoning(given: Mapping[str, Any], efforts: Iterable[Any]) -> dict[str, Any] | None:
    """Return how long the model reasons, and whether it sums that up; what the user writes as ``reasoning`` wins."""
    effort = next(iter(efforts), None)
    wanted = {"effort": effort} if effort is not None else {}
    summary = {} if effort == "none" else {"summary": SUMMARY}
    return {**wanted, **summary, **given} or None


def _tool(tool: Any) -> Any:
    """Return a tool of a chat completion in the flat form; a function is not strict unless it says so, as there."""
    flat = _flat(tool) if isinstance(tool, dict) else tool
    if flat is not tool and flat.get("type") == "function":
        return {"parameters": {"type": "object", "properties": {}}, "strict": False, **flat}
    if flat is not tool and isinstance(flat.get("format"), dict):
        return {**flat, "format": _flat(flat["format"])}
    return flat


def _flat(value: dict[str, Any]) -> dict[str, Any]:
    """Return ``{"type": "function", "function": {…}}`` as ``{"type": "function", …}``."""
    inner = value.get(kind := str(value.get("type")))
    return {"type": kind, **inner} if isinstance(inner, dict) else value


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
