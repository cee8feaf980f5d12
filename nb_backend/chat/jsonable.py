"""Values as JSON data, without secrets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..media.attachment import Attachment
from ..redaction import is_secret_name, mask

MAX_DEPTH = 110  # nested lists and objects: around an event, which has at most 100; deeper data may not be readable


def plain(value: Any, keys: Sequence[str] = (), depth: int = MAX_DEPTH) -> Any:
    """Return a value as JSON data, with the keys masked. Lone surrogates become U+FFFD, NaN and infinities ``None``.

    Raises ``ValueError`` for a type that JSON does not have, and for data that is nested too deeply.
    """
    if depth < 0:
        raise ValueError("this chat cannot be written: its data is nested too deeply")
    if isinstance(value, str):
        text = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return mask(text, keys) if keys else text
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {plain(str(key), keys): plain(item, keys, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, keys, depth - 1) for item in value]
    if isinstance(value, Attachment):
        return plain([value.uri, value.name, *([value.remark] if value.remark else [])], keys)
    if hasattr(value, "tolist"):  # numpy's numbers and arrays
        return plain(value.tolist(), keys, depth - 1)
    raise ValueError(f"this chat cannot be written: JSON has no type for {type(value).__name__}")


def without_secrets(value: Any) -> Any:
    """Return JSON data without the fields whose names say that their value is secret."""
    if isinstance(value, dict):
        return {key: without_secrets(item) for key, item in value.items() if not is_secret_name(key)}
    return [without_secrets(item) for item in value] if isinstance(value, list) else value
