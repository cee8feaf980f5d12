"""Tools: functions that a model may call, with the user's consent.

``tool``      ``Tool``, and ``tool()``, which makes one of a function
``step``      ``ToolStep``: a call that was carried out or refused
``calls``     carries out the calls of an answer
``consent``   who decides whether a call may run, and ``asking``, which asks the user in a cell
``schema``    the JSON schema of a function, which ``portable_schema`` makes fit for every service; ``docstring`` reads
              what is said about each argument, and ``typed_dicts`` is for Python 3.11
``results``   what a tool returned, as text and images
``variables`` ``look``: the types of variables, ``past_cells`` ``cells``, and ``run_code`` ``run``, the built-in tools
``mcp``       servers of the Model Context Protocol, and their tools
``values``    a value as text or image, also for prompts: tables by ``table_text``, HTML by ``html_text``
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from .tool import Tool as Tool
from .tool import tool as tool  # at once: the module of this name would take its place

if TYPE_CHECKING:
    from .consent import Consent as Consent
    from .past_cells import cells as cells
    from .run_code import run as run
    from .step import ToolStep as ToolStep
    from .variables import look as look

BUILT_IN: Final = ("look", "cells", "run")
"""The names of the tools that are ready to use."""

_HOMES = {
    "Consent": "consent",
    "ToolStep": "step",
    "cells": "past_cells",
    "look": "variables",
    "run": "run_code",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
