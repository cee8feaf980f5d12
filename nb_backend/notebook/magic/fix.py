"""``%backend fix``: build the prompt about the last cell that failed.

The prompt contains the cell, the traceback, and the names that the cell uses, with their types. It contains no values
of variables except those in the source and in the exception's message, and ``***`` in place of all that may be a
secret. Of the user's code, only the ``str`` of the exceptions is called.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import linecache
import os
import re
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from traceback import format_exception_only, walk_tb
from types import CodeType
from typing import Any

from IPython.core.error import UsageError

from ... import settings
from ...media.from_object import is_of
from ...redaction import redact, secrets_in, truncate_redacted, without_home
from ...tools.type_summary import class_name, type_summary

LONGEST_CELL = 10_000  # characters
LONGEST_TRACEBACK = 6_000
_LONGEST_MESSAGE = 2_000
_MAX_NAMES = 40
_CONTEXT_LINES = 4  # before and after the failing line of another cell
_LIBRARY_FRAMES = 4  # the innermost ones
_FIRST_FRAMES, _LAST_FRAMES = 5, 10  # of the user's own code
_LIBRARIES = (os.path.dirname(os.__file__), "site-packages", "dist-packages")
_WORD = re.compile(
    r"""("{3}|'{3})[\s\S]*?\1|"(?:[^"\\\n]|\\.)*+"|'(?:[^'\\\n]|\\.)*+'|\#[^\n]*|(?P<name>[^\W\d]\w*+)"""
)
_TASK = (
    "A cell of my Jupyter notebook failed. Say in a sentence or two what went wrong. Then give the whole corrected "
    "cell as one fenced Python code block, and no other code block."
)
_CAUSED = "The above exception was the direct cause of the following exception:"
_DURING = "During handling of the above exception, another exception occurred:"


class LastFailure:
    """The last exception of one of the user's cells, and the source of that cell."""

    def __init__(self) -> None:
        self.error: BaseException | None = None  # keeps its frames alive, as sys.last_traceback does
        self.source = ""

    def note(self, result: Any, error: BaseException | None = None) -> None:
        """Store the exception of a cell that failed; ``error``, the last one shown, is for a result without one."""
        info = getattr(result, "info", None)
        error = getattr(result, "error_before_exec", None) or getattr(result, "error_in_exec", None) or error
        if isinstance(error, BaseException) and not _is_ours(error) and not getattr(info, "silent", False):
            self.error, self.source = error, getattr(info, "raw_cell", None) or ""

    def prompt(self, shell: Any, task: str = "") -> str:
        """Return the prompt about the last failure, with what is to be done; ``ValueError`` if there is none."""
        error, source = self.error, self.source
        if error is None:  # the extension was loaded after the failure
            error = getattr(sys, "last_value", None)
        if not isinstance(error, BaseException) or _is_ours(error):
            raise ValueError("there is no exception to fix: first run the cell that fails, then %backend fix")
        return _FailurePrompt(error, source, shell).text(task or _TASK)


def _is_ours(error: BaseException) -> bool:
    """Whether this is not a failure of the user's code: an interrupt, or an error of a magic about its own line."""
    is_not_code = isinstance(error, KeyboardInterrupt | asyncio.CancelledError | UsageError)
    return is_not_code or is_of(error, "nb_backend")


class _FailurePrompt:
    def __init__(self, error: BaseException, source: str, shell: Any) -> None:
        self.error = error
        self.shell = shell
        self.frames = list(walk_tb(error.__traceback__))
        cells = [frame for frame, _ in self.frames if self.cell_name(frame.f_code.co_filename)]
        self.cell = cells[0].f_code.co_filename if cells else getattr(error, "filename", None) or ""
        self.innermost = cells[-1] if cells else None
        self.source = source or "".join(linecache.getlines(self.cell) if self.cell_name(self.cell) else ())
        functions = (frame for frame, _ in self.frames if frame.f_code.co_flags & inspect.CO_OPTIMIZED)
        self.secrets = [*secrets_in(os.environ, shell.user_ns, *(dict(frame.f_locals) for frame in functions))]
        self.secrets += settings.known_keys()

    def text(self, task: str) -> str:
        """Return the prompt; it begins with what is to be done."""
        from ...markdown.elements import fenced  # imported here, as it loads the Markdown parser

        parts = [task]
        if self.source.strip():
            cell = truncate_redacted(self.source, LONGEST_CELL, self.hide).strip("\n")
            parts.append(f"The cell:\n\n{fenced(cell, 'python')}")
        traceback = self.hide("\n".join(self.exception(self.error, set())))
        shown = without_home(traceback)
        if shown != traceback:
            parts.append("In the traceback, my home directory is written as ~.")
        if len(shown) > LONGEST_TRACEBACK:
            shown = f"[… the beginning is left out]\n{shown[-LONGEST_TRACEBACK:]}"
        parts.append(f"The traceback:\n\n{fenced(shown, 'text')}")
        for title, names in self.names():
            if names:
                parts.append(f"{title}, by type:\n\n{fenced(self.hide(_listed(names)), 'text')}")
        if any("***" in part for part in parts):
            parts.append("*** stands for a secret that is not shown: leave it as it is.")
        return "\n\n".join(parts).encode("utf-8", "replace").decode("utf-8")

    def hide(self, text: str) -> str:
        """Replace the secrets in a text by ``***``."""
        return redact(text, self.secrets)

    def names(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield titles and variables: those that the cell reads, and those of the function in which it failed."""
        space = self.shell.user_ns
        yield "The names that the cell uses", {name: space[name] for name in _names(self.source) if name in space}
        frame = self.innermost
        if frame is not None and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
            yield f"The names in {frame.f_code.co_name}, where it failed", dict(frame.f_locals)

    def cell_name(self, filename: str) -> str:
        """Return the name of a cell as IPython writes it (``Cell In[3]``), or ``""`` for a file."""
        if filename.startswith("<timed "):  # the code that %%time runs
            return "The timed code"
        name = getattr(getattr(self.shell, "compile", None), "format_code_name", lambda _: None)(filename)
        return " ".join(name) if name else "A cell" if filename.startswith("<ipython-input-") else ""

    def exception(self, error: BaseException, seen: set[int]) -> Iterator[str]:
        """Yield the lines of a traceback, causes first."""
        seen.add(id(error))
        before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if before is not None and id(before) not in seen and len(seen) < 10:
            yield from self.exception(before, seen)
            yield from ("", _CAUSED if error.__cause__ else _DURING, "")
        yield from self.stack(error)
        yield from self.message(error).splitlines()
        inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
        for number, one in enumerate(inner[:5], 1):
            if id(one) not in seen and len(seen) < 10:
                yield f"  Exception {number} of the {len(inner)} in this group:"
                yield from (f"    {line}" for line in self.exception(one, seen))

    def message(self, error: BaseException) -> str:
        """Return the type of an exception, its message, its notes, and the place of a syntax error."""
        try:
            if isinstance(error, SyntaxError):
                file = f'File "{error.filename}"'
                text = "".join(format_exception_only(SyntaxError, error)).rstrip()
                return truncate_redacted(
                    text.replace(file, self.cell_name(str(error.filename)) or file), _LONGEST_MESSAGE, self.hide
                )
            message = str(error)
        except Exception:
            message = "(its message cannot be shown)"
        notes = getattr(error, "__notes__", None)
        notes = [note for note in notes[:10] if isinstance(note, str)] if isinstance(notes, list) else []
        text = "\n".join([f"{class_name(type(error))}: {message}" if message else class_name(type(error)), *notes])
        return truncate_redacted(text, _LONGEST_MESSAGE, self.hide)

    def stack(self, error: BaseException) -> Iterator[str]:
        """Yield the frames of one exception: those of the user's code, and the innermost ones of libraries."""
        frames = list(walk_tb(error.__traceback__))
        first = next((at for at, (frame, _) in enumerate(frames) if self.cell_name(frame.f_code.co_filename)), 0)
        frames = [
            found for found in frames[first:] if not str(found[0].f_globals.get("__name__")).startswith("IPython.")
        ]
        own = [at for at, (frame, _) in enumerate(frames) if self.is_own(frame.f_code)]
        has_source = {at for at, (frame, _) in enumerate(frames) if linecache.getlines(frame.f_code.co_filename)}
        libraries = sorted(has_source.difference(own))[-_LIBRARY_FRAMES:]
        shown = {*own[:_FIRST_FRAMES], *own[-_LAST_FRAMES:], *libraries}
        left_out = 0
        for at, (frame, line) in enumerate(frames):
            left_out += at not in shown
            if left_out and (at in shown or at == len(frames) - 1):
                yield f"  [… {left_out} frame{'s' * (left_out > 1)} left out]"
                left_out = 0
            if at in shown:
                yield from self.frame(frame.f_code, line or 0, _CONTEXT_LINES if at == (own or [-1])[-1] else 0)

    def frame(self, code: CodeType, line: int, around: int) -> Iterator[str]:
        """Yield the place of a frame and its line; in a cell other than the failed one, also the lines around it."""
        name = self.cell_name(code.co_filename)
        yield f"  {name or f'File {code.co_filename}'}, line {line}, in {code.co_name}"
        lines = self.lines(code.co_filename)
        if name:  # in the whole text, as a secret may have several lines
            lines = self.hide("".join(lines).rstrip("\n")).split("\n")
        if not name or code.co_filename == self.cell or not around:
            yield from (f"    {text.strip()[:300]}" for text in lines[max(0, line - 1) : line])
            return
        for number in range(max(1, line - around), min(len(lines), line + around) + 1):
            yield f"{'-->' if number == line else '   '} {number:4} {lines[number - 1].rstrip()[:300]}".rstrip()

    def lines(self, filename: str) -> list[str]:
        """Return the lines of a file, or of a cell as it was run."""
        lines = linecache.getlines(filename)
        if filename.startswith("<timed "):  # the lines below %%time, without the empty ones at the top
            lines = self.source.splitlines(keepends=True)
            return lines[next((at for at, line in enumerate(lines) if at and line.strip()), len(lines)) :]
        is_magic = filename == self.cell and lines[:1] and lines[0].startswith("get_ipython().run_cell_magic(")
        return self.source.splitlines(keepends=True) if is_magic else lines

    def is_own(self, code: CodeType) -> bool:
        """Whether code is in a cell, or in a file that is not part of a library."""
        name = code.co_filename
        return bool(self.cell_name(name)) or (os.path.isabs(name) and not any(part in name for part in _LIBRARIES))


def _names(source: str) -> list[str]:
    """Return the names that a cell reads, in order; all words that may be names if the cell is not pure Python."""
    body = re.sub(r"\A\s*%%[^\n]*\n", "", source)
    try:
        nodes = list(ast.walk(ast.parse(body)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return list(dict.fromkeys(found["name"] for found in _WORD.finditer(body) if found["name"]))
    names = [node for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store)]
    names += [node.target for node in nodes if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name)]
    return list(dict.fromkeys(name.id for name in sorted(names, key=lambda name: (name.lineno, name.col_offset))))


def _listed(names: Mapping[str, Any]) -> str:
    rest = f"\n[… {len(names) - _MAX_NAMES} more]" if len(names) > _MAX_NAMES else ""
    return "\n".join(f"{name}: {type_summary(value)}" for name, value in islice(names.items(), _MAX_NAMES)) + rest
