"""``--dry-run``: show what would be sent, without sending it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ... import settings
from ...chat.messages import without_turns
from ...markdown.elements import fenced
from ...providers.openai_api import with_media
from ...redaction import mask_json
from ...tools.consent import Approve
from ...tools.tool import Tool
from ..report import EMBEDDED, Report
from .servers import key_is_set

if TYPE_CHECKING:
    from .question import Question

_MESSAGES = ("model", "messages", "media", "system", "input", "instructions", "contents", "systemInstruction", "tools")
"""Fields of the dialects that are not parameters, but what is said, to which model, with which tools."""


class DryRun(Report):
    """What a cell would send, as a report; ``body`` is the body of the request with ``***`` in place of keys.

    Several models get the same prompt; the body is the one for the model whose answer continues the chat.
    """

    def __init__(self, question: Question) -> None:
        request, options = question.request(), question.options
        found, origin = request.provider.key_and_origin(request.api_key)
        keys = [*filter(None, (found.value, *settings.known_keys()))]
        self.body: dict[str, Any] = mask_json(request.body(), keys)
        messages = mask_json(with_media(request.messages(request.trimmed), request.media), keys)
        where = "no chat" if options.once else f"the chat {options.chat!r}"
        starts_over = ", which starts over" if options.new else ""
        change = f", {without_turns(request.trimmed)}" if request.trimmed else starts_over
        super().__init__(
            "**Nothing was sent.** The request would be:",
            "",
            f"- to: {request.url or EMBEDDED}",
            *_models(options.models, request.model),
            f"- parameters: {_params(self.body)}",
            f"- images: {', '.join(_code_span(one) for one in question.images) or 'none'}",
            *_tools(request.tools.values(), request.consents.approve),
            *([f"- left out: {'; '.join(question.remarks)}"] if question.remarks else []),
            f"- key: {key_is_set(origin) if found.value else 'not set'}",
            f"- part of {where}{change}",
            *(line for message in messages for line in _message(message)),
        )


def _models(named: Sequence[str], kept: str) -> Iterator[str]:
    """Yield the line that names the models, and marks the one of several whose answer continues the chat."""
    if not named:
        yield f"- model: {kept or 'the choice of the server'}"
    else:
        models = map(settings.model, named)
        yield f"- models: {', '.join(f'{one} (continues the chat)' if one == kept else one for one in models)}"


def _params(body: dict[str, Any]) -> str:
    params = {name: value for name, value in body.items() if name not in _MESSAGES}
    return ", ".join(f"`{name} = {json.dumps(value, ensure_ascii=False)}`" for name, value in params.items()) or "none"


def _tools(tools: Iterable[Tool], approve: Approve) -> Iterator[str]:
    """Yield the line that lists the tools with their arguments, and says about which of them the user is asked."""
    shown = []
    for one in tools:
        arguments = ", ".join(one.parameters.get("properties", ()))
        asks = " (asks first)" if one.approve and approve is None else ""
        shown.append(_code_span(f"{one.name}({arguments})") + asks)
    if shown:
        yield f"- tools: {', '.join(shown)}"


def _code_span(text: object) -> str:
    return f"`{str(text).replace('`', chr(39))}`"


def _message(message: dict[str, Any]) -> Iterator[str]:
    content, calls = message.get("content") or "", _calls(message.get("tool_calls") or [])
    content = content or ([] if calls else "")
    yield f"\n**{message['role']}**\n"
    for part in [{"text": content}] if isinstance(content, str) else content:
        yield fenced(part["text"], "text") if isinstance(part.get("text"), str) else "(an attachment)"
    yield from calls


def _calls(calls: list[dict[str, Any]]) -> list[str]:
    functions = [call["function"] for call in calls if isinstance(call.get("function"), dict)]
    return [fenced(f"{one.get('name')}({one.get('arguments')})", "text") for one in functions]
