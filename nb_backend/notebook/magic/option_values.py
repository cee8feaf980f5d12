"""The types of option values: each reads the text after an option, or raises ``ArgumentTypeError`` in one line.

A message that begins with "needs" follows the name of the option.
"""

from __future__ import annotations

import json
import keyword
import math
import re
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from .line import KEY_ON_THE_LINE

_IN_JSON = {"True": "true", "False": "false", "None": "null"}


def temperature(text: str) -> float:
    """Read a finite number that is not negative."""
    with suppress(ValueError):
        if math.isfinite(value := float(text)) and value >= 0:
            return value
        raise ArgumentTypeError(f"needs a number from 0 up, such as 0.2, not {text}")
    raise ArgumentTypeError(f"needs a number such as 0.2, not {text}")


def positive_integer(text: str) -> int:
    """Read a whole number that is at least 1."""
    with suppress(ValueError):
        if (value := int(text)) > 0:
            return value
    raise ArgumentTypeError(f"needs a whole number from 1 up, such as 500, not {text}")


def variable_name(text: str) -> str:
    """Return the text if a variable can have it as its name."""
    if not text.isidentifier() or keyword.iskeyword(text):
        raise ArgumentTypeError(f"needs a name for a variable, such as answer, not {text!r}")
    return text


def is_secret_option(name: str) -> bool:
    """Whether the name of an option or a parameter says that its value is a secret."""
    from ...redaction import is_secret_name  # not when the extension is loaded

    return is_secret_name(name)


def parameter(text: str) -> tuple[str, Any]:
    """Read ``KEY=VALUE``; a value that is not JSON is a text."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ArgumentTypeError(f"needs KEY=VALUE, such as top_p=0.9, not {text!r}")
    if is_secret_option(name):
        raise ArgumentTypeError(KEY_ON_THE_LINE)
    from ...providers.keywords import refusal_in_cell  # not when the extension is loaded

    if refusal := refusal_in_cell(name):
        raise ArgumentTypeError(refusal)
    if re.fullmatch(r"\$(?:\w+|\{\w+\})", value):
        raise ArgumentTypeError(f"{text}: a variable is not replaced on this line: write its value")
    if value in _IN_JSON:
        raise ArgumentTypeError(f"{text} is not JSON: write -p {name}={_IN_JSON[value]}")
    try:
        found = json.loads(value, parse_constant=str)
    except (ValueError, RecursionError):
        if value.startswith(("{", "[", '"')):
            raise ArgumentTypeError(f"{text} is not JSON: put it in '…' if it contains spaces") from None
        return name, value
    if any(map(is_secret_option, _object_keys(found))):
        raise ArgumentTypeError(KEY_ON_THE_LINE)
    if not _has_sendable_numbers(found):
        raise ArgumentTypeError(f"{text} contains a number that is too large to send: use a smaller one")
    return name, found


def _object_keys(value: Any) -> Iterator[str]:
    """Yield the keys of all objects in a JSON value."""
    if isinstance(value, dict):
        yield from value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _object_keys(item)


def _has_sendable_numbers(value: Any) -> bool:
    """Whether all numbers in a JSON value are finite, and all integers fit into 64 bits."""
    if isinstance(value, dict | list):
        return all(map(_has_sendable_numbers, value.values() if isinstance(value, dict) else value))
    return -(2**63) <= value < 2**64 if isinstance(value, int) else not isinstance(value, float) or math.isfinite(value)
