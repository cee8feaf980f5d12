"""The types that appear in public signatures."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from .events import RawResponse

Messages: TypeAlias = list[dict[str, Any]]
"""A conversation, oldest first: ``[{"role": "system" | "user" | "assistant", "content": str}, ...]``."""

MediaListType: TypeAlias = list[tuple[Any, str | None]] | None
"""What goes along with the last message: ``[(data, file name), ...]``, data being whatever ``to_data_uri`` takes."""

AsyncResult: TypeAlias = "AsyncGenerator[RawResponse, None]"
"""What a provider gives: an asynchronous generator of events."""
