"""One event of a streamed answer."""

from __future__ import annotations

from typing import Any

TEXT_KEYS = {"content": "content", "reasoning": "token"}  # type of event: the key of its text


# Their values can carry keys, other people's too: they are never shown by default.
PRIVATE_TYPES = frozenset({"log", "request", "headers", "response"})


class RawResponse:
    """One JSON object as the server sent it; its keys are attributes, unknown ones too.

    ``str(event)`` is the text it adds to the answer, else ``""``. A key that the object does not have is an
    ``AttributeError``, but ``type``, which is then ``""``.
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
        """What kind of event it is: content, reasoning, provider, usage, finish, error, ..."""
        kind = self._data.get("type", "")
        return kind if isinstance(kind, str) else ""

    def get(self, key: str, default: Any = None) -> Any:
        """Give the value of a key, or the default."""
        return self._data.get(key, default)

    def get_dict(self) -> dict[str, Any]:
        """Give the JSON object back."""
        return dict(self._data)

    def __str__(self) -> str:
        return content_text(self._data.get("content")) if self._data.get("type") == "content" else ""

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
    """Give the event that is this JSON object, without a copy: a fifth of what ``RawResponse(**data)`` takes."""
    event = _new(RawResponse)
    event._data = data
    return event


_new = object.__new__


def content_text(content: Any) -> str:
    """Give the text of a ``content`` value: a string, a number, null, or a list of parts."""
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
    """Give the text that an event adds to the reasoning, else ``""``."""
    return content_text(event.get("token")) if event.type == "reasoning" else ""


def urls_of(event: RawResponse) -> list[str]:
    """Give the addresses of the images that a ``content`` event brings."""
    urls = event.get("urls") if event.type == "content" else None
    return [url for url in (urls if isinstance(urls, list) else [urls]) if isinstance(url, str)]


class ServerChanged(RawResponse):
    """An event of this side: from here on, ``server`` is asked."""

    __slots__ = ("server",)

    def __init__(self, event: RawResponse, server: Any) -> None:
        super().__init__(**event.get_dict())
        self.server = server
