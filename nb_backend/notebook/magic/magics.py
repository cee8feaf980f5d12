"""``%%backend``: ask a model from a cell."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from IPython import get_ipython
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand
from IPython.display import display
from traitlets import Unicode

from ...background import run
from ...chat.cell_run import CellRun, cell_run
from ..errors import interruptible, one_line_errors, report_interrupt
from ..waiting import await_in_cell
from .options import parse, with_options
from .setting_traits import DictSetting, NumberSetting, TextSetting
from .transform import cell_to_call

if TYPE_CHECKING:
    from IPython.core.interactiveshell import ExecutionInfo, ExecutionResult

    from ...chat.answer import Answer
    from ..cell.answers import Answers
    from ..cell.attached import Attached
    from ..report import Report
    from .fix import LastFailure
    from .question import Question


_runs: dict[str, CellRun] = {}  # of the cells that are running, by their ids: one may load this anew


@magics_class
class BackendMagics(Magics):
    """Settings of ``%%backend``: ``%config BackendMagics.url = "http://localhost:8080"``; the key is no setting."""

    url = TextSetting(None, allow_none=True, help="The server; None: NB_BACKEND_URL, else the embedded backend.")
    model = TextSetting(None, allow_none=True, help="The model for a cell that names none; None: NB_BACKEND_MODEL.")
    aliases = DictSetting(Unicode(), Unicode(), help="Short names of models: {'small': 'llama3.2:1b'}.")
    max_image_side = NumberSetting(
        2048, min=1, allow_none=True, help="Pixels; a larger image is scaled down before it is sent."
    )
    max_image_bytes = NumberSetting(
        8 * 2**20, min=1, allow_none=True, help="Bytes of an image; a larger one is scaled down."
    )
    url.tag(config=True)
    model.tag(config=True)
    max_cache_bytes = NumberSetting(256 * 2**20, min=1, help="Bytes of all answers that are kept to be replayed.")
    aliases.tag(config=True)
    max_cache_bytes.tag(config=True)
    max_image_side.tag(config=True)
    max_image_bytes.tag(config=True)

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self.shell: InteractiveShell = shell
        self._shown: list[object] = []  # in the cell that runs
        self._failures: LastFailure | None = None
        self._last_error = getattr(sys, "last_value", None)

    @no_var_expand
    @line_cell_magic
    @with_options
    def backend(self, line: str, cell: str | None = None) -> Any:
        """Ask a model; the answer is written into the cell as it comes.

        ::

            In [1]: %load_ext nb_backend

            In [2]: %%backend gpt-3.5-turbo
               ...: Why is the sky blue?

            In [3]: _.text        # the answer, as an object: .text .reasoning .code .usage ...

            In [4]: %%backend -i fig
               ...: Here is {{ df }}, and a plot of it. What stands out?

            In [5]: %%backend llama3.2 gpt-4o
               ...: Both answer, side by side, and _ is the list.

        Cells make one conversation; a cell that runs again takes back what it had said, and everything after it.
        {{ expression }} in the question gives its place to the value, and a picture goes along; anything else is sent
        as it is typed.

        Interrupt the kernel (■, or Ctrl-C) to stop; what was said stays. The server is the one at NB_BACKEND_URL, with
        the key NB_BACKEND_API_KEY; with no url set it is the embedded backend, a small model on this machine. For this
        session alone: %backend url http://localhost:8080, %backend use MODEL, %backend key. %backend help shows more.
        """
        with one_line_errors():
            return self._command(line) if cell is None else self.ask(self.question(line, cell))

    def _command(self, line: str) -> Any:
        from .commands import command, verb_of

        verb, rest = verb_of(line)
        if verb == "ask":
            return self.ask(self.question("", rest))
        if verb == "fix":
            return self.ask(self.question(f"--raw {rest}", self.failures.prompt(self.shell)))
        return command(line)

    def question(self, line: str, text: str) -> Question:
        """Give what a cell asks, with the values of its expressions; this runs the user's code."""
        from .question import question

        with interruptible():
            return question(parse(line), text.removesuffix("\n"), self.shell)

    def ask(self, question: Question) -> Any:
        """Ask, wherever this is called; give what the cell is worth."""
        if question.options.dry_run:
            return self._preview(question)
        with report_interrupt(lambda: question.kept):
            return self._conclude(question, run(self._answer(question, self._attached(question))))

    async def ask_awaited(self, question: Question) -> Any:
        """Ask, from a cell of a kernel that can await."""
        if question.options.dry_run:
            return self._preview(question)
        with report_interrupt(lambda: question.kept):
            return self._conclude(question, await await_in_cell(self._answer(question, self._attached(question))))

    def _preview(self, question: Question) -> Report:
        """Show what would be sent."""
        from .dry_run import DryRun

        report = DryRun(question)
        if run := cell_run.get():
            run.was_dry_run = True
        display(report)
        self._shown.append(report)
        return report

    def _attached(self, question: Question) -> Attached | None:
        """Give what goes along, as it is shown; here, for its small pictures take their time."""
        from ..cell.attached import Attached

        return Attached(question.images) if question.images else None

    async def _answer(self, question: Question, attached: Attached | None) -> Answer | Answers:
        """Ask, and show the answer where the cell is."""
        from ..cell.attached import show_attached
        from ..cell.view import show_stream, view_for

        if question.options.models:
            return await self._answers(question, attached)
        stream = question.stream()
        try:
            await stream.prepare()
            show_attached(attached, self.shell)
            return await show_stream(stream, view_for(self.shell, question.options.format))
        finally:
            self._shown.append(stream.answer)
            if stream.kept:
                question.record_answer(stream.answer, self.shell.user_ns)

    async def _answers(self, question: Question, attached: Attached | None) -> Answers:
        """Ask several models, and show the answers where the cell is."""
        from ..cell.attached import show_attached
        from ..cell.view import view_for
        from .several import MultiModelRun

        several = MultiModelRun(question)
        self._shown += [several.answers, *several.answers]
        show_attached(attached, self.shell)
        view = view_for(self.shell, question.options.format, several.answers.models)
        return await several.show(view, self.shell.user_ns)

    def _conclude(self, question: Question, answer: Answer | Answers) -> Any:
        """Give what the cell is worth, in the format that it asks for."""
        from .several import value_of_cell

        value = value_of_cell(answer, question.options, self.shell)
        if question.options.out:
            self.shell.user_ns[question.options.out] = value
        return value

    def set_cell_result(self, value: Any) -> None:
        """Make this the value of its cell, ``_`` and ``Out[n]``, without showing it a second time."""
        hook = self.shell.displayhook
        if hook.exec_result is not None and hook.exec_result.info.silent:
            return
        hook.update_user_ns(value)
        hook.fill_exec_result(value)

    def transform(self, lines: list[str]) -> list[str]:
        """Take a ``%%backend`` cell as it was typed."""
        return cell_to_call(lines, self.shell)

    transform.has_side_effects = True  # type: ignore[attr-defined]

    def on_pre_run_cell(self, info: ExecutionInfo) -> None:
        """Begin a cell: it has shown nothing yet, and what it asks is one thing to take back when it runs again."""
        self._shown.clear()
        if not info.cell_id:  # what a cell runs by itself, by ``run_cell``, has none, and is a part of it
            return
        _runs[info.cell_id] = CellRun(info.cell_id)
        cell_run.set(_runs[info.cell_id])
        if (conversations := sys.modules.get("nb_backend.chat.named_chats")) is not None:
            for cell in _deleted_cells(self.shell):
                conversations.chats.forget(cell)

    def on_post_run_cell(self, result: ExecutionResult | None) -> None:
        """End a cell: what an earlier run of it had said is taken back, and ``%backend fix`` can ask how it failed."""
        _spare_from_autoreload(self.shell)
        if result is not None and result.info is not None and result.info.cell_id:
            cell_run.set(None)  # the kernel's own context may be where the next cell runs, one without an id
            conversations = sys.modules.get("nb_backend.chat.named_chats")
            # a blank cell was never entered
            run = _runs.pop(result.info.cell_id, None) or CellRun(result.info.cell_id)
            if result.success and not run.was_dry_run and conversations is not None:
                conversations.chats.take_back(run)
        error = getattr(sys, "last_value", None)
        if error is not self._last_error:
            self._last_error = error
            self.failures.note(result, error)

    @property
    def failures(self) -> LastFailure:
        """What failed last; it is looked at only once something has."""
        from .fix import LastFailure

        self._failures = self._failures or LastFailure()
        return self._failures

    def skip_if_shown(self, value: object) -> None:
        """Leave it to the other formatters to show something, unless this cell has shown it already."""
        if not any(shown is value for shown in self._shown):
            raise NotImplementedError


async def ask_awaited(line: str, cell: str) -> None:
    """Run a cell of a kernel; the transformed cell awaits this."""
    magics = _loaded(get_ipython())
    with one_line_errors():
        magics.set_cell_result(await magics.ask_awaited(magics.question(line, cell)))


def ask(line: str, cell: str) -> None:
    """Run a cell where nothing can be awaited; the transformed cell calls this."""
    magics = _loaded(get_ipython())
    with one_line_errors():
        magics.set_cell_result(magics.ask(magics.question(line, cell)))


def _spare_from_autoreload(shell: InteractiveShell) -> None:
    """Have ``%autoreload``, where it is loaded, leave this package alone, which may be updated while it runs.

    Reloaded, it would forget the key and the conversations, and start a second loop beside that of open panels.
    """
    if shell.find_line_magic("aimport") is not None:
        ours = [name for name in [*sys.modules] if name.partition(".")[0] == "nb_backend"]
        shell.run_line_magic("aimport", ",".join(f"-{name}" for name in ours))


def _deleted_cells(shell: InteractiveShell) -> list[str]:
    """Give the ids of cells that are gone since the last run, where the front end tells: JupyterLab and Notebook do."""
    if not hasattr(shell, "get_parent"):
        return []
    deleted = shell.get_parent().get("metadata", {}).get("deletedCells")
    return [cell for cell in deleted if isinstance(cell, str)] if isinstance(deleted, list) else []


def _loaded(shell: InteractiveShell) -> Any:
    return shell.magics_manager.registry.get(BackendMagics.__name__)
