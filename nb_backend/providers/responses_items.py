"""The output items of OpenAI's responses: messages, reasoning, calls of functions and of the service's own tools."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from .content_parts import dicts, image_address
from .tool_calls import MAX_CALLS

_BREAK: Final = "\n\n"  # between a commentary and the answer, and between paragraphs of reasoning
_FORMS: Final = {"jpeg": "jpeg", "webp": "webp", "gif": "gif", "svg": "svg+xml"}  # of images; others are PNG
_LABELS: Final = {
    "web_search_call": "searching the web",
    "file_search_call": "searching the files",
    "code_interpreter_call": "running code",
    "image_generation_call": "making an image",
    "mcp_list_tools": "asking {server_label} for its tools",
    "mcp_call": "calling {name} of {server_label}",
}
"""What the service does while it works on an item of a type, for the line that shows the progress."""
CALLS: Final = {"function_call": "arguments", "custom_tool_call": "input"}
"""The types of calls that wait for a result of ours: the key of what is passed to the tool."""

_OURS = (
    *("function_call_output", "custom_tool_call_output", "computer_call_output", "local_shell_call_output"),
    *("apply_patch_call_output", "mcp_approval_response", "item_reference"),
)
"""Types of items that only requests have, and no answer."""
_UNFINISHED = ("incomplete", "in_progress")


@dataclass
class Part:
    """A text of an item: how many characters of it have arrived."""

    size: int = 0


@dataclass
class Item:
    """An output item that grows. ``data`` is the newest object that the server sent for it."""

    kind: str
    data: dict[str, Any] = field(default_factory=dict)
    parts: dict[tuple[str, int], Part] = field(default_factory=dict)
    """Its texts by the key of the list in ``data`` and the place in it."""
    pieces: list[str] = field(default_factory=list)
    """Pieces of the arguments of a call."""
    is_done: bool = False

    @property
    def id(self) -> str:
        """The server's id, ``""`` if it has none; a few servers change it from event to event."""
        return str(self.data.get("id") or "")

    @property
    def call(self) -> dict[str, Any] | None:
        """The call of a function or a custom tool in the form of chat completions; ``None`` if it is not whole."""
        key = CALLS.get(self.kind)
        if key is None or not self.is_done or self.data.get("status") in _UNFINISHED:
            return None
        arguments = self.data.get(key)
        text = arguments if isinstance(arguments, str) and arguments else "".join(self.pieces)
        id_ = str(self.data.get("call_id") or self.id)
        return {
            "id": id_,
            "type": "function",
            "function": {"name": str(self.data.get("name") or ""), "arguments": text},
        }


def calls_of(items: Iterable[Item], tools: Any = None) -> list[dict[str, Any]]:
    """Return the calls of functions that are whole, in the form of chat completions.

    ``tools`` are those of the request: a call of a custom tool that is not among them was carried out by the service,
    as xAI does it when it searches X.
    """
    custom = {tool.get("name") for tool in dicts(tools) if tool.get("type") == "custom"}
    ours = [one for one in items if not tools or one.kind != "custom_tool_call" or one.data.get("name") in custom]
    return [call for item in ours if (call := item.call)][:MAX_CALLS]


def progress_of(item: dict[str, Any]) -> str:
    """Return what the service does for this item, ``""`` if it is not a call of one of the service's own tools."""
    label = _LABELS.get(str(item.get("type")), "")
    names = {key: str(item.get(key) or "a tool") for key in ("name", "server_label")}
    return label.format(**names)


def images_of(item: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the images of an item as addresses or data URIs, each with its alternative text."""
    if item.get("type") == "image_generation_call":
        image = _drawn(item.get("result"), item.get("output_format"))
        return [(image, str(item.get("revised_prompt") or ""))] if image else []
    outputs = item.get("outputs") if item.get("type") == "code_interpreter_call" else None
    shown = [one for one in dicts(outputs) if one.get("type") == "image"]
    return [(image, "") for one in shown if (image := image_address(one.get("url")))]


def _drawn(result: Any, form: Any) -> str:
    """Return an image in base64 as a data URI, of the named form if the bytes do not tell it, as those of an SVG."""
    if not isinstance(result, str) or not result:
        return ""
    return image_address(result) or f"data:image/{_FORMS.get(str(form), 'png')};base64,{result}"


def text_of_items(items: Iterable[dict[str, Any]]) -> str:
    """Return the text of all messages in output items, as the reader joins it."""
    text, before = "", dict[str, Any]()
    for item in items:
        parts = dicts(item.get("content")) if item.get("type") == "message" else []
        if added := "".join(map(text_of_part, parts)):
            text += (break_after(text) if is_apart(before, item) else "") + added
            before = item
    return text


def is_apart(before: dict[str, Any], message: dict[str, Any]) -> bool:
    """Whether two messages are paragraphs: one of them is a commentary, which comes before the answer itself."""
    return "commentary" in (before.get("phase"), message.get("phase"))


def text_of_part(part: dict[str, Any]) -> str:
    """Return the text of a part of a message; that of an audio is its transcript."""
    texts = (part.get(key) for key in ("text", "refusal", "transcript"))
    return next((text for text in texts if isinstance(text, str) and text), "")


def break_after(text: str) -> str:
    """Return what to put between this text and the next paragraph: as many line ends as are missing."""
    return _BREAK[len(text[-2:]) - len(text[-2:].rstrip("\n")) :] if text else ""


def state_of(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the items that the next request has to contain, in their order; none if their text and calls say it all.

    These are reasoning that is encrypted, reasoning in words if calls follow it, and messages with a ``phase``. Images
    are left out, as they may be many MB; so is the reasoning before them, which may not stand alone.
    """
    has_calls = any(item.get("type") in CALLS for item in items)
    kinds = [*(item.get("type") for item in items), None]
    kept = [
        item
        for at, item in enumerate(items)
        if (kinds[at] != "reasoning" or _has_state(item, has_calls))
        and not (kinds[at] == "reasoning" and kinds[at + 1] in ("image_generation_call", None))
        and kinds[at] != "image_generation_call"
    ]
    return [*map(_sendable, kept)] if any(_has_state(item, has_calls) for item in kept) else []


def _has_state(item: dict[str, Any], has_calls: bool) -> bool:
    is_needed = item.get("type") == "reasoning" and has_calls and item.get("content")
    return bool(item.get("encrypted_content") or item.get("phase") or is_needed)


def _sendable(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item without fields that are empty: requests refuse ``null`` where answers have it."""
    is_empty = item.get("type") == "reasoning" and not item.get("content")
    return {key: value for key, value in item.items() if value is not None and not (is_empty and key == "content")}


def is_output(item: dict[str, Any]) -> bool:
    """Whether an item can come from a model: what a saved chat holds in place of it may be written by anybody."""
    kind = item.get("type")
    if kind == "message":
        return item.get("role") == "assistant" and isinstance(item.get("content"), list)
    return isinstance(kind, str) and kind not in _OURS
