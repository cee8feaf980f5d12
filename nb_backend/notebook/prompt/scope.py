"""The names that a prompt can use: those that the code sees in which the magic is called."""

from __future__ import annotations

import inspect
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_MAGIC_CALLS = frozenset({"run_line_magic", "run_cell_magic", "magic"})  # methods of the shell, which may override them


def prompt_names(shell: InteractiveShell, names: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the names that the expressions of a prompt can use: by default the user's variables.

    It is a copy: ``In`` holds the cells as typed, and what an expression assigns (``:=``) is for the others of its
    prompt.
    """
    return {**(shell.user_ns if names is None else names), "In": shell.history_manager.input_hist_raw}  # type: ignore[union-attr]


def names_of_caller(shell: InteractiveShell) -> dict[str, Any]:
    """Return the names that the caller of the running magic sees, with their values; a copy.

    At the top of a cell these are the user's variables. Inside a function they are its own variables, those of the
    functions around it, and its globals: the inner ones hide the outer ones, also if they have no value yet. (IPython's
    ``needs_local_scope`` passes only the first of these, and nothing to a cell magic.)
    """
    frame = inspect.currentframe()
    while frame is not None and not _is_magic_call(frame, shell):
        frame = frame.f_back
    while frame is not None and _is_magic_call(frame, shell):
        frame = frame.f_back
    names = {**shell.user_ns}
    if frame is not None:
        if frame.f_globals is not shell.user_ns:
            names |= frame.f_globals
        for scope in reversed(_scopes(frame)):
            _add_locals(names, scope)
    return names


def _is_magic_call(frame: FrameType, shell: InteractiveShell) -> bool:
    return frame.f_code.co_name in _MAGIC_CALLS and frame.f_locals.get("self") is shell


def _scopes(frame: FrameType) -> list[FrameType]:
    """Return the frame, and those of the functions around its code that are running, from inside to outside.

    A comprehension, a lambda and a nested function are constants of the code around them.
    """
    scopes, outer = [frame], frame.f_back
    while outer is not None:
        code = scopes[-1].f_code
        if any(constant is code for constant in outer.f_code.co_consts):
            scopes.append(outer)
        outer = outer.f_back
    return scopes


def _add_locals(names: dict[str, Any], frame: FrameType) -> None:
    code, found = frame.f_code, dict(frame.f_locals)
    if code.co_flags & inspect.CO_OPTIMIZED:  # a function: its variables without a value hide those outside
        for name in (*code.co_varnames, *code.co_cellvars, *code.co_freevars):
            names.pop(name, None)
    names |= found
