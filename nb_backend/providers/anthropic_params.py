"""Parameters in the form of Anthropic's Messages API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from .anthropic_body import with_tools_marked
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
DEFAULT_EFFORT: Final = "default"
"""The effort if the user has not chosen one."""
_SHOWN: Final = {"type": "adaptive", "display": "summarized"}
_MIN_BUDGET: Final = 1024

_known_limits: dict[str, int] = {}  # by model, from a list of models


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
        body = with_effort(body, effort or DEFAULT_EFFORT, frozenset())
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
    if effort == DEFAULT_EFFORT:
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


def effort_of(body: Mapping[str, Any]) -> str | None:
    """Return the effort that a body was made with, ``None`` if its fields are not in a form of ours."""
    config = body.get("output_config")
    effort = config.get("effort") if isinstance(config, dict) else None
    match body.get("thinking"):
        case {"type": "disabled"}:
            return "none"
        case {"type": "adaptive"} if isinstance(effort, str):
            return effort
        case known if known == _SHOWN:
            return DEFAULT_EFFORT
        case {"type": "enabled", "budget_tokens": int(budget)}:
            return next((one for one, tokens in BUDGETS.items() if budget <= tokens), "high")
    return None
