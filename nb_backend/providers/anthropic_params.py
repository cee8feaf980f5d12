"""Parameters in the form of Anthropic's Messages API, and what a model of a server has refused of them.

What was refused is remembered while this process runs, so that only one request fails.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from ..errors import AuthError, BackendError
from ..transport.json_body import encode_json
from .anthropic_body import seals_in, with_tools_marked, without_thinking
from .common_fields import LIMITS, split_extra_body

UNKNOWN_LIMIT: Final = 8192
"""``max_tokens`` for a model whose limit is not known."""
_LIMITS: Final = (
    ("claude-3-7", 64_000),
    ("claude-3-5", 8192),
    ("claude-3", 4096),
    ("claude-opus-4-5", 64_000),
    ("claude-opus-4-6", 128_000),
    ("claude-opus-4-7", 128_000),
    ("claude-opus-4-8", 128_000),
    ("claude-opus-4", 32_000),
    ("claude-sonnet-4-6", 128_000),
    ("claude-sonnet-4", 64_000),
    ("claude-haiku-4", 64_000),
    ("claude-opus-5", 128_000),
    ("claude-sonnet-5", 128_000),
    ("claude-haiku-5", 128_000),
    ("claude-fable-5", 128_000),
    ("claude-mythos", 128_000),
)
"""The most output tokens of models by the start of their names; the first that fits counts.

Source: https://platform.claude.com/docs/en/about-claude/models/overview, "Max output".
"""
_BUDGET_ONLY: Final = re.compile(r"claude-(?:[23]|4-|(?:opus|sonnet|haiku)-4(?:-[0-5](?!\d)|-20\d{6}|$))")
"""Models that know ``thinking`` with a budget only. Source: …/docs/en/build-with-claude/adaptive-thinking."""
_SHOWS_THINKING: Final = re.compile(r"claude-(?:opus|sonnet)-4-6")
"""Models that take adaptive thinking and show it unless they are told otherwise."""
_THINKS_BY_DEFAULT: Final = re.compile(r"claude-(?!opus-4|sonnet-4|haiku-4|[2-4])")
"""Models that reason unless they are told not to, and do not show it unless they are told to."""
BUDGETS: Final = {"low": 2048, "medium": 8192, "high": 16_384}
"""Tokens of reasoning for each effort, for models that take a budget."""
_DEFAULT: Final = "default"  # effort, if the user has not chosen one
_SHOWN: Final = {"type": "adaptive", "display": "summarized"}
_MIN_BUDGET: Final = 1024
_MIN_REST: Final = 1024  # tokens that have to be left for an answer

_known_limits: dict[str, int] = {}  # by model, from a list of models
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


def known_name(model: str) -> str:
    """Return a model's name as Anthropic spells it; gateways write ``anthropic/claude-sonnet-4.5``."""
    name = model.lower().replace(".", "-")
    at = name.find("claude-")
    return name[at:] if at >= 0 else name


def max_tokens(model: str) -> int:
    """Return the most output tokens of a model, or ``UNKNOWN_LIMIT``."""
    name = known_name(model)
    known = _known_limits.get(model) or next((limit for start, limit in _LIMITS if name.startswith(start)), None)
    return known or UNKNOWN_LIMIT


def note_limits(document: Any) -> None:
    """Remember the limits of models that a list of models names."""
    entries = document.get("data") if isinstance(document, dict) else None
    for entry in entries if isinstance(entries, list) else []:
        match entry:
            case {"id": str(name), "max_tokens": int(limit)} if limit > 0:
                _known_limits[name] = limit


def with_fields(body: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body with the keywords of a call; ``ValueError`` if they contradict each other."""
    fields, extra = split_extra_body(fields)
    given = {name: value for name, value in fields.items() if value is not None}
    model = str(body.get("model") or given.get("model") or "")
    limits = [given.pop(name, None) for name in LIMITS]
    limit = next((one for one in limits if one is not None), None)
    body = {**body, "max_tokens": max_tokens(model) if limit is None else limit}
    effort, stop = given.pop("effort", None), given.pop("stop", None)
    if stop is not None:
        body["stop_sequences"] = [stop] if isinstance(stop, str) else list(stop)
    body |= _tool_fields(given)
    if "tools" in body:
        body["tools"] = with_tools_marked(body["tools"], body.get("system"))
    if (schema := _schema_of(given.pop("response_format", None))) is not None:
        body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    body = _joined(body, given)
    if "thinking" not in given and (effort or not _excludes_thinking({**body, **extra})):
        body = with_effort(body, effort or _DEFAULT, frozenset())
        if effort not in (None, "none") and "thinking" not in body:
            raise ValueError(f"effort needs max_tokens above {_MIN_BUDGET:,}: raise it, or leave the effort out")
    return _joined(body, extra)


def _joined(body: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body with fields; those of ``output_config`` are added to what it has."""
    config = fields.get("output_config")
    if isinstance(config, dict) and isinstance(known := body.get("output_config"), dict):
        fields = {**fields, "output_config": {**known, **config}}
    return {**body, **fields}


# --- tools


def _tool_fields(given: dict[str, Any]) -> dict[str, Any]:
    """Take what is about tools out of the keywords, and return it in the API's form."""
    fields: dict[str, Any] = {}
    tools = given.pop("tools", None)
    if tools:
        fields["tools"] = [*map(_tool, tools)]
    choice = _tool_choice(given.pop("tool_choice", None))
    if given.pop("parallel_tool_calls", None) is False and tools and choice.get("type") != "none":
        choice = {"type": "auto", **choice, "disable_parallel_tool_use": True}
    if choice and (tools or choice.get("type") != "auto"):
        fields["tool_choice"] = choice
    return fields


def _tool(tool: Any) -> Any:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict):
        return tool  # in the API's own form
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    others = {name: function[name] for name in ("description", "strict") if function.get(name)}
    return {"name": function.get("name"), **others, "input_schema": schema}


def _tool_choice(choice: Any) -> dict[str, Any]:
    match choice:
        case None:
            return {}
        case {"function": {"name": name}}:
            return {"type": "tool", "name": name}
        case {"type": str()}:
            return {**choice}
        case "required":
            return {"type": "any"}
    return {"type": str(choice)}


def _schema_of(response_format: Any) -> Any:
    """Return the schema of ``response_format``; ``None`` if it has none, or one that has no strict form.

    The API takes strict schemas only, and cannot be asked for JSON without one.
    """
    match response_format:
        case {"json_schema": {"strict": False}}:
            return None
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return closed(schema)
    return None


def closed(schema: Any) -> Any:
    """Return a schema whose objects allow no other properties than they name, as the API requires."""
    if isinstance(schema, list):
        return [*map(closed, schema)]
    if not isinstance(schema, dict):
        return schema
    made = {name: value if name in ("enum", "const", "default") else closed(value) for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "type" in schema:
        made["additionalProperties"] = False
    return made


# --- reasoning


def with_effort(body: dict[str, Any], effort: str, refused: frozenset[str] | set[str]) -> dict[str, Any]:
    """Return the body with an effort in the form that the model takes, as far as that is known.

    ``refused`` are names of forms: ``adaptive``, ``display``, ``effort``, ``budget``, ``disabled``.
    """
    name = known_name(str(body.get("model") or ""))
    if effort == _DEFAULT:
        is_shown = _THINKS_BY_DEFAULT.match(name) and refused.isdisjoint(("adaptive", "display"))
        others = {key: value for key, value in body.items() if key != "thinking"}
        return others | ({"thinking": dict(_SHOWN)} if is_shown else {})
    others = {key: value for key, value in body.items() if key not in ("thinking", "output_config")}
    config = {key: value for key, value in (body.get("output_config") or {}).items() if key != "effort"}
    thinking: dict[str, Any] = {}
    if effort == "none":
        if not _THINKS_BY_DEFAULT.match(name) and name.startswith("claude-"):
            pass
        elif "disabled" not in refused:
            thinking = {"type": "disabled"}
        elif "effort" not in refused:
            config["effort"] = "low"  # these models cannot be stopped from reasoning
    else:
        forms = ["budget", "adaptive"] if _takes_budget(name) else ["adaptive", "budget"]
        form = next((one for one in forms if one not in refused), None)
        if form == "adaptive":
            shows = "display" in refused or _SHOWS_THINKING.match(name) is not None
            thinking = {"type": "adaptive"} if shows else dict(_SHOWN)
            if "effort" not in refused:
                config["effort"] = effort
        elif form == "budget" and (budget := _budget(effort, body.get("max_tokens"))):
            thinking = {"type": "enabled", "budget_tokens": budget}
    made = others | ({"thinking": thinking} if thinking else {})
    return made | ({"output_config": config} if config else {})


def _excludes_thinking(body: Mapping[str, Any]) -> bool:
    """Whether the user has set a field that the API refuses beside ``thinking``."""
    choice = body.get("tool_choice")
    is_forced = isinstance(choice, dict) and choice.get("type") in ("any", "tool")
    return is_forced or any(body.get(name) is not None for name in ("temperature", "top_p", "top_k"))


def _takes_budget(name: str) -> bool:
    """Whether a model is asked with a budget first: older ones of Anthropic, and those of others."""
    return _BUDGET_ONLY.match(name) is not None or not name.startswith("claude-")


def _budget(effort: str, limit: Any) -> int | None:
    """Return the budget for an effort, ``None`` if ``max_tokens`` leaves no room for the smallest one."""
    budget = BUDGETS.get(effort, BUDGETS["high"])
    if not isinstance(limit, int) or limit > budget:
        return budget
    return max(_MIN_BUDGET, limit // 2) if limit > _MIN_BUDGET else None


def _effort_of(body: Mapping[str, Any]) -> str | None:
    """Return the effort that a body was made with, ``None`` if its fields are not in a form of ours."""
    config = body.get("output_config")
    effort = config.get("effort") if isinstance(config, dict) else None
    match body.get("thinking"):
        case {"type": "disabled"}:
            return "none"
        case {"type": "adaptive"} if isinstance(effort, str):
            return effort
        case known if known == _SHOWN:
            return _DEFAULT
        case {"type": "enabled", "budget_tokens": int(budget)}:
            return next((one for one, tokens in BUDGETS.items() if budget <= tokens), "high")
    return None


# --- what a model refuses


def fitted(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the body as this model of this server accepts it, as far as that is known; the argument stays the same."""
    key = (url, str(body.get("model") or ""))
    if _invalid:
        body = {**body, "messages": without_thinking(body["messages"], _invalid)}
    if limit := _learned_limits.get(key):
        given = body.get("max_tokens")
        body = {**body, "max_tokens": min(given, limit) if isinstance(given, int) else limit}
    refused = _refused.get(key, set())
    if not (refused or limit):
        return body
    if (effort := _effort_of(body)) is not None:
        body = with_effort(body, effort, refused)
    if (name := _format_name(body)) is not None and name in refused:
        config = {name: value for name, value in body["output_config"].items() if name != "format"}
        body = {name: value for name, value in body.items() if name != "output_config"}
        body |= {"output_config": config} if config else {}
    if "cache_control" in refused:
        body = _without_marks(body)
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
    if _CONTRADICTS.search(text) and _THINKING.search(text) and _effort_of(body) == _DEFAULT:
        del body["thinking"]  # which nobody asked for
        return True
    name = _refused_name(text, sent)
    if name is None or name in _refused.setdefault(key, set()):
        return False
    _refused[key].add(name)
    return fitted(url, body) != sent


def _refused_name(text: str, sent: Mapping[str, Any]) -> str | None:
    """Return the name of what a failure refuses, if it was sent and there is another form."""
    if "cache_control" in text and b"cache_control" in encode_json(sent):
        return "cache_control"
    thinking = sent.get("thinking")
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    has_effort = "effort" in (sent.get("output_config") or {})
    if _CONTRADICTS.search(text):
        return None  # the user has to choose
    if _THINKING.search(text) and _effort_of(sent) is not None:
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
