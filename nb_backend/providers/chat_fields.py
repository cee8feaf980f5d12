"""Neutral keywords as fields of a chat completion, which services spell in different ways.

The forms are those of the services' documentation: OpenRouter's "Reasoning tokens", DeepSeek's and Z.ai's "Thinking
mode", Moonshot's "Thinking models", DashScope's "Deep thinking", Groq's and Cohere's "Reasoning", Mistral's
"Reasoning", Together's "Reasoning models", vLLM's "Reasoning outputs", llama.cpp's ``tools/server/README.md``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

Fields = dict[str, Any]

_LIMITS: Final = ("max_tokens", "max_output_tokens")
_BUDGETS: Final = {"low": 1024, "medium": 8192}  # tokens of reasoning; no limit for "high"
_THINKS_BY_EFFORT: Final = re.compile(r"deepseek|glm-5\.[2-9]|kimi-k[3-9]")  # models; others have a switch only


def chat_fields(fields: Mapping[str, Any], model: str, *, effort_form: str, limit: str) -> Fields:
    """Return the keywords of a call as fields of the body.

    ``effort_form`` is the form of a service's row for the effort, ``limit`` the name of the field that limits the
    tokens of the answer. A keyword that is ``None`` is not given. A field in the service's own form wins over
    ``effort``.
    """
    made = {name: value for name, value in fields.items() if name not in ("effort", *_LIMITS)}
    given = next((fields[name] for name in _LIMITS if fields.get(name) is not None), None)
    if given is not None and made.get("max_completion_tokens") is None:
        made[limit] = given
    if (effort := fields.get("effort")) is not None:
        made = effort_fields(str(effort), model, effort_form) | made
    return made


def effort_fields(effort: str, model: str, form: str) -> Fields:
    """Return the fields that ask for an effort; ``{}`` if the service has no word for it."""
    if effort == "none" and "gpt-oss" in model:
        effort = "low"  # its reasoning cannot be turned off
    return _FORMS[form](effort, model)


def _plain(effort: str, model: str) -> Fields:
    return {"reasoning_effort": effort}


def _nothing(effort: str, model: str) -> Fields:
    return {}


def _none_or_high(effort: str, model: str) -> Fields:
    return {"reasoning_effort": effort if effort == "none" else "high"}


def _none_or_default(effort: str, model: str) -> Fields:
    if "qwen" in model:
        return {"reasoning_effort": effort if effort == "none" else "default"}
    return {} if effort == "none" else _plain(effort, model)


def _reasoning(effort: str, model: str) -> Fields:
    return {"reasoning": {"effort": effort}}


def _reasoning_enabled(effort: str, model: str) -> Fields:
    return {"reasoning": {"enabled": False}} if effort == "none" else _plain(effort, model)


def _thinking(effort: str, model: str) -> Fields:
    if effort == "none":
        return {"thinking": {"type": "disabled"}}
    degree = {"reasoning_effort": effort if effort == "low" else "high"}
    return {"thinking": {"type": "enabled"}} | (degree if _THINKS_BY_EFFORT.search(model) else {})


def _enable_thinking(effort: str, model: str) -> Fields:
    budget = {"thinking_budget": _BUDGETS[effort]} if effort in _BUDGETS else {}
    return {"enable_thinking": effort != "none", **budget}


def _template(effort: str, model: str) -> Fields:
    """Fields for the model's chat template, which reads those that it knows."""
    return {
        "chat_template_kwargs": {"enable_thinking": effort != "none"}
        | ({} if effort == "none" else _plain(effort, model))
    }


_FORMS: Final[Mapping[str, Callable[[str, str], Fields]]] = {
    "reasoning_effort": _plain,
    "none or high": _none_or_high,
    "none or default": _none_or_default,
    "reasoning": _reasoning,
    "reasoning.enabled": _reasoning_enabled,
    "thinking": _thinking,
    "enable_thinking": _enable_thinking,
    "chat_template_kwargs": _template,
    "": _nothing,
}
"""How a row of the table of services names the form of the effort."""
