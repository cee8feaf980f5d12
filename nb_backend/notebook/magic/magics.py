"""``%%backend``: ask a model from a cell."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections import deque
from typing import TYPE_CHECKING, Any

from IPython import get_ipython
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand
from IPython.display import display
from traitlets import Unicode

from ...capture import in_output_widget
from ...chat.cell_run import CellRun, cell_run
from ..errors import interruptible, one_line_errors, report_interrupt
from ..outputs import place
from ..waiting import Wait, await_in_cell, block_cell, run_without_loop
from .line import refuse_key
from .options import parse, with_options
from .setting_traits import DictSetting, FlagSetting, NumberSetting, SecondsSetting, TextSetting
from .transform import cell_to_call

if TYPE_CHECKING:
    from IPython.core.interactiveshell import ExecutionInfo, ExecutionResult

    from ...chat.answer import Answer
    from ...chat.stream import AnswerStream
    from ..cell.answers import Answers
    from ..cell.attached import Attached
    from ..report import Report
    from .fix import LastFailure
    from .question import Question


# Seconds between an answer in an ``ipywidgets.Output`` and the end of its cell. nbclient sends a message for each
# output there; if the cell's reply arrives at the same time, nbclient misses the reply and waits for ever.
_WIDGET_PAUSE = 0.2
_running: dict[str, CellRun] = {}  # by cell id; outside of the magics, as a running cell may load them anew


@magics_class
class BackendMagics(Magics):
    """Settings of ``%%backend``, except the key: ``%config BackendMagics.url = "http://localhost:8080"``."""

    url = TextSetting(
        None, allow_none=True, help="The server or a service; None: NB_BACKEND_URL, else the embedded backend."
    )
    api = TextSetting(None, allow_none=True, help="The dialect of the url; None: NB_BACKEND_API, else by the url.")
    model = TextSetting(None, allow_none=True, help="The model for a cell that names none; None: NB_BACKEND_MODEL.")
    aliases = DictSetting(Unicode(), Unicode(), help="Short names of models: {'small': 'llama3.2:1b'}.")
    max_image_side = NumberSetting(
        2048, min=1, allow_none=True, help="Pixels; a larger image is scaled down before it is sent."
    )
    max_image_bytes = NumberSetting(
        8 * 2**20, min=1, allow_none=True, help="Bytes; a larger image is scaled down before it is sent."
    )
    max_cache_bytes = NumberSetting(256 * 2**20, min=1, help="Bytes of all answers in the cache.")
    connect_timeout = SecondsSetting(None, allow_none=True, help="Seconds until a connection is open; None: 10.")
    idle_timeout = SecondsSetting(
        None, allow_none=True, help="Seconds without data after which an answer fails; None: 120."
    )
    tools = FlagSetting(True, help="Whether models may call tools; NB_BACKEND_TOOLS=0 turns them off in any case.")
    for trait in (url, api, model, aliases, max_image_side, max_image_bytes, max_cache_bytes, connect_timeout):
        trait.tag(config=True)
    idle_timeout.tag(config=True)
    tools.tag(config=True)
    del trait

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self.shell: InteractiveShell = shell
        self._shown_in_cell: deque[tuple[object, object]] = deque(maxlen=100)  # where, and what
        self._failures: LastFailure | None = None
        self._last_error = getattr(sys, "last_value", None)

    @no_var_expand
    @line_cell_magic
    @with_options
    def backend(self, line: str, cell: str | None = None) -> Any:
        """Ask a model; the answer streams into the output of the cell.

        ::

            In [1]: %load_ext nb_backend

            In [2]: %%backend gpt-3.5-turbo
               ...: Why is the sky blue?

            In [3]: _.text        # the answer is an object: .text .reasoning .code .usage ...

            In [4]: %%backend -i fig
               ...: Here is {{ df }}, and a plot of it. What stands out?

            In [5]: %%backend llama3.2, gpt-4o
               ...: Both answer, side by side, and _ is the list of their answers.

            In [6]: %backend Why is the sky blue?

        The cells continue one chat. When a cell runs again, the chat first goes back to what it was before that cell.
        {{ expression }} in the prompt is replaced by its value; a value that is a picture is attached. All other text
        is sent as typed.

        On the line, # begins a comment, and a text or a name with spaces goes in quotes: -s "Be brief". Several models
        are asked only if the server lists each of them or, if it lists none, if each looks like the name of a model.

        Interrupt the kernel (■, or Ctrl-C) to stop; the text so far is kept. The server is the one at NB_BACKEND_URL,
        with the key NB_BACKEND_API_KEY; without a url it is the embedded backend, a small model on this machine. A
        service is named before its model, %%backend anthropic:claude-sonnet-5, and gets the key of its own variable,
        ANTHROPIC_API_KEY: %backend services lists them. For this session only: %backend url http://localhost:8080,
        %backend use MODEL, %backend key. %backend help lists all commands.
        """
        with one_line_errors():
            return self._command(line) if cell is None else self._ask_here(line, cell)

    def _command(self, line: str) -> Any:
        from .commands import command, known_verbs
        from .verbs import is_prompt, verb_of

        verb, rest = verb_of(line)
        if verb == "ask":
            return self._ask_here("", rest)
        if verb == "fix":
            return self._fix(f"--raw {rest}")
        if is_prompt(line, known_verbs()):
            refuse_key(line)
            return self._ask_here("", line)
        if verb == "continue":
            return self._continue(rest)
        return command(line)

    def _fix(self, line: str) -> Any:
        """Ask about the last failure of a cell."""
        from ..prompt.scope import names_of_caller
        from .fix_until import FixOptions, task, with_tools
        from .question import question

        names = names_of_caller(self.shell)
        options = parse(line, FixOptions, trust_one=False)
        prompt = self.failures.prompt(self.shell, task(options.until) if options.until else "")
        with interruptible():
            asked = question(options, prompt, self.shell, names)
        return run_without_loop(self.ask(with_tools(asked, options.until) if options.until else asked, block_cell))

    def _continue(self, line: str) -> Any:
        """Continue the last answer of the chat that the options name, with the model that gave it."""
        from .question import continuing

        question = continuing(parse(line, trust_one=False), self.shell)
        return run_without_loop(self.ask(question, block_cell))

    def question(self, line: str, text: str, names: dict[str, Any] | None = None, trust_one: bool = True) -> Question:
        """Return what a cell asks, after evaluating its expressions with these names: this runs the user's code.

        ``trust_one`` is that of ``parse``.
        """
        from .question import question

        with interruptible():
            return question(parse(line, trust_one=trust_one), text.removesuffix("\n"), self.shell, names)

    def _ask_here(self, line: str, text: str, trust_one: bool = True) -> Any:
        """Ask where the magic is called, perhaps inside a function, with the names that the code there sees."""
        from ..prompt.scope import names_of_caller

        question = self.question(line, text, names_of_caller(self.shell), trust_one)
        return run_without_loop(self.ask(question, block_cell))

    async def ask(self, question: Question, wait: Wait) -> Any:
        """Ask, and return the value of the cell; ``wait`` says how to wait for the background loop."""
        with report_interrupt(question):
            if question.options.models or question.options.unsure or question.options.like_service:
                from .several import check_models

                await wait(check_models(question))
            if question.options.dry_run:
                return self._preview(question)
            return self._value_of_cell(question, await wait(self._answer(question, self._attached(question))))

    def _preview(self, question: Question) -> Report:
        """Show what would be sent."""
        from .dry_run import DryRun

        report = DryRun(question)
        if run := cell_run.get():
            run.was_dry_run = True
        display(report)
        self._note_shown(report)
        return report

    def _attached(self, question: Question) -> Attached | None:
        """Return the attachments to show. Their thumbnails take time, so this is not for the background loop."""
        from ..cell.attached import Attached

        return Attached(question.images) if question.images else None

    async def _answer(self, question: Question, attached: Attached | None) -> Answer | Answers:
        """Ask one model or several, and show the answers in the cell."""
        ask: Any = self._ask_several if question.options.models else self._ask_one
        answer: Answer | Answers = await ask(question, attached)
        if in_output_widget(self.shell):
            await asyncio.sleep(_WIDGET_PAUSE)
        return answer

    async def _ask_one(self, question: Question, attached: Attached | None) -> Answer:
        """Ask one model, and once more if its answer does not fit the schema."""
        stream = question.stream()
        await self._show(question, stream, attached)
        if (retry := question.retry(stream)) is not None:
            stream = retry.stream()
            await self._show(retry, stream, None)
        return stream.answer

    async def _show(self, question: Question, stream: AnswerStream, attached: Attached | None) -> None:
        from ..cell.attached import show_attached
        from ..cell.taken_back import mark_if_taken_back
        from ..cell.view import show_stream, view_for
        from ..hints import hints_for

        view = None
        try:
            await stream.prepare()
            show_attached(attached, self.shell)
            question.shown = True
            view = view_for(self.shell, question.options.format, prompt=question.filled_in, hints=hints_for(stream))
            await show_stream(stream, view, check=question.check)
        finally:
            self._note_shown(stream.answer)
            if stream.kept:
                question.record_answer(stream.answer, self.shell.user_ns)
                mark_if_taken_back(question.chat, stream.turn, view)

    async def _ask_several(self, question: Question, attached: Attached | None) -> Answers:
        from ..cell.attached import show_attached
        from ..cell.view import view_for
        from .several import MultiModelRun

        several = MultiModelRun(question)
        self._note_shown(several.answers, *several.answers)
        show_attached(attached, self.shell)
        question.shown = True
        view = view_for(self.shell, question.options.format, several.models)
        answers = await several.show(view, self.shell.user_ns)
        if (retry := several.retry()) is not None:
            view = view_for(self.shell, question.options.format, retry.models)
            await retry.show(view, self.shell.user_ns)
        return answers

    def _value_of_cell(self, question: Question, answer: Answer | Answers) -> Any:
        """Return the value of the cell in the format it asks for, and store it in the variable of ``--out``."""
        from .several import value_of_cell

        value = value_of_cell(answer, question, self.shell)
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
        """Rewrite a ``%%backend`` cell before IPython changes its text."""
        return cell_to_call(lines, self.shell)

    transform.has_side_effects = True  # type: ignore[attr-defined]

    def on_pre_run_cell(self, info: ExecutionInfo) -> None:
        """Begin a cell run: all that the cell asks belongs to it, and a re-run of the cell takes it back."""
        self._shown_in_cell.clear()
        if not info.cell_id:  # a cell that a cell runs by ``run_cell`` has no id, and belongs to the outer one
            return
        # This list starts with an empty cell 0 and does not have the new cell yet.
        number = len(self.shell.history_manager.input_hist_parsed)  # type: ignore[union-attr]
        _running[info.cell_id] = CellRun(info.cell_id, number if info.store_history else None)
        cell_run.set(_running[info.cell_id])
        if (named_chats := sys.modules.get("nb_backend.chat.named_chats")) is not None:
            for cell in _deleted_cells(self.shell):
                named_chats.chats.forget(cell)

    def on_post_run_cell(self, result: ExecutionResult | None) -> None:
        """End a cell run: take back the turns of its earlier runs, and note a failure for ``%backend fix``."""
        _exclude_from_autoreload(self.shell)
        if result is not None and result.info is not None and result.info.cell_id:
            cell_run.set(None)  # a next cell without an id may run in the same context
            named_chats = sys.modules.get("nb_backend.chat.named_chats")
            # pre_run_cell is not called for an empty cell
            run = _running.pop(result.info.cell_id, None) or CellRun(result.info.cell_id)
            if result.success and not run.was_dry_run and named_chats is not None:
                named_chats.chats.take_back(run)
        error = getattr(sys, "last_value", None)
        if error is not self._last_error:
            self._last_error = error
            self.failures.note(result, error)

    @property
    def failures(self) -> LastFailure:
        """The last failure of a cell; its module is loaded only after a failure."""
        from .fix import LastFailure

        self._failures = self._failures or LastFailure()
        return self._failures

    def _note_shown(self, *values: object) -> None:
        """Note values that the cell, or an ``ipywidgets.Output``, shows."""
        where = place(self.shell)
        self._shown_in_cell.extend((where, value) for value in values)

    def skip_if_shown(self, value: object) -> None:
        """Display nothing if this cell has shown the value already; ``NotImplementedError`` leaves it to IPython.

        It is displayed in an ``ipywidgets.Output`` that does not show it yet, and where it was cleared away.
        """
        where = place(self.shell)
        shown = any(one is value and at == where for at, one in self._shown_in_cell)
        if not shown or _is_for_a_widget():
            raise NotImplementedError


def loaded_magics(shell: InteractiveShell) -> Any:
    """Return the ``BackendMagics`` that a shell has loaded, or ``None``."""
    return shell.magics_manager.registry.get(BackendMagics.__name__)


async def ask_awaited(line: str, cell: str, wait: Wait = await_in_cell) -> None:
    """Run a cell of a kernel; the rewritten cell awaits this."""
    magics = loaded_magics(get_ipython())
    with one_line_errors():
        magics.set_cell_result(await magics.ask(magics.question(line, cell), wait))


def ask(line: str, cell: str) -> None:
    """Run a cell where nothing can be awaited; the rewritten cell calls this."""
    run_without_loop(ask_awaited(line, cell, block_cell))


def _is_for_a_widget() -> bool:
    """Whether the value is formatted for ``Output.append_display_data``, which shows it wherever the widget is."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_name != "append_display_data":
        frame = frame.f_back
    return frame is not None


def _exclude_from_autoreload(shell: InteractiveShell) -> None:
    """Exclude this package from ``%autoreload``, if that is loaded: the package may be updated while a kernel runs.

    A reload would lose the key and the chats, and start a second loop beside the one of open panels.
    """
    if shell.find_line_magic("aimport") is not None:
        ours = [name for name in [*sys.modules] if name.partition(".")[0] == "nb_backend"]
        shell.run_line_magic("aimport", ",".join(f"-{name}" for name in ours))


def _deleted_cells(shell: InteractiveShell) -> list[str]:
    """Return the ids of cells deleted since the last run, if the front end sends them, as JupyterLab does."""
    if not hasattr(shell, "get_parent"):
        return []
    deleted = shell.get_parent().get("metadata", {}).get("deletedCells")
    return [cell for cell in deleted if isinstance(cell, str)] if isinstance(deleted, list) else []
