"""``%%backend``: ask a model from a cell."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from IPython import get_ipython
from IPython.core.async_helpers import _asyncio_runner
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring
from traitlets import TraitError, Unicode

from .. import settings
from ..media import to_data_uri
from .loop import run, wait_in_cell

if TYPE_CHECKING:
    from argparse import Namespace

    from ..chat import Answer
    from .commands import Report

# A question that stands alone in its cell; IPython takes a line that ends with "?" for a call for help.
_LINE = re.compile(r"\s*(?P<target>[^\W\d]\w*\s*=\s*)?%backend[ \t]+(?P<line>ask[ \t][^\n]*\?)\s*")
_CELL = re.compile(r"\s*%%backend(?=[ \t\r\n]|$)[ \t]*(?P<line>[^\n]*)\n?(?P<body>.*)", re.DOTALL)


class MagicError(ValueError):
    """A cell that cannot be asked as it stands; the message is one line and says what to do."""

    def _render_traceback_(self) -> list[str]:
        return [f"%%backend: {' '.join(str(self).split())}"]


class Setting(Unicode[Any, Any]):
    """A trait that stands for the one of ``settings.current`` with its name, whoever changes that."""

    def get(self, obj: Any, cls: Any = None) -> str | None:
        """Give what is set in this process."""
        value: str | None = getattr(settings.current, self.name or "")
        return value

    def set(self, obj: Any, value: Any) -> None:
        """Set it for this process; ``TraitError`` if it is no text, or a url that is none."""
        value = self._validate(obj, value)
        try:
            if self.name == "url" and value:
                settings.url(value)
        except ValueError as error:
            raise TraitError(str(error)) from None
        setattr(settings.current, self.name or "", value)


@magics_class
class BackendMagics(Magics):
    """Settings of ``%%backend``: ``%config BackendMagics.url = "http://localhost:8080"``; the key is no setting."""

    url = Setting(None, allow_none=True, help="The server; None: NB_BACKEND_URL, else the embedded backend.")
    model = Setting(None, allow_none=True, help="The model for a cell that names none; None: NB_BACKEND_MODEL.")
    url.tag(config=True)
    model.tag(config=True)

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self.shell: InteractiveShell = shell
        self._shown: list[Answer] = []  # in the cell that runs

    @no_var_expand
    @line_cell_magic
    @magic_arguments("%backend")
    @argument("model", nargs="?", help="the model to ask; without it, the one that is set, or the server's own choice")
    @argument(
        "-i",
        "--image",
        action="append",
        default=[],
        metavar="VARIABLE_OR_PATH",
        help="a file, or a variable that holds bytes or a path, to go along with the question; may be repeated",
    )
    @argument(
        "--raw",
        action="store_true",
        help="send {{ ... }} as typed; so it goes today in any case, and exported notebooks say it for later",
    )
    def backend(self, line: str, cell: str | None = None) -> Answer | Report:
        """Ask a model; the answer is written into the cell as it comes.

        ::

            In [1]: %load_ext nb_backend

            In [2]: %%backend gpt-3.5-turbo
               ...: Why is the sky blue?

            In [3]: _.text        # the answer, as an object: .text .reasoning .code .usage ...

        Interrupt the kernel (■, or Ctrl-C) to stop; what was said stays. The server is the one at NB_BACKEND_URL, with
        the key NB_BACKEND_API_KEY; with no url set it is the embedded backend, a small model on this machine. For this
        session alone: %backend url http://localhost:8080, %backend use MODEL, %backend key. %backend help shows more.
        """
        with _one_line_interrupt():
            return self._command(line) if cell is None else run(self.answer(line, cell))

    def _command(self, line: str) -> Answer | Report:
        from .commands import command

        verb, _, question = line.strip().partition(" ")
        if verb == "ask":
            return run(self.answer("", question))
        try:
            return command(line)
        except ValueError as error:
            raise MagicError(str(error)) from None

    async def answer(self, line: str, cell: str) -> Answer:
        """Ask what a cell says, and show the answer where the cell is."""
        from ..chat import Chat
        from .cell import show_stream, view_for

        options = self._parse(line)
        prompt = cell.removesuffix("\n")
        if not prompt.strip():
            raise MagicError("there is nothing to ask: write the question below this line")
        try:
            stream = Chat(options.model and _unquoted(options.model)).stream(
                prompt, [self._image(text) for text in options.image]
            )
            answer = await show_stream(stream, view_for(self.shell))
        except (TypeError, ValueError) as error:  # the caller's own mistakes, of all that leaves a stream
            raise MagicError(str(error)) from error
        self._shown.append(answer)
        return answer

    def keep(self, answer: Answer) -> None:
        """Make an answer the value of its cell, ``_`` and ``Out[n]``, without showing it a second time."""
        hook = self.shell.displayhook
        if hook.exec_result is not None and hook.exec_result.info.silent:
            return
        hook.update_user_ns(answer)
        hook.fill_exec_result(answer)

    def transform(self, lines: list[str]) -> list[str]:
        """Take a ``%%backend`` cell as typed, before IPython strips prompts from it, and await it where that works."""
        cell = "".join(lines)
        if found := _LINE.fullmatch(cell):
            return [f"{found['target'] or ''}get_ipython().run_line_magic('backend', {found['line']!r})\n"]
        found = _CELL.fullmatch(cell)
        if found is None:
            return lines
        call = f"({found['line'].strip()!r}, {found['body']!r});\n"
        awaits = _kernel_runs_this_cell() and self.shell.autoawait
        if awaits and self.shell.loop_runner is _asyncio_runner:
            return [f"await __import__('nb_backend').notebook.magics.ask_awaited{call}"]
        return [f"__import__('nb_backend').notebook.magics.ask{call}"]

    transform.has_side_effects = True  # type: ignore[attr-defined]

    def enter_cell(self, *_: object) -> None:
        """Begin a cell: it has shown nothing yet."""
        self._shown.clear()

    def show_once(self, answer: Answer) -> None:
        """Leave it to the other formatters to show an answer, unless this cell has shown it already."""
        if not any(shown is answer for shown in self._shown):
            raise NotImplementedError

    def _parse(self, line: str) -> Namespace:
        try:
            options: Namespace = parse_argstring(self.backend, line)
        except (UsageError, ValueError) as error:
            raise MagicError(f"{error}: see %%backend?") from None
        return options

    def _image(self, text: str) -> tuple[Any, str]:
        text = _unquoted(text)
        named = text.isidentifier() and text in self.shell.user_ns
        data, name = (self.shell.user_ns[text], text) if named else (text, os.path.basename(text))
        if hasattr(data, "savefig"):
            raise TypeError(f"{name} is a figure: {name}.savefig('{name}.png') first, and then -i {name}.png")
        return to_data_uri(data, name), name


async def ask_awaited(line: str, cell: str) -> None:
    """Run a cell of a kernel; the transformed cell awaits this."""
    magics = _loaded(get_ipython())
    with _one_line_interrupt():
        magics.keep(await wait_in_cell(magics.answer(line, cell)))


def ask(line: str, cell: str) -> None:
    """Run a cell where nothing can be awaited; the transformed cell calls this."""
    magics = _loaded(get_ipython())
    with _one_line_interrupt():
        magics.keep(run(magics.answer(line, cell)))


def load(shell: InteractiveShell) -> None:
    """Register the magics and the transformer; a second time changes nothing."""
    if _loaded(shell) is not None:
        unload(shell)
    magics = BackendMagics(shell)
    shell.register_magics(magics)
    shell.input_transformers_cleanup.insert(0, magics.transform)
    shell.events.register("pre_run_cell", magics.enter_cell)
    _display_formatter(shell).for_type("nb_backend.chat.Answer", magics.show_once)


def unload(shell: InteractiveShell) -> None:
    """Take everything away that ``load`` added."""
    magics = _loaded(shell)
    if magics is None:
        return
    shell.input_transformers_cleanup.remove(magics.transform)
    shell.events.unregister("pre_run_cell", magics.enter_cell)
    _display_formatter(shell).pop("nb_backend.chat.Answer", None)
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("backend", None)
    shell.configurables.remove(magics)
    del shell.magics_manager.registry[BackendMagics.__name__]


@contextmanager
def _one_line_interrupt() -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, asyncio.CancelledError) as interrupt:
        line = f"{type(interrupt).__name__}: stopped, and what was said is kept"
        interrupt._render_traceback_ = lambda: [line]  # type: ignore[union-attr]
        raise


def _kernel_runs_this_cell() -> bool:
    """Tell whether what is being transformed is a cell that the kernel runs, which may await.

    Whatever else transforms one (``run_cell``, ``%run``, ``%%time``; in a cell, a task or a thread) runs the code then
    and there, where a loop may be running already. ipykernel does both in ``do_execute``.
    """
    frame = sys._getframe()
    while frame.f_code is not InteractiveShell.transform_cell.__code__:
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return frame.f_back is not None and frame.f_back.f_code.co_name == "do_execute"


def _unquoted(word: str) -> str:
    """Take off the quotes that IPython leaves on the words of a line."""
    return word.strip("'\"")


def _display_formatter(shell: InteractiveShell) -> Any:
    return shell.display_formatter.ipython_display_formatter  # type: ignore[union-attr]


def _loaded(shell: InteractiveShell) -> Any:
    return shell.magics_manager.registry.get(BackendMagics.__name__)
