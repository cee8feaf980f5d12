"""Bodies of answers in each framing, of the shape that the services send: see the recordings of real clouds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

PADDING = 16  # Anthropic fills up its events with spaces, so that their length does not betray the text


def body_of(framing: str, count: int) -> bytes:
    """Return the body of an answer with ``count`` events in a framing; each event adds a word of five characters."""
    words = [f"wor{number % 10} " for number in range(count)]  # LiteLLM takes the same chunk over and over for a fault
    return FRAMINGS[framing](words).encode()


def _named(events: Iterable[dict[str, Any]]) -> str:
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


def _g4f(words: list[str]) -> Iterator[dict[str, Any]]:
    yield from ({"type": "content", "content": word} for word in words)
    yield {"type": "finish", "finish": {"reason": "stop"}}


def _json_lines(words: list[str]) -> str:
    return "".join(f"{json.dumps(event)}\n" for event in _g4f(words))


def _chat(words: list[str]) -> str:
    begun = 'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o",'
    ones = [f'{begun}"choices":[{{"index":0,"delta":{{"content":"{word}"}},"finish_reason":null}}]}}' for word in words]
    last = f'{begun}"choices":[{{"index":0,"delta":{{}},"finish_reason":"stop"}}]}}'
    return "".join(f"{one}\n\n" for one in [*ones, last, "data: [DONE]"])


def _compact(event: dict[str, Any]) -> str:
    return json.dumps(event, separators=(",", ":"))


def _responses(words: list[str]) -> str:
    item = {"id": "msg_0a1b2c3d4e5f60718293a4b5c6d7e8f9", "type": "message", "role": "assistant"}
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    part: dict[str, Any] = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
    response: dict[str, Any] = {
        "id": "resp_0a1b2c3d4e5f60718293a4b5c6d7e8f9", "object": "response", "created_at": 1700000000,
        "status": "in_progress", "error": None, "incomplete_details": None, "instructions": None,
        "model": "gpt-5.4-2026-03-05", "output": [], "parallel_tool_calls": True, "reasoning": {"effort": None},
        "store": False, "temperature": 1.0, "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [],
        "top_p": 1.0, "truncation": "disabled", "usage": None, "metadata": {},
    }  # fmt: skip
    whole = part | {"text": "".join(words)}
    message = item | {"status": "completed", "content": [whole]}
    usage = {"input_tokens": 8, "output_tokens": len(words), "total_tokens": 8 + len(words)}
    usage |= {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": response},
        {"type": "response.in_progress", "response": response},
        {"type": "response.output_item.added", "output_index": 0, "item": item | {"status": "in_progress"}},
        {"type": "response.content_part.added", **place, "part": part},
        *(
            {"type": "response.output_text.delta", **place, "delta": word, "logprobs": [], "obfuscation": "Zk3vQ9xT1b"}
            for word in words
        ),
        {"type": "response.output_text.done", **place, "text": whole["text"], "logprobs": []},
        {"type": "response.content_part.done", **place, "part": whole},
        {"type": "response.output_item.done", "output_index": 0, "item": message},
        {
            "type": "response.completed",
            "response": response | {"status": "completed", "output": [message], "usage": usage},
        },
    ]
    numbered = (event | {"sequence_number": number} for number, event in enumerate(events))
    return "".join(f"event: {event['type']}\ndata: {_compact(event)}\n\n" for event in numbered)


def _messages(words: list[str]) -> str:
    usage = {"input_tokens": 8, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 1}
    message = {"id": "msg_01AbCdEfGhIjKlMnOpQrStUv", "type": "message", "role": "assistant", "content": []}
    message |= {"model": "claude-sonnet-5-20260115", "stop_reason": None, "stop_sequence": None, "usage": usage}
    last = {"stop_reason": "end_turn", "stop_sequence": None}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}} for word in words),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": last, "usage": usage | {"output_tokens": len(words)}},
        {"type": "message_stop"},
    ]
    return "".join(
        f"event: {event['type']}\ndata: {_compact(event)[:-1]}{' ' * (7 * number % PADDING)}}}\n\n"
        for number, event in enumerate(events)
    )


def _gemini(words: list[str]) -> str:
    def chunk(number: int, word: str) -> dict[str, Any]:
        end = {"finishReason": "STOP"} if number == len(words) else {}
        return {
            "candidates": [{"content": {"parts": [{"text": word}], "role": "model"}, **end, "index": 0}],
            "usageMetadata": {
                "promptTokenCount": 8, "candidatesTokenCount": number, "totalTokenCount": 8 + number,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 8}],
            },
            "modelVersion": "gemini-3-flash", "responseId": "aBcDeFgHiJkLmNoPqRsTuVw",
        }  # fmt: skip

    return "".join(f"data: {json.dumps(chunk(number, word))}\r\n\r\n" for number, word in enumerate(words, 1))


FRAMINGS: dict[str, Callable[[list[str]], str]] = {
    "server-sent events": lambda words: _named(_g4f(words)),
    "JSON lines": _json_lines,
    "OpenAI chunks": _chat,
    "Responses events": _responses,
    "Anthropic events": _messages,
    "Gemini chunks": _gemini,
}
