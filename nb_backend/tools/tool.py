"""``Tool``: a function that a model may call."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from importlib import import_module
from types import FunctionType, MethodType
from typing import Any, Literal

from ..text import safe_terminal, truncate

_MAX_WIRE_NAME = 64  # characters; OpenAI and Gemini refuse longer ones
_MAX_DESCRIPTION = 1024  # characters; models of OpenAI and Azure refuse longer ones


class ToolFailed(Exception):
    """Why a call has no result, in one line for the model; the name of this class is not a part of it."""


@dataclass(frozen=True, eq=False, repr=False)
class Tool:
    """A function that a model may call; ``tool`` makes one of a Python function.

    ``parameters`` is the JSON schema of the arguments, an object. ``function`` gets them by name; it may be a coroutine
    function. With ``approve`` the user is asked before each call. ``check`` returns the arguments as the function takes
    them; it raises ``ValueError`` in one line, for the model, if they do not fit. ``scope`` is how long the answer
    "always" counts: for this tool until the kernel ends ("session"), or within one run of a cell ("cell").
    """

    name: str
    description: str
    parameters: dict[str, Any]
    function: Callable[..., Any]
    approve: bool = False
    check: Callable[[dict[str, Any]], dict[str, Any]] = field(default=lambda arguments: arguments)
    scope: Literal["session", "cell"] = "session"

    def __repr__(self) -> str:
        arguments = truncate(", ".join(map(str, self.parameters.get("properties", ()))), 60)
        return safe_terminal(f"<Tool {self.name}({arguments}){', asks first' * self.approve}>")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself."""
        return self.function(*args, **kwargs)

    def __deepcopy__(self, memo: Any) -> Tool:
        return self  # as a function: what it is bound to is not copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        home = str(getattr(self.function, "__module__", "")), str(getattr(self.function, "__qualname__", ""))
        if getattr(sys.modules.get(home[0]), home[1], None) is self:  # ``@tool``: it has taken this name
            return named, home
        return super().__reduce_ex__(protocol)

    @property
    def wire_name(self) -> str:
        """The name that is sent: services take only letters, digits, ``_`` and ``-``."""
        return wire_name(self.name)

    @property
    def schema(self) -> dict[str, Any]:
        """The tool as chat completions take it; other dialects translate it."""
        description = truncate(self.description, _MAX_DESCRIPTION)
        about = {"name": self.wire_name, "description": description, "parameters": self.parameters}
        return {"type": "function", "function": about}


def named(module: str, name: str) -> Any:
    """Return what has this name in a module, for a pickle."""
    return getattr(import_module(module), name)


def tool(
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    approve: bool = False,
) -> Any:
    """Return a function as a tool, with another name or description than its own.

    >>> chat = Chat(tools=[tool(delete_rows, approve=True)])

    The annotations are the schema of the arguments: plain types, ``Literal``, enums, dataclasses, pydantic models, and
    lists and dicts of these. The docstring describes the function, and its sections in the style of Google, NumPy or
    reST describe the arguments.
    ``approve=True`` asks the user before each call. Without ``function``, it returns a decorator. Raises ``TypeError``
    or ``ValueError`` in one line if a model cannot call the function.

    An async function runs on the event loop of the answer, and must not block it; any other one has a thread.
    """
    if name is not None and not (isinstance(name, str) and name.isprintable() and re.search(r"\w", name)):
        raise ValueError(f"{name!r} cannot be the name of a tool: use letters and digits")
    if function is None:
        return lambda one: tool(one, name=name, description=description, approve=approve)
    if isinstance(function, Tool):
        described = function.description if description is None else description
        asks = approve or function.approve
        return replace(function, name=name or function.name, description=described, approve=asks)
    if not callable(function):
        raise TypeError(f"a tool is a function, not {type(function).__name__}: give the function itself")
    from .schema import name_of, parameters_of

    own_name = name or name_of(function)
    if own_name.startswith("<"):
        raise ValueError(f"a tool needs a name, and {own_name} is not one: tool(function, name=…)")
    parameters, check, about = parameters_of(function, own_name)
    described = about if description is None else description
    return Tool(own_name, described, parameters, function, approve=approve, check=check)


def as_tools(given: Any) -> list[Any]:
    """Return functions as tools; tools, and dicts in a service's own form, stay as they are.

    ``given`` is one of these, several, or ``None``. A function that was defined again, as cells do when they run again,
    replaces the one before it. ``TypeError`` for anything else, ``ValueError`` if two tools have the same name.
    """
    tools: list[Any] = []
    for one in listed(given):
        if not isinstance(one, Tool | dict) and not callable(one):
            raise TypeError(f"a tool is a function, not {type(one).__name__}: give the function itself")
        if isinstance(one, dict) and any(map(callable, one.values())):
            raise TypeError("tools are a list of functions, not a dict of them")
        made = one if isinstance(one, Tool | dict) else tool(one)
        if isinstance(made, Tool):
            tools = [other for other in tools if not _is_same(other, made)]
        tools.append(made)
    sent = Counter(one.wire_name for one in tools if isinstance(one, Tool))
    if twice := next((name for name, count in sent.items() if count > 1), None):
        raise ValueError(f"two tools are called {twice}: give one another name with tool(function, name=…)")
    return tools


def joined(*groups: Any) -> list[Any]:
    """Return several groups as the tools of one request; a later one replaces an earlier one of the same name."""
    tools: list[Any] = []
    for group in map(as_tools, groups):
        names = {one.wire_name for one in group if isinstance(one, Tool)}
        kept = [one for one in tools if not (isinstance(one, Tool) and one.wire_name in names) and one not in group]
        tools = kept + group
    return tools


def listed(given: Any) -> list[Any]:
    """Return one tool, several or ``None`` as a list."""
    if given is None:
        return []
    is_one = isinstance(given, str | bytes | dict) or callable(given) or not isinstance(given, Iterable)
    return [given] if is_one else [*given]


def _is_same(one: Any, other: Tool) -> bool:
    """Whether two tools have the same function, or the same one defined again, under the same name."""
    return isinstance(one, Tool) and one.name == other.name and _home(one.function) == _home(other.function)


def _home(function: Any) -> tuple[Any, ...]:
    """Return what a function stays when a module, or the notebook, defines it again: its module and its name.

    Other functions and objects are only what they are. A method is that of its object.
    """
    if isinstance(function, MethodType):
        return id(function.__self__), *_home(function.__func__)
    is_at_top = isinstance(function, FunctionType) and function.__module__ and "<" not in function.__qualname__
    return (function.__module__, function.__qualname__) if is_at_top else (id(function),)


def wire_name(name: str) -> str:
    """Return the name of a tool as it is sent, the same one each time."""
    sent = re.sub(r"[^A-Za-z0-9_-]", "_", name.replace(".", "__"))
    sent = sent if re.match(r"[A-Za-z_]", sent) else f"_{sent}"
    if len(sent) > _MAX_WIRE_NAME or (sent != name and not name.isascii()):
        digest = blake2b(name.encode("utf-8", "replace"), digest_size=4).hexdigest()
        sent = f"{sent[: _MAX_WIRE_NAME - 9]}_{digest}"
    return sent
