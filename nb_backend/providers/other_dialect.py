"""Which dialect an answer looks like that is not in the dialect of the request."""

from __future__ import annotations

import re
from typing import Final

from yarl import URL

from ..errors import BackendError, ProtocolError
from ..transport.refusal import with_hint

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


def with_missing_path(failure: BackendError, path: str) -> BackendError:
    """Return the failure; if the server does not have the path of the dialect, it says how to set another dialect."""
    text = str(failure)
    is_missing = failure.status in (404, 405, 501) and path in text
    if not is_missing or re.search(r"model|deployment", text.replace("check the url and the model", ""), re.IGNORECASE):
        return failure
    return with_hint(
        failure, "check the url, or name the server's dialect with api=…, in a notebook %backend url URL --api NAME"
    )
