"""The JSON body of a request."""

from __future__ import annotations

import sys
from typing import Any

import orjson

from ..settings import Secret


def valid_unicode(value: Any) -> Any:
    """Return the JSON value with surrogate pairs joined and lone surrogates replaced by U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {valid_unicode(key): valid_unicode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [valid_unicode(item) for item in value]
    return value


def encode_json(value: Any) -> bytes:
    """Encode a value as JSON in UTF-8.

    Lone surrogates become U+FFFD, keys of dicts become text, a ``Secret`` becomes its value. ``TypeError`` names the
    value that JSON cannot express.
    """
    arrays = orjson.OPT_SERIALIZE_NUMPY if "numpy" in sys.modules else 0  # otherwise the option would import numpy
    try:
        return orjson.dumps(value, _secret_value, arrays)
    except TypeError as error:
        try:
            return orjson.dumps(valid_unicode(value), _secret_value, arrays | orjson.OPT_NON_STR_KEYS)
        except RecursionError:
            raise error from None


def _secret_value(value: Any) -> str | None:
    if isinstance(value, Secret):
        return value.value
    raise TypeError
