"""Whether a server refuses a request because it exceeds the model's context."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..errors import ServerError

if TYPE_CHECKING:
    from ..events import RawResponse


_TOO_LONG = re.compile(
    r"context[ _]?(?:length|window|size)|contextwindow|prompttoolong|token count\b.{0,60}\bexceeds|"
    r"(?:prompt|input|conversation)s? (?:is |are )?too long|reduce the length of the (?:messages|prompt|input)",
    re.IGNORECASE | re.DOTALL,
)


def is_too_long(failure: RawResponse | BaseException) -> bool:
    """Whether an error event or an exception says that the request exceeds the model's context."""
    if isinstance(failure, BaseException):
        text = f"{failure} {failure.code}" if isinstance(failure, ServerError) else ""
    else:
        text = f"{failure.get('error')} {failure.get('message')}" if failure.type == "error" else ""
    return _TOO_LONG.search(text[:10_000]) is not None
