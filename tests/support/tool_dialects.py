"""Answers that call tools, as a service of each dialect sends them, and what the request after them holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from wire_server import status

APIS = ("g4f", "openai-chat", "openai-responses", "anthropic", "gemini")
KEEP_STATE = APIS[1:]
MODEL = "gemini-3-flash"  # of a name that all dialects take
OPAQUE = "T1BBUVVF"
"""What only the service can read, in the state of all dialects."""


class Call(NamedTuple):
    """A call as a service sends it."""

    id: str
    name: str
    arguments: Any
    """By name; a text is sent as it is."""

    @property
    def written(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


def answer_of(api: str, text: str = "", *calls: Call, **options: Any) -> bytes:
    """Return a complete response with this text and these calls."""
    return status("200 OK", body_of(api, text, *calls, **options), content_type="text/event-stream")


def body_of(api: str, text: str = "", *calls: Call, reasons: bool = False, reason: str = "") -> bytes:
    """Return the body of an answer; ``reasons`` puts opaque state before the calls, ``reason`` is how it ends.

    Each answer takes 10 tokens and has 5.
    """
    events = _EVENTS[api](text, calls, reasons, reason)
    return b"".join(map(line_of, events))


def line_of(event: dict[str, Any]) -> bytes:
    """Return an event as it is sent."""
    return b"event: %s\ndata: %s\n\n" % (str(event.get("type", "message")).encode(), json.dumps(event).encode())


def _g4f(text: str, calls: Sequence[Call], reasons: bool, reason: str) -> list[dict[str, Any]]:
    return [
        *([{"type": "content", "content": text}] if text else []),
        *([{"type": "tool_calls", "tool_calls": [*map(_function, calls)]}] if calls else []),
        {"type": "usage", "usage": {"prompt_tokens": 10, "completion_tokens": 5}},
        {"type": "finish", "finish": {"reason": reason or ("tool_calls" if calls else "stop")}},
    ]


def _function(call: Call) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.written}}


def _chat(text: str, calls: Sequence[Call], reasons: bool, reason: str) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = []
    if reasons:
        deltas.append({"reasoning_details": [{"type": "reasoning.encrypted", "data": OPAQUE}]})
    if text:
        deltas.append({"content": text})
    for at, call in enumerate(calls):
        half = len(call.written) // 2
        first = {**_function(call), "index": at}
        first["function"] = {"name": call.name, "arguments": call.written[:half]}
        deltas.append({"tool_calls": [first]})
        deltas.append({"tool_calls": [{"index": at, "function": {"arguments": call.written[half:]}}]})
    chunks = [{"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    end = {"index": 0, "delta": {}, "finish_reason": reason or ("tool_calls" if calls else "stop")}
    counts = {"prompt_tokens": 10, "completion_tokens": 5}
    return [*chunks, {"model": "m", "choices": [end]}, {"model": "m", "choices": [], "usage": counts}]


def _responses(text: str, calls: Sequence[Call], reasons: bool, reason: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if reasons:
        items.append({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": OPAQUE})
    if text:
        part = {"type": "output_text", "text": text, "annotations": []}
        items.append({"type": "message", "id": "msg_1", "role": "assistant", "content": [part], "status": "completed"})
    for at, call in enumerate(calls):
        about = {"call_id": call.id, "name": call.name, "arguments": call.written, "status": "completed"}
        items.append({"type": "function_call", "id": f"fc_{at}", **about})
    events: list[dict[str, Any]] = []
    for place, item in enumerate(items):
        empty = {**item, "status": "in_progress"} | ({"arguments": ""} if "arguments" in item else {})
        empty |= {"content": []} if item["type"] == "message" else {}
        events.append({"type": "response.output_item.added", "output_index": place, "item": empty})
        here = {"output_index": place, "item_id": item["id"]}
        if item["type"] == "message":
            events.append({"type": "response.output_text.delta", **here, "content_index": 0, "delta": text})
        if "arguments" in item:
            events.append({"type": "response.function_call_arguments.delta", **here, "delta": item["arguments"]})
        events.append({"type": "response.output_item.done", "output_index": place, "item": item})
    kind = "incomplete" if reason else "completed"
    whole = {"id": "resp_1", "status": kind, "model": "m", "output": items}
    whole |= {"incomplete_details": {"reason": reason}} if reason else {}
    whole["usage"] = {"input_tokens": 10, "output_tokens": 5}
    return [*events, {"type": f"response.{kind}", "response": whole}]


def _anthropic(text: str, calls: Sequence[Call], reasons: bool, reason: str) -> list[dict[str, Any]]:
    message = {"id": "a", "type": "message", "role": "assistant", "content": [], "model": "m"}
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if reasons:
        thought = {"type": "thinking_delta", "thinking": "Hm"}, {"type": "signature_delta", "signature": OPAQUE}
        blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, [*thought]))
        blocks.append(({"type": "redacted_thinking", "data": OPAQUE}, []))
    if text:
        blocks.append(({"type": "text", "text": ""}, [{"type": "text_delta", "text": text}]))
    for call in calls:
        half = len(call.written) // 2
        pieces = [call.written[:half], call.written[half:]]
        start = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        blocks.append((start, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]))
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "usage": {"input_tokens": 10, "output_tokens": 1}}}
    ]
    for at, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": at, "content_block": block})
        events += [{"type": "content_block_delta", "index": at, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": at})
    ending = reason or ("tool_use" if calls else "end_turn")
    counts = {"output_tokens": 5}
    return [
        *events,
        {"type": "message_delta", "delta": {"stop_reason": ending}, "usage": counts},
        {"type": "message_stop"},
    ]


def _gemini(text: str, calls: Sequence[Call], reasons: bool, reason: str) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{"text": text}] if text else []
    for at, call in enumerate(calls):
        arguments = call.arguments if isinstance(call.arguments, dict) else {}
        made = {"name": call.name, "args": arguments} | ({"id": call.id} if call.id else {})
        parts.append({"functionCall": made} | ({"thoughtSignature": OPAQUE} if reasons and not at else {}))
    contents = [{"content": {"role": "model", "parts": [part]}, "index": 0} for part in parts]
    counts = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
    end = {"content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": reason or "STOP", "index": 0}
    about = {"modelVersion": "m", "responseId": "r1"}
    return [
        *({"candidates": [one], **about} for one in contents),
        {"candidates": [end], "usageMetadata": counts, **about},
    ]


_EVENTS = {
    "g4f": _g4f,
    "openai-chat": _chat,
    "openai-responses": _responses,
    "anthropic": _anthropic,
    "gemini": _gemini,
}
LIMIT = {
    "g4f": "length",
    "openai-chat": "length",
    "openai-responses": "max_output_tokens",
    "anthropic": "max_tokens",
    "gemini": "MAX_TOKENS",
}
"""How an answer ends that is cut off."""


# --- requests


def told(api: str, body: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return what a request tells the model, in the same form for each dialect.

    These are ("user", text), ("assistant", text), ("call", id, name, arguments) and ("result", id, text), each with the
    number of pictures behind it if it has some. Instructions are left out.
    """
    return [one for one in _TOLD[api](body) if one[0] != "system"]


def _counted(*about: Any, pictures: int = 0) -> tuple[Any, ...]:
    return (*about, pictures) if pictures else about


def _told_messages(body: dict[str, Any]) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for message in body["messages"]:
        content = message.get("content") or ""
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        text = "\n".join(part["text"] for part in parts if part["type"] == "text")
        pictures = sum(part["type"] == "image_url" for part in parts)
        if message["role"] == "tool":
            assert isinstance(content, str), "a tool message has a text"
            assert message.keys() <= {"role", "content", "tool_call_id", "name"}
            found.append(("result", message["tool_call_id"], text))
            continue
        if text or pictures:
            found.append(_counted(message["role"], text, pictures=pictures))
        for call in message.get("tool_calls") or ():
            function = call["function"]
            assert isinstance(function["arguments"], str)
            found.append(("call", call["id"], function["name"], json.loads(function["arguments"] or "{}")))
    return found


def _told_items(body: dict[str, Any]) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for item in body["input"]:
        kind = item.get("type", "message")
        content = item.get("output" if kind == "function_call_output" else "content") or ""
        parts = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
        text = "\n".join(part["text"] for part in parts if part["type"] in ("input_text", "output_text"))
        pictures = sum(part["type"] == "input_image" for part in parts)
        if kind == "message":
            found.append(_counted(item["role"], text, pictures=pictures))
        elif kind == "function_call":
            found.append(("call", item["call_id"], item["name"], json.loads(item["arguments"] or "{}")))
        elif kind == "function_call_output":
            found.append(_counted("result", item["call_id"], text, pictures=pictures))
        else:
            assert kind == "reasoning"
    return found


def _told_blocks(body: dict[str, Any]) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    roles = [message["role"] for message in body["messages"]]
    assert all(first != second for first, second in pairwise(roles)), "the roles alternate"
    for message in body["messages"]:
        texts = [block["text"] for block in message["content"] if block["type"] == "text"]
        pictures = sum(block["type"] == "image" for block in message["content"])
        for block in message["content"]:
            if block["type"] == "tool_result":
                content = block.get("content", "")
                inner = [{"type": "text", "text": content}] if isinstance(content, str) else content
                shown = sum(part["type"] == "image" for part in inner)
                text = "\n".join(part["text"] for part in inner if part["type"] == "text")
                found.append(_counted("result", block["tool_use_id"], text, pictures=shown))
        if texts or pictures:
            found.append(_counted(message["role"], "\n".join(texts), pictures=pictures))
        uses = [block for block in message["content"] if block["type"] == "tool_use"]
        found += [("call", block["id"], block["name"], block["input"]) for block in uses]
    return found


def _told_contents(body: dict[str, Any]) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for content in body["contents"]:
        role = {"model": "assistant"}.get(content["role"], content["role"])
        texts = [part["text"] for part in content["parts"] if part.get("text") and not part.get("thought")]
        pictures = sum("inlineData" in part for part in content["parts"])
        for part in content["parts"]:
            if result := part.get("functionResponse"):
                shown = len(result.get("parts", ()))
                text = result["response"].get("result", result["response"].get("error"))
                found.append(_counted("result", result.get("id", ""), text, pictures=shown))
        if texts or pictures:
            found.append(_counted(role, "\n".join(texts), pictures=pictures))
        calls = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
        found += [("call", call.get("id", ""), call["name"], call["args"]) for call in calls]
    return found


_TOLD = {
    "g4f": _told_messages,
    "openai-chat": _told_messages,
    "openai-responses": _told_items,
    "anthropic": _told_blocks,
    "gemini": _told_contents,
}
