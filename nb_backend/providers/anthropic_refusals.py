"""What a model of Anthropic's dialect refuses, remembered while this process runs: only one request fails.

- the largest ``max_tokens``
- the form of thinking, of an effort or of a schema, and marks for the cache
- calls in the chat without tools in the request
- signed reasoning, if the chat before it has changed
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from ..errors import AuthError, BackendError
from ..transport.json_body import encode_json
from .anthropic_body import goes_on_without_thinking, seals_in, with_tools_of_history, without_thinking
from .anthropic_params import DEFAULT_EFFORT, effort_of, with_effort

_ANTHROPIC: Final = "api.anthropic.com"
_UNDECLARED: Final = "calls without tools"
_WANTS_TOOLS: Final = re.compile(r"\bmust define tools\b|\btoolConfig\b.{0,40}\bmust be defined\b|`tools=` param")
_MIN_REST: Final = 1024  # tokens that have to be left for an answer

_refused: dict[tuple[str, str], set[str]] = {}  # by url and model: names of what is refused
_learned_limits: dict[tuple[str, str], int] = {}
_invalid: set[int] = set()  # signed reasoning that a server no longer accepts, as the chat before it has changed

_ABOUT_THE_LIMIT = re.compile(r"max_tokens|(?:output|completion) tokens", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.-])\d{3,}(?![\w-])")  # not of a model's name
_WITH_THE_PROMPT = re.compile(r"(?P<prompt>\d+) \+ \d+ > (?P<all>\d+)|\d+ > (?P<of>\d+) - (?P<input>\d+)")
"""How Anthropic and vLLM say that the prompt and ``max_tokens`` together exceed the context."""
_SIGNED = re.compile(r"signature|thinking` or `redacted_thinking|thinking blocks?\b", re.IGNORECASE)
_THINKING = re.compile(r"thinking|budget_tokens|\beffort\b", re.IGNORECASE)
_CONTRADICTS = re.compile(r"temperature|top_p|top_k|tool_choice|max_tokens|prefill", re.IGNORECASE)
_FORMAT = re.compile(r"output_config|output_format|json.?schema|structured output|schema", re.IGNORECASE)


def fitted(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the body as this model of this server accepts it, as far as that is known; the argument stays the same."""
    key = (url, str(body.get("model") or ""))
    if _invalid:
        body = {**body, "messages": without_thinking(body["messages"], _invalid)}
    if limit := _learned_limits.get(key):
        given = body.get("max_tokens")
        body = {**body, "max_tokens": min(given, limit) if isinstance(given, int) else limit}
    refused = _refused.get(key, set())
    if _UNDECLARED in refused or urlsplit(url).hostname == _ANTHROPIC:  # others may call them nevertheless
        body = with_tools_of_history(body)
    if (refused or limit) and (effort := effort_of(body)) is not None:
        body = with_effort(body, effort, refused)
    body = _without_impossible_thinking(body)
    if not refused:
        return body
    if (name := _format_name(body)) is not None and name in refused:
        config = {name: value for name, value in body["output_config"].items() if name != "format"}
        body = {name: value for name, value in body.items() if name != "output_config"}
        body |= {"output_config": config} if config else {}
    if "cache_control" in refused:
        body = _without_marks(body)
    return body


def _without_impossible_thinking(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body without a budget for reasoning if the calls whose results are last had no reasoning."""
    match body.get("thinking"):
        case {"type": "enabled"} if goes_on_without_thinking(body["messages"]):
            return {name: value for name, value in body.items() if name != "thinking"}
    return body


def learn(url: str, body: dict[str, Any], sent: Mapping[str, Any], failure: BackendError) -> bool:
    """Remember what a failure says about refused fields; return whether to ask again.

    ``body`` is the body of this call, which is changed if only this call is concerned.
    """
    if failure.status not in (0, 400, 422) or isinstance(failure, AuthError) or failure.no_credit:
        return False
    text, key = str(failure), (url, str(body.get("model") or ""))
    if _ABOUT_THE_LIMIT.search(text) and isinstance(asked := sent.get("max_tokens"), int):
        if match := _WITH_THE_PROMPT.search(text):
            rest = int(match["all"] or match["of"]) - int(match["prompt"] or match["input"])
            if not _MIN_REST <= rest < asked:
                return False  # the chat leaves out its oldest turns
            body["max_tokens"] = rest
            return True
        numbers = map(int, _NUMBER.findall(text.partition(" (")[2]))
        if limit := max((number for number in numbers if number < asked), default=0):
            _learned_limits[key] = limit
            return True
    if _SIGNED.search(text) and (seals := seals_in(sent["messages"])):
        _invalid.update(seals)
        return True
    if _CONTRADICTS.search(text) and _THINKING.search(text) and effort_of(body) == DEFAULT_EFFORT:
        del body["thinking"]  # which nobody asked for
        return True
    name = _refused_name(text, sent)
    if name is None or name in _refused.setdefault(key, set()):
        return False
    _refused[key].add(name)
    return fitted(url, body) != sent


def _refused_name(text: str, sent: Mapping[str, Any]) -> str | None:
    """Return the name of what a failure refuses, if it was sent and there is another form."""
    if _WANTS_TOOLS.search(text) and not sent.get("tools"):
        return _UNDECLARED
    if "cache_control" in text and b"cache_control" in encode_json(sent):
        return "cache_control"
    thinking = sent.get("thinking")
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    has_effort = "effort" in (sent.get("output_config") or {})
    if _CONTRADICTS.search(text):
        return None  # the user has to choose
    if _THINKING.search(text) and effort_of(sent) is not None:
        if isinstance(thinking, dict) and "display" in thinking and "display" in text:
            return "display"
        if kind == "adaptive" and has_effort and "effort" in text and "thinking" not in text:
            return "effort"
        return {"adaptive": "adaptive", "enabled": "budget", "disabled": "disabled"}.get(str(kind))
    if has_effort and "effort" in text:
        return "effort"
    return _format_name(sent) if _FORMAT.search(text) else None


def _format_name(body: Mapping[str, Any]) -> str | None:
    """Return a name for the schema of a body, as a model may refuse one schema and accept another."""
    config = body.get("output_config")
    given = config.get("format") if isinstance(config, dict) else None
    return f"format {hashlib.sha256(encode_json(given)).hexdigest()}" if given else None


def _without_marks(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_marks(item) for name, item in value.items() if name != "cache_control"}
    return [*map(_without_marks, value)] if isinstance(value, list) else value
