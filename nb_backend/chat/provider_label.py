"""Who answered: the model and who runs it, for the status line."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from ..redaction import redact


def provider_label(who: Mapping[str, Any], model: str) -> list[str]:
    """Return the model, and who runs it if that is not obvious; a label that contains the model's name says both."""
    model, label = str(who.get("model") or model), str(who.get("label") or who.get("name") or "")
    if not label or (model and _is_only_server(who)):
        return [model] if model else []
    return [label] if model in label else [model, label]


def without_login(provider: dict[str, Any]) -> dict[str, Any]:
    """Return what is known about who answered, without a password or a key that its url has."""
    return {**provider, "url": redact(url)} if isinstance(url := provider.get("url"), str) else provider


def _is_only_server(who: Mapping[str, Any]) -> bool:
    """Whether a provider is the one server that could be asked, and not one of several urls or what a server uses."""
    with suppress(ValueError):
        return not who.get("servers") and urlsplit(str(who.get("url"))).hostname == who.get("name")
    return False
