"""``RawResponse``, one event of a streamed answer, and the text and images in it."""

from __future__ import annotations

from typing import Any

TEXT_KEYS = {"content": "content", "reasoning": "token"}
"""For each type of event that adds text, the key of that text."""

PRIVATE_TYPES = frozenset({"log", "request", "headers", "response"})
"""Types of events whose values may contain API keys, also those of other people. ``repr`` leaves the values out."""


class RawResponse:
    """One event of a streamed answer: a JSON object as the server sent it, with every key as an attribute.

    ``str(event)`` is the text that it adds to the answer, or ``""``. A missing key raises ``AttributeError``, except
    for ``type``, which is ``""`` then.
    """

    __slots__ = ("_data",)

    def __init__(self, /, **data: Any) -> None:
        self._data = data

    def __getattr__(self, key: str) -> Any:
        if key != "_data" and key in self._data:
            return self._data[key]
        raise AttributeError(f"this event has no {key!r}")

    @property
    def type(self) -> str:
        """The type: ``content``, ``reasoning``, ``tool_calls``, ``sources``, ``usage``, ``finish``, ``error`` …"""
        kind = self._data.get("type", "")
        return kind if isinstance(kind, str) else ""

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, or the default if it is missing."""
        return self._data.get(key, default)

    def get_dict(self) -> dict[str, Any]:
        """Return the JSON object as a dict."""
        return dict(self._data)

    def __str__(self) -> str:
        data = self._data
        if data.get("type") != "content":
            return ""
        text = data.get("content")
        return text if type(text) is str else content_text(text)  # most are; another call would take a third longer

    def __repr__(self) -> str:
        hidden = self.type in PRIVATE_TYPES
        shown = {key: "..." if hidden and key != "type" else value for key, value in self._data.items()}
        return f"RawResponse({', '.join(f'{key}={value!r}' for key, value in shown.items())})"

    def __eq__(self, other: object) -> bool:
        return self._data == other._data if isinstance(other, RawResponse) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return event_of, (self._data,)


def event_of(data: dict[str, Any]) -> RawResponse:
    """Return the event of a JSON object without copying it, in a fifth of the time of ``RawResponse(**data)``."""
    event = _new(RawResponse)
    event._data = data
    return event


_new = object.__new__


def content_text(content: Any) -> str:
    """Return the text of a ``content`` value, which may be a string, a number, null or a list of content parts."""
    if isinstance(content, str):
        return content
    if content is None or isinstance(content, bool):
        return ""
    if isinstance(content, int | float):
        return str(content)
    if isinstance(content, list):
        return "".join(content_text(part) for part in content)
    if isinstance(content, dict):
        return content_text(content.get("text"))
    return ""


def reasoning_text(event: RawResponse) -> str:
    """Return the text that an event adds to the reasoning, or ``""``."""
    return reasoning_of(event._data) if event._data.get("type") == "reasoning" else ""


_REASONING_KEYS = ("token", "reasoning", "reasoning_content", "thinking", "text", "content", "summary")


def reasoning_of(value: Any) -> str:
    """Return the text of reasoning, which services send as a string, as a list of parts or inside an object.

    Reasoning that is encrypted (``data``) has no text.
    """
    if isinstance(value, dict):
        return next((text for key in _REASONING_KEYS if (text := reasoning_of(value.get(key)))), "")
    if isinstance(value, list):
        return "".join(map(reasoning_of, value))
    return content_text(value)


def with_token(data: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON object of an event; that of reasoning has its text in ``token``, wherever the server put it.

    g4f passes on what a service sends: ``token`` may be an object or a list, or the text is in ``reasoning``.
    """
    kind = data.get("type")
    if kind == "reasoning":
        if "token" in data and (data["token"] is None or isinstance(data["token"], str)):
            return data
    elif kind is not None or "error" in data or not isinstance(data.get("reasoning"), dict | list | str):
        return data
    others = {key: value for key, value in data.items() if key not in _REASONING_KEYS}
    return {**others, "type": "reasoning", "token": reasoning_of(data)}


def finish_reason(event: RawResponse) -> str:
    """Return the reason of a ``finish`` event; ``stop`` if it has none."""
    reason = event.get("finish")
    while isinstance(reason, dict):
        reason = reason.get("reason") or reason.get("type")
    return str(reason or "stop")


def urls_of(event: RawResponse) -> list[str]:
    """Return the addresses of the images in a ``content`` event."""
    urls = event.get("urls") if event.type == "content" else None
    return [url for url in (urls if isinstance(urls, list) else [urls]) if isinstance(url, str)]


class ServerChanged(RawResponse):
    """An event that this package adds: the next attempt goes to ``server``."""

    __slots__ = ("server",)

    def __init__(self, event: RawResponse, server: Any) -> None:
        super().__init__(**event.get_dict())
        self.server = server
