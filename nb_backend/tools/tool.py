"""``Tool``: a function that a model may call."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

_MAX_WIRE_NAME = 64  # characters; OpenAI and Gemini refuse longer ones


class ToolFailed(Exception):
    """Why a call has no result, in one line for the model; the name of this class is not a part of it."""


@dataclass(frozen=True, eq=False)
class Tool:
    """A function that a model may call; ``tool`` makes one of a Python function.

    ``parameters`` is the JSON schema of the arguments, an object. ``function`` gets them by name; it may be a coroutine
    function. With ``approve`` the user is asked before each call. ``check`` returns the arguments as the function takes
    them; it raises ``ValueError`` in one line, for the model, if they do not fit. ``scope`` is how long the answer
    "always" counts: for this tool until the kernel ends ("session"), or within one run of a cell ("cell"). ``origin``
    says which server the tool is from, and how that is reached; "" for a function of this process.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    function: Callable[..., Any] = field(repr=False)
    approve: bool = False
    check: Callable[[dict[str, Any]], dict[str, Any]] = field(default=lambda arguments: arguments, repr=False)
    scope: Literal["session", "cell"] = "session"
    origin: str = ""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself."""
        return self.function(*args, **kwargs)

    @property
    def wire_name(self) -> str:
        """The name that is sent: services take only letters, digits, ``_`` and ``-``."""
        return wire_name(self.name)

    @property
    def schema(self) -> dict[str, Any]:
        """The tool as chat completions take it; other dialects translate it."""
        about = {"name": self.wire_name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": about}


def tool(
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    approve: bool = False,
) -> Any:
    """Return a function as a tool, with another name or description than its own.

    >>> chat = Chat(tools=[tool(delete_rows, approve=True)])

    ``approve=True`` asks the user before each call. Without ``function``, it returns a decorator.
    """
    if function is None:
        return lambda one: tool(one, name=name, description=description, approve=approve)
    if isinstance(function, Tool):
        changed = {"name": name or function.name, "description": description or function.description}
        return Tool(**{**vars(function), **changed, "approve": approve or function.approve})
    from .schema import parameters_of

    parameters, check, about = parameters_of(function)
    return Tool(
        name=name or str(getattr(function, "__name__", type(function).__name__)),
        description=about if description is None else description,
        parameters=parameters,
        function=function,
        approve=approve,
        check=check,
    )


def as_tools(given: Iterable[Any]) -> list[Any]:
    """Return functions as tools; tools, and dicts in a service's own form, stay as they are.

    ``TypeError`` for anything else, ``ValueError`` if two tools have the same name.
    """
    if isinstance(given, str | bytes | dict) or not isinstance(given, Iterable):
        given = [given]
    tools = []
    for one in given:
        if not isinstance(one, Tool | dict) and not callable(one):
            raise TypeError(f"a tool is a function, not {type(one).__name__}: give the function itself")
        tools.append(one if isinstance(one, Tool | dict) else tool(one))
    names = [one.wire_name for one in tools if isinstance(one, Tool)]
    if twice := next((name for at, name in enumerate(names) if name in names[:at]), None):
        raise ValueError(f"two tools are called {twice}: give one another name with tool(function, name=…)")
    return tools


def wire_name(name: str) -> str:
    """Return the name of a tool as it is sent, the same one each time."""
    sent = re.sub(r"[^A-Za-z0-9_-]", "_", name.replace(".", "__"))
    sent = sent if re.match(r"[A-Za-z_]", sent) else f"_{sent}"
    if len(sent) > _MAX_WIRE_NAME or (sent != name and not name.isascii()):
        digest = blake2b(name.encode("utf-8", "replace"), digest_size=4).hexdigest()
        sent = f"{sent[: _MAX_WIRE_NAME - 9]}_{digest}"
    return sent
