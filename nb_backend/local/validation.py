"""Limits on the body of a request. A body beyond them never reaches an engine."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import orjson

from .engine import Body

MAX_ITEMS = 2_000_000  # JSON values; 64 MB of brackets and commas would take gigabytes once they are parsed
MAX_DEPTH = 100  # objects and lists inside each other
MAX_MESSAGES = 10_000
MAX_LOGIT_BIASES = 1_000
MAX_STOPS = 16
MAX_STOP_CHARS = 1_000
MAX_RULE_BYTES = 50_000  # of a grammar, a schema or the list of tools
MAX_RULE_BRACKETS = 1_000  # llama.cpp recurses at each, and 25,000 end the process


def parse_body(text: bytes) -> object:
    """Parse JSON. Raises ``ValueError`` with one line if it is not JSON, or has more than ``MAX_ITEMS`` values."""
    if text.count(b",") + text.count(b"[") + text.count(b"{") > MAX_ITEMS:
        raise ValueError(f"the request's body has more than {MAX_ITEMS:,} items: send less")
    try:
        body: object = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"the request's body is not JSON: {error}") from None
    return body


def validate_body(body: Body) -> None:
    """Raise ``ValueError`` with one line if the messages or the parameters are beyond a limit, or of a wrong type."""
    if _is_deeper(body, MAX_DEPTH):
        raise ValueError(f"the request has more than {MAX_DEPTH} objects or lists inside each other: flatten it")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
        raise ValueError('messages has to be a list, not empty, of {"role": "user", "content": "text"}')
    if len(messages) > MAX_MESSAGES:
        raise ValueError(f"the chat has more than {MAX_MESSAGES:,} messages: start a new one")
    for name, (is_valid, wanted) in _PARAMETERS.items():
        if body.get(name) is not None and not is_valid(body[name]):
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


def _is_positive_number(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_positive_integer(value: Any) -> bool:
    return _is_integer(value) and value > 0


def _is_stop(value: Any) -> bool:
    stops = value if isinstance(value, list) else [value]
    return len(stops) <= MAX_STOPS and all(isinstance(one, str) and 0 < len(one) <= MAX_STOP_CHARS for one in stops)


def _is_logit_bias(value: Any) -> bool:
    return isinstance(value, (dict, list)) and len(value) <= MAX_LOGIT_BIASES


def _is_tools(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value) and _is_within_limits(value)


def _is_tool_choice(value: Any) -> bool:
    return isinstance(value, (str, dict)) and _is_within_limits(value)


def _is_schema(value: Any) -> bool:
    return isinstance(value, dict) and _is_within_limits(value)


def _is_grammar(value: Any) -> bool:
    return isinstance(value, str) and _is_within_limits(value)


def _is_within_limits(rules: Any) -> bool:
    text = orjson.dumps(rules)
    return len(text) <= MAX_RULE_BYTES and text.count(b"(") <= MAX_RULE_BRACKETS


_NUMBER = (_is_number, "a number")
_INTEGER = (_is_integer, "an integer")
_OF_SIZE = f"of at most {MAX_RULE_BYTES:,} bytes"
_PARAMETERS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "min_p": _NUMBER,
    "presence_penalty": _NUMBER,
    "frequency_penalty": _NUMBER,
    "repeat_penalty": (_is_positive_number, "a number above 0"),
    "top_k": _INTEGER,
    "seed": _INTEGER,
    "max_tokens": (_is_positive_integer, "an integer above 0"),
    "max_completion_tokens": (_is_positive_integer, "an integer above 0"),
    "stop": (_is_stop, f"a text of 1 to {MAX_STOP_CHARS:,} characters, or a list of at most {MAX_STOPS} such texts"),
    "logit_bias": (_is_logit_bias, f"an object with at most {MAX_LOGIT_BIASES:,} tokens"),
    "tools": (_is_tools, f"a list of objects, {_OF_SIZE}"),
    "tool_choice": (_is_tool_choice, "a text or an object"),
    "response_format": (_is_schema, f"an object {_OF_SIZE}"),
    "json_schema": (_is_schema, f"an object {_OF_SIZE}"),
    "grammar": (_is_grammar, f"a text {_OF_SIZE}"),
}
