"""What a tool returned, as text and images for the model."""

from __future__ import annotations

import json
from typing import Any

from ..media.attachment import Attachment

MAX_RESULT = 20_000  # bytes of text


def result_of(value: Any) -> tuple[str, list[Attachment]]:
    """Return the value of a tool as a text of at most ``MAX_RESULT`` bytes, and its images."""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text[:MAX_RESULT], []
