"""``%backend fix``: what a model is asked about the cell that failed last.

The question holds the cell, the traceback, and the names that the cell uses with their types. It never holds what a
variable holds, beyond what the source and the exception's message say; and what may be a secret stands as ``***``.
Nothing of the user's is called for it but the ``str`` of the exceptions.
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
from ..prompt.type_summary import class_name, type_summary

LONGEST_CELL = 10_000  # characters
LONGEST_TRACEBACK = 6_000
_LONGEST_MESSAGE = 2_000
_MOST_NAMES = 40
_AROUND = 4  # lines shown before and after the failing line of another cell
_LIBRARY_FRAMES = 4
_OWN_FRAMES = 5, 10  # at the beginning and the end
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
    """The exception that a cell of the user's raised last, and that cell's source."""

    def __init__(self) -> None:
        self.error: BaseException | None = None  # with its frames, which IPython keeps as well, in sys.last_traceback
        self.source = ""

    def note(self, result: Any, error: BaseException | None = None) -> None:
        """Take note of how a cell ended; ``error`` is the last that was shown, which the result need not have."""
        info = getattr(result, "info", None)
        error = getattr(result, "error_before_exec", None) or getattr(result, "error_in_exec", None) or error
        if isinstance(error, BaseException) and not _is_ours(error) and not getattr(info, "silent", False):
            self.error, self.source = error, getattr(info, "raw_cell", None) or ""

    def prompt(self, shell: Any) -> str:
        """Give the text to ask a model; ``ValueError`` if nothing failed."""
        error, source = self.error, self.source
        if error is None:  # the extension was loaded after the failure
            error = getattr(sys, "last_value", None)
        if not isinstance(error, BaseException) or _is_ours(error):
            raise ValueError("there is no exception to fix: run the cell that fails first, then %backend fix")
        return _Question(error, source, shell).text()


def _is_ours(error: BaseException) -> bool:
    """Tell whether this is no failure of the user's code: an interrupt, or what a magic says about its own line."""
    stopped = isinstance(error, KeyboardInterrupt | asyncio.CancelledError | UsageError)
    return stopped or is_of(error, "nb_backend")


class _Question:
    def __init__(self, error: BaseException, source: str, shell: Any) -> None:
        self.error = error
        self.shell = shell
        self.frames = list(walk_tb(error.__traceback__))
        cells = [frame for frame, _ in self.frames if self.cell_name(frame.f_code.co_filename)]
        self.cell = cells[0].f_code.co_filename if cells else getattr(error, "filename", None) or ""
        self.innermost = cells[-1] if cells else None
        self.source = source or "".join(linecache.getlines(self.cell) if self.cell_name(self.cell) else ())
        functions = (frame for frame, _ in self.frames if frame.f_code.co_flags & inspect.CO_OPTIMIZED)
        self.known = [*secrets_in(os.environ, shell.user_ns, *(dict(frame.f_locals) for frame in functions))]
        self.known.append((settings.current.api_key or "").strip())

    def text(self) -> str:
        """Put the question together."""
        from ...markdown.elements import fenced  # not before it is needed: it takes the Markdown parser along

        parts = [_TASK]
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
            parts.append("What stands as *** is a secret that is not shown: leave it as it is.")
        return "\n\n".join(parts).encode("utf-8", "replace").decode("utf-8")

    def hide(self, text: str) -> str:
        """Take the secrets out of a text."""
        return redact(text, self.known)

    def names(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Give what the failing cell reads, and what the function it failed in has."""
        space = self.shell.user_ns
        yield "The names that the cell uses", {name: space[name] for name in _names(self.source) if name in space}
        frame = self.innermost
        if frame is not None and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
            yield f"The names in {frame.f_code.co_name}, where it failed", dict(frame.f_locals)

    def cell_name(self, filename: str) -> str:
        """Name a cell as the notebook does; ``""`` for a file that is none."""
        if filename.startswith("<timed "):  # what %%time runs: it is nowhere but in the cell
            return "The timed code"
        name = getattr(getattr(self.shell, "compile", None), "format_code_name", lambda _: None)(filename)
        return " ".join(name) if name else "A cell" if filename.startswith("<ipython-input-") else ""

    def exception(self, error: BaseException, seen: set[int]) -> Iterator[str]:
        """Give the lines of a traceback, causes first."""
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
        """Give the type of an exception, what it says, its notes, and where the syntax is wrong."""
        try:
            if isinstance(error, SyntaxError):
                file = f'File "{error.filename}"'
                text = "".join(format_exception_only(SyntaxError, error)).rstrip()
                return truncate_redacted(
                    text.replace(file, self.cell_name(str(error.filename)) or file), _LONGEST_MESSAGE, self.hide
                )
            said = str(error)
        except Exception:
            said = "(its message cannot be shown)"
        notes = getattr(error, "__notes__", None)
        notes = [note for note in notes[:10] if isinstance(note, str)] if isinstance(notes, list) else []
        text = "\n".join([f"{class_name(type(error))}: {said}" if said else class_name(type(error)), *notes])
        return truncate_redacted(text, _LONGEST_MESSAGE, self.hide)

    def stack(self, error: BaseException) -> Iterator[str]:
        """Give the frames of one exception: those in cells with their lines, the innermost of the libraries'."""
        frames = list(walk_tb(error.__traceback__))
        first = next((at for at, (frame, _) in enumerate(frames) if self.cell_name(frame.f_code.co_filename)), 0)
        frames = [
            found for found in frames[first:] if not str(found[0].f_globals.get("__name__")).startswith("IPython.")
        ]
        own = [at for at, (frame, _) in enumerate(frames) if self.is_own(frame.f_code)]
        read = {at for at, (frame, _) in enumerate(frames) if linecache.getlines(frame.f_code.co_filename)}
        libraries = sorted(read.difference(own))[-_LIBRARY_FRAMES:]
        shown = {*own[: _OWN_FRAMES[0]], *own[-_OWN_FRAMES[1] :], *libraries}
        left_out = 0
        for at, (frame, line) in enumerate(frames):
            left_out += at not in shown
            if left_out and (at in shown or at == len(frames) - 1):
                yield f"  [… {left_out} frame{'s' * (left_out > 1)} left out]"
                left_out = 0
            if at in shown:
                yield from self.frame(frame.f_code, line or 0, _AROUND if at == (own or [-1])[-1] else 0)

    def frame(self, code: CodeType, line: int, around: int) -> Iterator[str]:
        """Give where a frame is, and its line; in another cell than the one that failed, lines around it, too."""
        name = self.cell_name(code.co_filename)
        yield f"  {name or f'File {code.co_filename}'}, line {line}, in {code.co_name}"
        lines = self.lines(code.co_filename)
        if name:  # a secret of several lines is known by its first
            lines = self.hide("".join(lines).rstrip("\n")).split("\n")
        if not name or code.co_filename == self.cell or not around:
            yield from (f"    {text.strip()[:300]}" for text in lines[max(0, line - 1) : line])
            return
        for number in range(max(1, line - around), min(len(lines), line + around) + 1):
            yield f"{'-->' if number == line else '   '} {number:4} {lines[number - 1].rstrip()[:300]}".rstrip()

    def lines(self, filename: str) -> list[str]:
        """Give the lines of a file, or of a cell as they ran."""
        lines = linecache.getlines(filename)
        if filename.startswith("<timed "):  # below %%time, without the empty lines at its top
            lines = self.source.splitlines(keepends=True)
            return lines[next((at for at, line in enumerate(lines) if at and line.strip()), len(lines)) :]
        is_magic = filename == self.cell and lines[:1] and lines[0].startswith("get_ipython().run_cell_magic(")
        return self.source.splitlines(keepends=True) if is_magic else lines

    def is_own(self, code: CodeType) -> bool:
        """Tell whether code is in a cell, or in a file of the user's own."""
        name = code.co_filename
        return bool(self.cell_name(name)) or (os.path.isabs(name) and not any(part in name for part in _LIBRARIES))


def _names(source: str) -> list[str]:
    """Give the names that a cell reads, in order; of one that is no Python alone, all words that may be names."""
    body = re.sub(r"\A\s*%%[^\n]*\n", "", source)
    try:
        nodes = list(ast.walk(ast.parse(body)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return list(dict.fromkeys(found["name"] for found in _WORD.finditer(body) if found["name"]))
    names = [node for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store)]
    names += [node.target for node in nodes if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name)]
    return list(dict.fromkeys(name.id for name in sorted(names, key=lambda name: (name.lineno, name.col_offset))))


def _listed(names: Mapping[str, Any]) -> str:
    rest = f"\n[… {len(names) - _MOST_NAMES} more]" if len(names) > _MOST_NAMES else ""
    return "\n".join(f"{name}: {type_summary(value)}" for name, value in islice(names.items(), _MOST_NAMES)) + rest
