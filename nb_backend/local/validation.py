"""How large, how deep and of what kind a conversation's body may be: what is beyond it never reaches an engine."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import orjson

from .engine import Body

ITEMS = 2_000_000  # of JSON: a body of 64 MB, all brackets and commas, would else take gigabytes once it is read
DEPTH = 100  # objects and lists within one another
MESSAGES = 10_000
PIECES = 1_000  # entries of logit_bias, tools
STOPS = 16
RULES = 50_000  # bytes of a grammar or a schema
BRACKETS = 1_000  # in them: what reads them in llama.cpp calls itself for each, and 25,000 end the process


def parse_body(text: bytes) -> object:
    """Read JSON; ``ValueError`` with one line for what is none, or holds too much."""
    if text.count(b",") + text.count(b"[") + text.count(b"{") > ITEMS:
        raise ValueError(f"the request's body has more than {ITEMS:,} items: send less")
    try:
        body: object = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"the request's body is not JSON: {error}") from None
    return body


def validate_body(body: Body) -> None:
    """Raise ``ValueError`` with one line for a conversation that no engine is to see."""
    if _is_deeper(body, DEPTH):
        raise ValueError(f"the request has more than {DEPTH} objects or lists within one another")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
        raise ValueError('messages has to be a list, not empty, of {"role": "user", "content": "text"}')
    if len(messages) > MESSAGES:
        raise ValueError(f"the conversation has more than {MESSAGES:,} messages: start a new one")
    for name, (fits, wanted) in _PARAMETERS.items():
        if body.get(name) is not None and not fits(body[name]):
            raise ValueError(f"{name} has to be {wanted}")


def _is_deeper(value: object, depth: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return bool(inner) and (depth == 0 or any(_is_deeper(one, depth - 1) for one in inner))


def _is_message(message: Any) -> bool:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        return False
    content = message.get("content")
    return content is None or isinstance(content, str) or (isinstance(content, list) and all(map(_is_part, content)))


def _is_part(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text", ""), str)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _is_stop(value: Any) -> bool:
    stops = value if isinstance(value, list) else [value]
    return len(stops) <= STOPS and all(isinstance(one, str) and 0 < len(one) <= PIECES for one in stops)


def _is_small(value: Any) -> bool:
    text = orjson.dumps(value)
    return len(text) <= RULES and text.count(b"(") <= BRACKETS


_NUMBER = (_is_number, "a number")
_INTEGER = (_is_integer, "an integer")
_RULES = f"of at most {RULES:,} bytes"
_PARAMETERS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "min_p": _NUMBER,
    "presence_penalty": _NUMBER,
    "frequency_penalty": _NUMBER,
    "repeat_penalty": (lambda value: _is_number(value) and value > 0, "a number above 0"),
    "top_k": _INTEGER,
    "seed": _INTEGER,
    "max_tokens": (lambda value: _is_integer(value) and value > 0, "an integer from 1"),
    "stop": (_is_stop, f"a text of 1 to {PIECES:,} characters, or a list of at most {STOPS}"),
    "logit_bias": (
        lambda value: isinstance(value, (dict, list)) and len(value) <= PIECES,
        f"an object with at most {PIECES:,} tokens",
    ),
    "tools": (
        lambda value: isinstance(value, list) and all(isinstance(one, dict) for one in value) and _is_small(value),
        f"a list of objects, {_RULES}",
    ),
    "tool_choice": (lambda value: isinstance(value, (str, dict)) and _is_small(value), "a text or an object"),
    "response_format": (lambda value: isinstance(value, dict) and _is_small(value), f"an object {_RULES}"),
    "json_schema": (lambda value: isinstance(value, dict) and _is_small(value), f"an object {_RULES}"),
    "grammar": (lambda value: isinstance(value, str) and _is_small(value), f"a text {_RULES}"),
}
