"""``run``: run code in the user's kernel, like a cell that is not in the history.

The variables stay. ``In``, ``Out``, ``_`` and the number of the next cell do not change, the hooks of cells are not
called, and nothing is shown in the cell that runs. A forked child ends where the code ends.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import threading
from concurrent.futures import Future, wait
from contextvars import copy_context
from functools import partial
from traceback import walk_tb
from typing import Any

from .. import background
from .calls import describe_failure
from .captured import Captured
from .shell import on_cell_thread, user_shell, without_secrets
from .tool import Tool

_DESCRIPTION = (
    "Run Python code in the kernel of the user's notebook, as a cell. Variables stay. IPython magics and shell lines "
    "work. Returns what it prints, the value of its last expression, its pictures, and the error in one line. It "
    "cannot ask for input. The user is asked before it runs, so keep it short and say what it is for."
)


async def run_code(code: str) -> Any:
    """Run code on the thread of the user's cells, and return its output: a text, or a list of it and of pictures.

    An interrupt ends the code. ``ToolFailed`` if there is no IPython, or no cell or call that waits for the answer.
    """
    return await on_cell_thread(partial(_run, user_shell(), code))


def _run(shell: Any, code: str) -> Any:
    captured, failure = Captured(shell), ""
    payloads: list[Any] = getattr(getattr(shell, "payload_manager", None), "read_payload", list)()
    before = [*payloads]
    try:
        with captured.capturing():
            try:
                _execute(shell, code, captured)
            except _CodeError as error:
                failure = str(error)
            finally:
                shell.events.trigger("post_execute")  # the inline backend of matplotlib shows its figures
    finally:
        for shown in payloads[len(before) :]:  # of the pager: ``name?``
            captured.add_bundle(shown.get("data") or {})
        payloads[:] = before
    text = "\n".join(filter(None, [captured.text.rstrip("\n"), failure]))
    return _result(without_secrets(text, shell), captured)


def _result(text: str, captured: Captured) -> Any:
    images = captured.images()
    return [*filter(None, [text]), *images] if images else text or "(it ran without an error and shows nothing)"


def _execute(shell: Any, code: str, captured: Captured) -> None:
    """Run the code; ``_CodeError`` if it fails."""
    name = ""
    try:
        cell = shell.transform_cell(code)
        with shell.builtin_trap:
            name = shell.compile.cache(cell, shell.execution_count, raw_code=code)
            nodes = shell.transform_ast(shell.compile.ast_parse(cell, filename=name)).body
            for at, node in enumerate(nodes):
                is_value = at == len(nodes) - 1 and isinstance(node, ast.Expr) and not code.rstrip().endswith(";")
                tree: Any = ast.Expression(node.value) if is_value else ast.Module([node], [])
                value = _evaluate(shell, tree, name, "eval" if is_value else "exec")
                if is_value:
                    captured.add_value(value)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _CodeError(_error_line(error, name)) from None


def _evaluate(shell: Any, tree: Any, name: str, mode: str) -> Any:
    """Run one statement; a top-level ``await`` runs in a loop of its own, as the kernel's waits for this."""
    with shell.compile.extra_flags(ast.PyCF_ALLOW_TOP_LEVEL_AWAIT if shell.autoawait else 0):
        compiled = shell.compile(tree, name, mode)
    process, failed = os.getpid(), True
    try:
        value = eval(compiled, shell.user_global_ns, shell.user_ns)  # noqa: S307  the user has consented
        value = _awaited(value) if compiled.co_flags & inspect.CO_COROUTINE else value
        failed = False
        return value
    finally:
        if os.getpid() != process:
            os._exit(failed)


def _awaited(coroutine: Any) -> Any:
    """Run a coroutine in a loop of its own, on a thread of its own, while this thread waits."""
    outcome: Future[Any] = Future()
    tasks: list[tuple[asyncio.AbstractEventLoop, Any]] = []

    async def work() -> Any:
        tasks.append((asyncio.get_running_loop(), asyncio.current_task()))
        return await coroutine

    def settle() -> None:
        try:
            outcome.set_result(asyncio.run(work()))
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=copy_context().run, args=(settle,), name="await of run", daemon=True).start()
    try:
        while not outcome.done():
            wait([outcome], background.POLL_SECONDS)
    except KeyboardInterrupt:
        for loop, task in tasks:
            loop.call_soon_threadsafe(task.cancel)
        raise
    return outcome.result()


def _error_line(error: BaseException, name: str) -> str:
    """Return the type of an exception, its message, and the line of the code that failed."""
    try:
        if isinstance(error, SyntaxError):
            return f"{type(error).__name__}: {error.msg} (line {error.lineno})"
        lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == name]
        return describe_failure(error) + (f" (line {lines[-1]})" if lines else "")
    except Exception:  # of a hostile class
        return "an exception that cannot be described"


class _CodeError(Exception):
    """The error of the code in one line."""


def _checked(arguments: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(arguments.get("code"), str) or len(arguments) != 1:
        raise ValueError("run takes one argument, code, a text")
    return arguments


run = Tool(
    name="run",
    description=_DESCRIPTION,
    parameters={
        "type": "object",
        "properties": {"code": {"type": "string", "description": "the code of a cell"}},
        "required": ["code"],
        "additionalProperties": False,
    },
    function=run_code,
    check=_checked,
    approve=True,
    scope="cell",
)
