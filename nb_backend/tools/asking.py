"""Ask the user about a call, in a cell or a terminal: the arguments are shown, and ``input`` takes the answer."""

from __future__ import annotations

import builtins
import contextvars
import json
import re
import sys
import threading
from functools import partial
from typing import Any

from .. import background, settings
from ..capture import is_captured
from ..markdown.elements import code_block, escape_line
from ..providers.tool_calls import ToolCall
from ..redaction import mask
from ..text import counted, print_safely, safe_terminal, shorten, visible
from .consent import Consent
from .tool import Tool

_MAX_QUESTIONS = 3  # until an empty answer is a no
_LONG_LINE = 200  # characters; a page may show only the first of them until it is scrolled
_YES, _NO, _ALWAYS = ("yes", "y"), ("no", "n"), ("always", "a")


async def ask_in_cell(call: ToolCall, tool: Tool, *, model: str = "", is_shown: bool = False) -> Consent | None:
    """Ask the user on the thread that runs the cell; ``None`` if nobody can be asked there.

    ``model`` is named in the question if there are several. ``is_shown``: the cell shows the arguments already.
    """
    try:
        return await background.on_user_thread(partial(_ask, call, tool, model, is_shown))
    except background.NobodyWaits:
        return None


def arguments_of(call: ToolCall, tool: Tool) -> tuple[str, str]:
    """Return all arguments of a call as a text, and its language: the code of ``run``, else JSON."""
    return asked_arguments(call, is_code=tool.scope == "cell")


def asked_arguments(call: ToolCall, *, is_code: bool) -> tuple[str, str]:
    """Return the same, with the keys masked; ``is_code``: the tool runs Python code."""
    code = call.arguments.get("code")
    if is_code and isinstance(code, str) and len(call.arguments) == 1:
        text, language = code.replace("\r\n", "\n"), "python"
    else:
        text, language = json.dumps(call.arguments, indent=2, ensure_ascii=False, default=repr), "json"
    return mask(text.encode("utf-8", "backslashreplace").decode(), settings.known_keys()), language


def arguments_block(call: ToolCall, tool: Tool) -> str:
    """Return the arguments as a block of code, in safe Markdown."""
    text, language = arguments_of(call, tool)
    return "\n".join(code_block(text, language, nested=False))


def _ask(call: ToolCall, tool: Tool, model: str, is_shown: bool) -> Consent | None:
    shell = _shell_that_asks()
    if shell is None:
        return None
    text, _ = arguments_of(call, tool)
    if not is_shown:
        _show(shell, f"{shown_name(model) if model else 'The model'} calls", tool, text, arguments_block(call, tool))
    read = getattr(getattr(shell, "kernel", None), "raw_input", builtins.input)
    prompt = question(tool, text, model)
    try:
        with background.raised_interrupts():
            for _ in range(_MAX_QUESTIONS):
                if consent := answer_of(read(prompt)):
                    return consent
                prompt = "Answer yes, no, always, or write why not: "
    except (EOFError, NotImplementedError):  # the front end takes no input
        return None
    return Consent(False, "without an answer")


def _shell_that_asks() -> Any:
    """Return the shell of IPython if somebody can be asked on this thread, else ``None``."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or threading.current_thread() is not threading.main_thread() or is_captured(shell):
        return None
    if hasattr(shell, "kernel"):
        takes_input = shell.get_parent().get("content", {}).get("allow_stdin")
        return shell if takes_input and _is_of_running_cell(shell) else None
    return shell if sys.stdin.isatty() and sys.stdout.isatty() else None


def _is_of_running_cell(shell: Any) -> bool:
    """Whether the running cell is the one that asks: a page drops questions of tasks that outlive their cell."""
    is_running = shell.displayhook.exec_result is not None or builtins.input == shell.kernel.raw_input
    parents = shell.get_parent(), contextvars.Context().run(shell.get_parent)  # of this task, of the running cell
    one, other = (parent.get("header", {}).get("msg_id") for parent in parents)
    return bool(is_running and one == other)


def _show(shell: Any, calls: str, tool: Tool, text: str, block: str) -> None:
    plain = safe_terminal(f"{calls} {shown_name(tool.name)}:\n\n{indented(text)}\n")
    if hasattr(shell, "kernel"):
        markdown = f"{escape_line(calls)} **{escape_line(shown_name(tool.name))}**:\n\n{block}"
        shell.display_pub.publish({"text/markdown": markdown, "text/plain": plain})
    else:
        print_safely(f"\n{plain}\n")


def indented(text: str) -> str:
    """Return what is asked about with all its lines indented, so that none of them looks like one of ours."""
    return "\n".join(f"    {visible(line)}" for line in text.split("\n"))


def question(tool: Tool, text: str, model: str = "") -> str:
    """Return the prompt of ``input``: our own words, the names of the tool and the model, and how long the text is."""
    lines = text.split("\n")
    sizes = [counted(len(lines), "line")] if len(lines) > 1 else []
    if (longest := max(map(len, lines))) > _LONG_LINE:
        sizes.append(f"up to {longest:,} characters in a line")
    size = f" ({', '.join(sizes)})" if sizes else ""
    who = f"{shown_name(model)} call {shown_name(tool.name)}" if model else f"the model call {shown_name(tool.name)}"
    scope = "in this run of the cell" if tool.scope == "cell" else "in this session"
    return f"Let {who}{size}? [y]es, [n]o, [a]lways {scope}, or write why not: "


def answer_of(text: str) -> Consent | None:
    """Return what the user has typed; ``None`` if it is empty. What is not a yes is a no, with its reason."""
    answer = text.strip()
    word = answer.casefold()
    if not answer:
        return None
    if word in _YES + _ALWAYS:
        return Consent(True, always=word in _ALWAYS)
    reason = "" if word in _NO else re.sub(r"^no?\s*[,:;.–—-]\s*", "", answer, flags=re.IGNORECASE)
    return Consent(False, mask(reason, settings.known_keys()))


def shown_name(name: str) -> str:
    """Return a name in which nothing looks like our own words: without spaces, quotes and hidden characters."""
    return shorten(re.sub(r"[^\w.:/-]", "_", name), 60)
