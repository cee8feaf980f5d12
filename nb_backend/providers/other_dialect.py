"""Which dialect an answer looks like that is not in the dialect of the request."""

from __future__ import annotations

import re
from typing import Final

from yarl import URL

from ..errors import ProtocolError

_MARKS: Final = {
    "anthropic": rb'"type"\s*:\s*"(?:message_start|content_block_(?:start|delta)|message_delta)"',
    "openai-responses": rb'"type"\s*:\s*"response\.\w|"object"\s*:\s*"response"',
    "gemini": rb'"candidates"\s*:\s*\[|"usageMetadata"\s*:',
    "openai-chat": rb'"object"\s*:\s*"chat\.completion|"choices"\s*:\s*\[',
    "g4f": rb'"type"\s*:\s*"(?:content|provider|parameters|conversation|request)"',
}
"""What only the events of a dialect contain, by its name in ``registry.DIALECTS``."""
_TITLES: Final = {
    "anthropic": "Anthropic's Messages API",
    "openai-responses": "OpenAI's Responses API",
    "gemini": "Gemini's API",
    "openai-chat": "OpenAI's chat completions",
    "g4f": "g4f's API",
}


def dialect_of(body: bytes) -> str | None:
    """Return the name of the dialect that the start of an answer looks like; ``None`` if it looks like no dialect."""
    places = {name: found.start() for name, mark in _MARKS.items() if (found := re.search(mark, body))}
    return min(places, key=places.__getitem__, default=None)


def in_another_dialect(url: str, body: bytes, api: str) -> ProtocolError | None:
    """Return the error for an answer in another dialect than ``api``, with how to set it; ``None`` if it is not."""
    other = dialect_of(body)
    if other is None or other == api:
        return None
    return ProtocolError(
        f"{URL(url).origin()} answered as {_TITLES[other]} does: set api={other!r}, in a notebook"
        f" %backend url URL --api {other}",
        status=200,
    )
