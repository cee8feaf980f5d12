"""The JSON schema of a function's arguments, from its annotations and its docstring."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def parameters_of(
    function: Callable[..., Any],
) -> tuple[dict[str, Any], Callable[[dict[str, Any]], dict[str, Any]], str]:
    """Return the JSON schema of the arguments, a function that checks them, and the description."""
    from pydantic import TypeAdapter, ValidationError

    raise NotImplementedError(inspect, TypeAdapter, ValidationError)
