"""Messages as they are sent."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from ..media.message_parts import text_of, text_parts
from ..providers.tool_results import RESULTS
from ..typing import Messages
from .messages import LOCAL_KEYS, metadata
from .tool_rounds import expanded

_NEVER_TRIMMED = frozenset({"system", "developer"})  # roles


def wire_messages(
    messages: Messages, without: int = 0, *, pictures: bool = True, state_owner: str | None = None
) -> Messages:
    """Return the messages as they are sent: without local keys, and without the oldest ``without`` turns.

    System and developer messages are never trimmed. Attachments become content parts of their message again; with
    ``pictures=False`` images are left out, and those of a tool are replaced by words. An answer keeps its ``state``, as
    a list, if it belongs to ``state_owner``.

    Empty answers and empty system prompts are left out, as servers refuse them. What the user says before and after
    an empty answer then becomes one message: nothing that the user wrote is lost, and the roles alternate, which many
    servers require. An answer has its tool calls with it as soon as the history has their results; calls without a
    result are left out, as servers refuse them. The rounds of an answer become messages of their own.
    """
    sent: Messages = []
    answered = {message.get("tool_call_id") for message in messages} - {None}
    turns, unanswered = 0, False
    for message in (part for one in messages for part in expanded(one)):
        turns += message.get("role") == "user"
        if without and turns <= without and message.get("role") not in _NEVER_TRIMMED:
            continue
        wire = _with_answered_calls(_wire_message(message, pictures), metadata(message), answered)
        if state_owner and isinstance(state := message.get("state"), dict) and state.get("owner") == state_owner:
            wire["state"] = state.get("items")
        is_picture = bool(message.get("images") and wire.get("state"))  # which its state shows to the model again
        if _is_empty(wire) and not is_picture:
            unanswered = unanswered or wire["role"] == "assistant"
            continue
        if unanswered and sent and sent[-1].get("role") == wire.get("role") == "user":
            before = sent.pop()
            wire = {**before, **wire, "content": _joined(before.get("content"), wire.get("content"))}
        sent.append(wire)
        unanswered = False
    return sent


def _with_answered_calls(message: dict[str, Any], about: Mapping[str, Any], answered: Container[Any]) -> dict[str, Any]:
    """Return an answer with those of the tool calls in its metadata that have a result; what a user wrote stays."""
    calls = about.get("tool_calls")
    if "tool_calls" in message or not isinstance(calls, list):
        return message
    kept = [call for call in calls if isinstance(call, dict) and call.get("id") in answered]
    return {**message, "tool_calls": kept} if kept else message


def _is_empty(message: dict[str, Any]) -> bool:
    """Whether this is an answer or a system prompt in which nothing is said and no tool is called."""
    if message.get("role") not in ("assistant", *_NEVER_TRIMMED):
        return False
    content = message.get("content")
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text", "…") if isinstance(part, dict) else part for part in parts]
    says = any(text.strip() if isinstance(text, str) else text for text in texts)
    return not says and not any(map(message.get, ("tool_calls", "function_call", "audio", "refusal")))


def _joined(first: Any, second: Any) -> Any:
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return [*text_parts(first), *text_parts(second)]


def _wire_message(message: dict[str, Any], pictures: bool) -> dict[str, Any]:
    sent = {key: value for key, value in message.items() if key not in LOCAL_KEYS}
    media = [one for one in message.get("media", ()) if pictures or not one.is_image]
    if message.get("role") == "assistant" and isinstance(text := sent.get("content"), str):
        from ..markdown.data_uris import shorten_data_uris

        sent["content"] = shorten_data_uris(text)  # a model cannot read base64 as an image
    if message.get("role") in RESULTS and not pictures:
        sent["content"] = _without_pictures(sent.get("content"))
    if media:
        from ..media.message_parts import content_part

        sent["content"] = [*(content_part(one.uri, one.name) for one in media), *text_parts(message.get("content"))]
    return sent


def _without_pictures(content: Any) -> Any:
    """Return the result of a tool with words in place of its pictures."""
    if not isinstance(content, list):
        return content
    kept = [part for part in content if not (isinstance(part, dict) and part.get("type") == "image_url")]
    if not (left := len(content) - len(kept)):
        return content
    what = "a picture" if left == 1 else f"{left} pictures"
    return "\n\n".join([*map(text_of, ({"content": [part]} for part in kept)), f"({what}, which you cannot see)"])
