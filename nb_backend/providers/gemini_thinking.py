"""How long a model of Gemini's thinks, and whether it says what.

Gemini 3 and later have levels, Gemini 2.5 has budgets of tokens, older models do not think. Not each model takes each
level or budget, so what a refusal says is remembered while this process runs: only one request fails.
Source: https://ai.google.dev/gemini-api/docs/thinking
"""

from __future__ import annotations

import re
from typing import Any, Final

from ..errors import BackendError
from .common_fields import check_effort

_BUDGETS: Final = {"none": 0, "low": 1024, "medium": 8192, "high": 24_576}  # of Google's OpenAI-compatible API
_LEAST_BUDGET: Final = 128  # of a model that always thinks
_NEXT_LEVEL: Final = {"minimal": "low", "medium": "high"}
_NO_THOUGHTS: Final = re.compile(r"image|tts|audio|live|embedding|robotics|computer-use", re.IGNORECASE)
_NAMES_THINKING: Final = re.compile(r"think|thoughts?\b(?!\W*signature)", re.IGNORECASE)

_replaced: dict[tuple[str, str, str], dict[str, Any]] = {}  # by url, model and refused configuration


def version_of(model: str) -> float | None:
    """Return the version of a Gemini model, that of ``gemini-flash-latest`` as 3; ``None`` if the name has none."""
    name = model.rpartition("/")[2].lower()
    if found := re.match(r"gemini-(\d+(?:\.\d+)?)(?![\d.])", name):
        return float(found[1])
    return 3.0 if re.fullmatch(r"gemini-[a-z-]*latest", name) else None


def is_at_least_3(model: str) -> bool:
    """Whether a model is Gemini 3 or a later one."""
    return (version_of(model) or 0) >= 3


def thinking_config(model: str, effort: object) -> dict[str, Any]:
    """Return ``thinkingConfig`` for an effort, or for ``None``; ``{}`` if the model does not think by itself.

    Raises ``ValueError`` if the effort is not one of the four words.
    """
    chosen, version = check_effort(effort), version_of(model)
    thinks = version is not None and version >= 2.5 and not _NO_THOUGHTS.search(model)
    if chosen is None:
        return {"includeThoughts": True} if thinks else {}
    shown = {} if chosen == "none" else {"includeThoughts": True}
    is_pro = "pro" in model.lower() and "flash" not in model.lower()
    if version is not None and version < 3:
        budget = _LEAST_BUDGET if chosen == "none" and is_pro else _BUDGETS[chosen]
        return {"thinkingBudget": budget, **shown} if thinks or budget else {}
    if chosen == "none":
        chosen = "low" if is_pro else "minimal"
    return {"thinkingLevel": chosen, **shown}


def fitted(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the body with a configuration that the model is not known to refuse; the argument is not changed."""
    config = _config(body)
    if not config:
        return body
    found, seen = config, set[str]()
    while (key := _key(url, body, found)) in _replaced and key[2] not in seen:
        seen.add(key[2])
        found = _replaced[key]
    if found == config:
        return body
    generation = {name: value for name, value in body["generationConfig"].items() if name != "thinkingConfig"}
    generation |= {"thinkingConfig": found} if found else {}
    rest = {name: value for name, value in body.items() if name != "generationConfig"}
    return rest | ({"generationConfig": generation} if generation else {})


def learn(url: str, body: dict[str, Any], sent: dict[str, Any], failure: BackendError) -> bool:
    """Remember what a refusal says about thinking; return whether another configuration can be tried.

    A level or a budget gives way to the next one that models take; the summaries of thoughts are left out if the model
    has none. An effort that the user named is not dropped.
    """
    config = _config(sent)
    if failure.status != 400 or not config or not _NAMES_THINKING.search(str(failure)):
        return False
    instead = dict(config)
    if (level := config.get("thinkingLevel")) in _NEXT_LEVEL:
        instead["thinkingLevel"] = _NEXT_LEVEL[level]
    elif config.get("thinkingBudget") == 0:
        instead["thinkingBudget"] = _LEAST_BUDGET
    elif "includeThoughts" in config:
        del instead["includeThoughts"]
    else:
        return False
    _replaced[_key(url, body, config)] = instead
    return True


def wants_no_effort(body: dict[str, Any], failure: BackendError) -> bool:
    """Whether a request failed because of how long the model was asked to think."""
    is_asked = _config(body).keys() & {"thinkingLevel", "thinkingBudget"}
    return bool(is_asked) and failure.status == 400 and _NAMES_THINKING.search(str(failure)) is not None


def _config(body: dict[str, Any]) -> dict[str, Any]:
    generation = body.get("generationConfig")
    config = generation.get("thinkingConfig") if isinstance(generation, dict) else None
    return config if isinstance(config, dict) else {}


def _key(url: str, body: dict[str, Any], config: dict[str, Any]) -> tuple[str, str, str]:
    return url, str(body.get("model")), repr(sorted(config.items()))
