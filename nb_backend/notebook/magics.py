"""``%%backend``: ask a model from a cell."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from IPython import get_ipython
from IPython.core.async_helpers import _asyncio_runner
from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring

from ..media import to_data_uri
from .loop import run, wait_in_cell

if TYPE_CHECKING:
    from argparse import Namespace

    from IPython.core.interactiveshell import InteractiveShell

    from ..chat import Answer

_CELL = re.compile(r"\s*%%backend(?=[ \t\r\n]|$)[ \t]*(?P<line>[^\n]*)\n?(?P<body>.*)", re.DOTALL)


class MagicError(ValueError):
    """A cell that cannot be asked as it stands; the message is one line and says what to do."""

    def _render_traceback_(self) -> list[str]:
        return [f"%%backend: {self}"]


@magics_class
class BackendMagics(Magics):
    """The magics of this extension, and what they know of the cells."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self.shell: InteractiveShell = shell
        self._depth = 0  # of cells that run within cells
        self._shown: list[Answer] = []  # in the cell that runs

    @no_var_expand
    @cell_magic
    @magic_arguments("%backend")
    @argument("model", nargs="?", help="the model to ask; without it, the one that is set, or the server's own choice")
    @argument(
        "-i",
        "--image",
        action="append",
        default=[],
        metavar="EXPR_OR_PATH",
        help="a file, or a variable that holds bytes or a path, to go along with the question; may be repeated",
    )
    def backend(self, line: str, cell: str) -> Answer:
        """Ask a model; the answer is written into the cell as it comes.

        ::

            In [1]: %load_ext nb_backend

            In [2]: %%backend gpt-3.5-turbo
               ...: Why is the sky blue?

            In [3]: _.text        # the answer, as an object: .text .reasoning .code .usage ...

        Interrupt the kernel (■, or Ctrl-C) to stop; what was said stays. The server is the one at NB_BACKEND_URL, with
        the key NB_BACKEND_API_KEY; with no url set it is the embedded backend, a small model on this machine.
        """
        with _one_line_interrupt():
            return run(self.answer(line, cell))

    async def answer(self, line: str, cell: str) -> Answer:
        """Ask what a cell says, and show the answer where the cell is."""
        from ..chat import Chat
        from .cell import show_stream, view_for

        options = self._parse(line)
        prompt = cell.removesuffix("\n")
        if not prompt.strip():
            raise MagicError("there is nothing to ask: write the question below this line")
        try:
            stream = Chat(options.model).stream(prompt, [self._image(text) for text in options.image])
        except (TypeError, ValueError) as error:
            raise MagicError(str(error)) from None
        answer = await show_stream(stream, view_for(self.shell))
        self._shown.append(answer)
        return answer

    def keep(self, answer: Answer) -> None:
        """Make an answer the value of its cell, ``_`` and ``Out[n]``, without showing it a second time."""
        hook = self.shell.displayhook
        hook.update_user_ns(answer)
        hook.fill_exec_result(answer)

    def transform(self, lines: list[str]) -> list[str]:
        """Take a ``%%backend`` cell as typed, before IPython strips prompts from it, and await it where that works."""
        found = _CELL.fullmatch("".join(lines))
        if found is None:
            return lines
        call = f"({found['line'].strip()!r}, {found['body']!r});\n"
        awaits = self._depth == 0 and hasattr(self.shell, "kernel") and self.shell.autoawait
        if awaits and self.shell.loop_runner is _asyncio_runner:
            return [f"await __import__('nb_backend').notebook.magics.ask_awaited{call}"]
        return [f"__import__('nb_backend').notebook.magics.ask{call}"]

    transform.has_side_effects = True  # type: ignore[attr-defined]

    def enter_cell(self, *_: object) -> None:
        """Count a cell that begins."""
        self._depth += 1
        self._shown.clear()

    def leave_cell(self, *_: object) -> None:
        """Count a cell that ended."""
        self._depth = max(0, self._depth - 1)

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
        text = text.strip("'\"")
        named = text.isidentifier() and text in self.shell.user_ns
        data, name = (self.shell.user_ns[text], text) if named else (text, os.path.basename(text))
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
    """Register the magics, the transformer and the counters of cells; a second time changes nothing."""
    if _loaded(shell) is not None:
        unload(shell)
    magics = BackendMagics(shell)
    shell.register_magics(magics)
    shell.input_transformers_cleanup.insert(0, magics.transform)
    shell.events.register("pre_run_cell", magics.enter_cell)
    shell.events.register("post_run_cell", magics.leave_cell)
    _display_formatter(shell).for_type("nb_backend.chat.Answer", magics.show_once)


def unload(shell: InteractiveShell) -> None:
    """Take everything away that ``load`` added."""
    magics = _loaded(shell)
    if magics is None:
        return
    shell.input_transformers_cleanup.remove(magics.transform)
    shell.events.unregister("pre_run_cell", magics.enter_cell)
    shell.events.unregister("post_run_cell", magics.leave_cell)
    _display_formatter(shell).pop("nb_backend.chat.Answer", None)
    shell.magics_manager.magics["cell"].pop("backend", None)
    del shell.magics_manager.registry[BackendMagics.__name__]


@contextmanager
def _one_line_interrupt() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as interrupt:
        interrupt._render_traceback_ = lambda: ["KeyboardInterrupt: stopped, and what was said is kept"]  # type: ignore[attr-defined]
        raise


def _display_formatter(shell: InteractiveShell) -> Any:
    return shell.display_formatter.ipython_display_formatter  # type: ignore[union-attr]


def _loaded(shell: InteractiveShell) -> Any:
    return shell.magics_manager.registry.get(BackendMagics.__name__)
