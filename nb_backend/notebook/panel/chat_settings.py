"""The settings of a chat that a page shows and changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ... import settings
from ...chat.chat import Chat
from ...providers.common_fields import EFFORTS, check_effort
from ...services import Service, split_model
from .tool_switches import tools_on

EMBEDDED = "embedded backend"
PARAMETERS = ("temperature", "max_tokens", "effort")
"""The fields of ``chat.params`` that a page shows and changes; others may be of any type."""

_MAX_MODEL_NAME = 300  # characters
_MAX_SYSTEM_PROMPT = 100_000  # characters


def settings_of(chat: Chat) -> dict[str, Any]:
    """Return the settings of a chat as a page shows them."""
    return {
        "model": settings.model(chat.model),
        "system": chat.system or "",
        "temperature": _number(chat.params.get("temperature")),
        "max_tokens": _number(chat.params.get("max_tokens")),
        "effort": effort if (effort := chat.params.get("effort")) in EFFORTS else None,
        "server": server_name(chat),
        "tools": tools_on(chat),
    }


def server_name(chat: Chat) -> str:
    """Return the service or the host of the server that the chat uses, or "embedded backend"."""
    try:
        url = settings.url(chat.url)
        service = chat_service(chat)
    except ValueError:
        return "invalid url"
    if service is not None:
        return service.title
    return EMBEDDED if url is None else urlsplit(url).netloc.rpartition("@")[2]


def chat_service(chat: Chat) -> Service | None:
    """Return the service that the chat's model or url names, at its own url; ``None`` for any other server."""
    service, _ = split_model(settings.model(chat.model), has_url=settings.url(chat.url) is not None)
    return (None if chat.url and not settings.service(chat.url) else service) or settings.service(chat.url)


def is_model_name(name: str) -> bool:
    """Whether a page can choose a model of this name: one line of text without invisible characters."""
    return name.isprintable() and len(name) <= _MAX_MODEL_NAME


def apply_settings(chat: Chat, wanted: Mapping[str, Any]) -> None:
    """Set those of ``model``, ``system`` and ``PARAMETERS`` that are present; ``None`` unsets one.

    ``ValueError`` says which value is invalid; then nothing is changed.
    """
    checked: dict[str, Any] = {name: check(wanted[name]) for name, check in _CHECKS.items() if name in wanted}
    if "model" in checked:
        chat.model = checked["model"]
    if "system" in checked:
        chat.system = checked["system"]
    params: dict[str, Any] = {**chat.params, **{name: checked[name] for name in PARAMETERS if name in checked}}
    chat.params = {name: value for name, value in params.items() if value is not None or name not in checked}


def _model(value: object) -> str | None:
    if not isinstance(value, str | None) or not is_model_name(value or ""):
        raise ValueError("the name of a model must be one line of text")
    return (value or "").strip() or None


def _system(value: object) -> str | None:
    if not isinstance(value, str | None) or len(value or "") > _MAX_SYSTEM_PROMPT:
        raise ValueError(f"the system prompt must be a text of at most {_MAX_SYSTEM_PROMPT:,} characters")
    return value if value and value.strip() else None


def _temperature(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 5:
        raise ValueError("the temperature must be a number from 0 to 5; most servers accept at most 2")
    return value


def _max_tokens(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 10**9:
        raise ValueError("the maximum number of tokens must be a whole number of at least 1")
    return value


_CHECKS: dict[str, Callable[[object], object]] = {
    "model": _model,
    "system": _system,
    "temperature": _temperature,
    "max_tokens": _max_tokens,
    "effort": lambda value: check_effort(value or None),
}


def _number(value: object) -> int | float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if is_number else None  # type: ignore[return-value]
