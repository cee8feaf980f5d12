"""The JSON body of a request."""

from __future__ import annotations

import sys
from typing import Any

import orjson

from ..settings import Secret


def valid_unicode(value: Any) -> Any:
    """Give the same JSON value with half surrogates in its texts joined, or replaced by U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {valid_unicode(key): valid_unicode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [valid_unicode(item) for item in value]
    return value


def encode_json(value: Any) -> bytes:
    """Write JSON as UTF-8; half surrogates become U+FFFD, numbers as names text, a ``Secret`` is written as it is.

    ``TypeError`` names what JSON cannot say.
    """
    arrays = orjson.OPT_SERIALIZE_NUMPY if "numpy" in sys.modules else 0  # or orjson would import it
    try:
        return orjson.dumps(value, _revealed, arrays)
    except TypeError as error:
        try:
            return orjson.dumps(valid_unicode(value), _revealed, arrays | orjson.OPT_NON_STR_KEYS)
        except RecursionError:
            raise error from None


def _revealed(value: Any) -> str | None:
    if isinstance(value, Secret):
        return value.value
    raise TypeError
