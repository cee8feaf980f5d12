"""What would be sent, without sending it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ... import settings
from ...markdown.elements import fenced
from ...redaction import SHORTEST_SECRET, is_secret_name
from ..report import EMBEDDED, Report

if TYPE_CHECKING:
    from .question import Question


class DryRun(Report):
    """What a question would send, to read; ``body`` is the whole of it, but for the key.

    Several models are sent the same; in the body is the one that goes on in the conversation.
    """

    def __init__(self, question: Question) -> None:
        request, options = question.request(), question.options
        key = settings.api_key(request.api_key.value)
        keys = [secret for secret in (key, *settings.known_keys()) if secret and len(secret) >= SHORTEST_SECRET]
        self.body: dict[str, Any] = _masked(request.body(), keys)
        where = "no conversation" if options.once else f"the conversation {options.chat!r}"
        how = ", which it starts over" if options.new else ""
        left_out = f", without its {request.trimmed} oldest turns" if request.trimmed else how
        super().__init__(
            "**Nothing was sent.** It would be:",
            "",
            f"- to: {request.url or EMBEDDED}",
            *_models(options.models, request.model),
            f"- parameters: {_params(self.body)}",
            f"- images: {', '.join(_in_code(one) for one in question.images) or 'none'}",
            f"- key: {'set' if key else 'not set'}",
            f"- part of {where}{left_out}",
            *(line for message in self.body["messages"] for line in _message(message)),
        )


def _models(named: Sequence[str], kept: str) -> Iterator[str]:
    """Say which models are asked, and which of several goes on in the conversation."""
    if not named:
        yield f"- model: {kept or 'the choice of the server'}"
    else:
        models = map(settings.model, named)
        yield f"- models: {', '.join(f'{one} (goes on in the conversation)' if one == kept else one for one in models)}"


def _masked(value: Any, keys: list[str]) -> Any:
    """Give a body with ``***`` for the keys in it, and for what is named like a secret."""
    if isinstance(value, dict):
        return {name: "***" if is_secret_name(name) else _masked(item, keys) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(item, keys) for item in value]
    for key in keys if isinstance(value, str) else ():
        value = value.replace(key, "***")
    return value


def _params(body: dict[str, Any]) -> str:
    params = {name: value for name, value in body.items() if name not in ("model", "messages", "media")}
    return ", ".join(f"`{name} = {json.dumps(value, ensure_ascii=False)}`" for name, value in params.items()) or "none"


def _in_code(text: object) -> str:
    return f"`{str(text).replace('`', chr(39))}`"


def _message(message: dict[str, Any]) -> Iterator[str]:
    content = message.get("content") or ""
    yield f"\n**{message['role']}**\n"
    for part in [{"text": content}] if isinstance(content, str) else content:
        yield fenced(part["text"], "text") if isinstance(part.get("text"), str) else "(an attachment)"
