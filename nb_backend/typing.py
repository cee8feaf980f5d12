"""Type aliases of the public signatures."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from .events import RawResponse

Messages: TypeAlias = list[dict[str, Any]]
"""The messages of a chat, oldest first: ``[{"role": "system" | "user" | "assistant", "content": str}, ...]``."""

MediaListType: TypeAlias = list[tuple[Any, str | None]] | None
"""The attachments of the last message, ``[(data, file name or None), ...]``; ``to_data_uri`` lists what data may be."""

AsyncResult: TypeAlias = "AsyncGenerator[RawResponse, None]"
"""What a provider returns: an asynchronous generator of events."""
