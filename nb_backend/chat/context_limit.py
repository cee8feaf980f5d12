"""Whether a server says that a request is too long."""

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
    """Whether a server refuses a question because the conversation does not fit into the model's context."""
    if isinstance(failure, BaseException):
        said = f"{failure} {failure.code}" if isinstance(failure, ServerError) else ""
    else:
        said = f"{failure.get('error')} {failure.get('message')}" if failure.type == "error" else ""
    return _TOO_LONG.search(said[:10_000]) is not None
