"""How a panel's conversation is asked: what the page shows of it, and what it may set."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ... import settings
from ...chat.chat import Chat

EMBEDDED = "embedded backend"
_LONGEST = 100_000  # characters of a system prompt


def settings_of(chat: Chat) -> dict[str, Any]:
    """Give what the page shows of how a conversation is asked."""
    return {
        "model": settings.model(chat.model),
        "system": chat.system or "",
        "temperature": _number(chat.params.get("temperature")),
        "max_tokens": _number(chat.params.get("max_tokens")),
        "server": server(chat),
    }


def server(chat: Chat) -> str:
    """Name the server that is asked, as people do."""
    try:
        url = settings.url(chat.url)
    except ValueError:
        return "a url that is none"
    return EMBEDDED if url is None else urlsplit(url).netloc.rpartition("@")[2]


def apply_settings(chat: Chat, wanted: Mapping[str, Any]) -> None:
    """Set what is named of ``model``, ``system``, ``temperature``, ``max_tokens``; ``None`` is not set.

    ``ValueError`` in words for a value that cannot be, and then nothing is set.
    """
    checked: dict[str, Any] = {name: check(wanted[name]) for name, check in _CHECKS.items() if name in wanted}
    if "model" in checked:
        chat.model = checked["model"]
    if "system" in checked:
        chat.system = checked["system"]
    params: dict[str, Any] = {
        **chat.params,
        **{name: checked[name] for name in ("temperature", "max_tokens") if name in checked},
    }
    chat.params = {name: value for name, value in params.items() if value is not None or name not in checked}


def _model(value: object) -> str | None:
    if not isinstance(value, str | None) or not (value or "").isprintable() or len(value or "") > 300:
        raise ValueError("the name of a model is one line of text")
    return (value or "").strip() or None


def _system(value: object) -> str | None:
    if not isinstance(value, str | None) or len(value or "") > _LONGEST:
        raise ValueError(f"the system prompt is a text of at most {_LONGEST:,} characters")
    return value if value and value.strip() else None


def _temperature(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 5:
        raise ValueError("the temperature is a number from 0 up, hardly ever above 2")
    return value


def _max_tokens(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 10**9:
        raise ValueError("the most tokens of an answer are a whole number from 1 up")
    return value


_CHECKS: dict[str, Callable[[object], object]] = {
    "model": _model,
    "system": _system,
    "temperature": _temperature,
    "max_tokens": _max_tokens,
}


def _number(value: object) -> int | float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if is_number else None  # type: ignore[return-value]
