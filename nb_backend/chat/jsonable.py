"""Values as plain JSON, without secrets."""

from __future__ import annotations

import math
from typing import Any

from ..media.attachment import Attachment
from ..redaction import is_secret_name

MAX_LEVELS = 100  # of lists and objects in one another: what is written here is read wherever this is called from


def plain(value: Any, secret: str | None = None, levels: int = MAX_LEVELS) -> Any:
    """Give a value as JSON says it: lone surrogates become U+FFFD, NaN and the infinities null."""
    if levels < 0:
        raise ValueError("this conversation cannot be written: something in it is nested too deeply")
    if isinstance(value, str):
        text = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return text.replace(secret, "***") if secret else text
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {plain(str(key), secret): plain(item, secret, levels - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, secret, levels - 1) for item in value]
    if isinstance(value, Attachment):
        return plain([value.uri, value.name, *([value.remark] if value.remark else [])], secret)
    if hasattr(value, "tolist"):  # numpy's numbers and arrays
        return plain(value.tolist(), secret, levels - 1)
    raise ValueError(f"this conversation cannot be written: JSON has nothing for {type(value).__name__}")


def without_secrets(value: Any) -> Any:
    """Give plain JSON without what is named like a secret."""
    if isinstance(value, dict):
        return {key: without_secrets(item) for key, item in value.items() if not is_secret_name(key)}
    return [without_secrets(item) for item in value] if isinstance(value, list) else value
