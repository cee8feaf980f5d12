"""The transcript that stays: a second output of the cell that shows the panel, brought up to date from anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ... import debug
from ...chat import history as memory
from ...markdown.data_uris import shorten_data_uris
from .comm import kernel_of, publish
from .items.content import Hide
from .transcript_markdown import TranscriptRenderer

if TYPE_CHECKING:
    from ...typing import Messages


NOTE = "This was a chat panel; run the cell to open it again. What was said stands below."
_PAUSE = 1.0  # seconds between two updates, at the least
_followed: WeakSet[SavedTranscript] = WeakSet()  # those that are shown, by panels that live


class SavedTranscript:
    """The outputs of one panel: the widget's own, and under it the transcript, folded while the panel lives.

    Both are found by their metadata, ``{"nb_backend": {"panel", "output", "version"}}``: a page that was loaded again
    knows no display_id any more, and writes the newer version into the notebook itself.
    """

    def __init__(self, shell: Any, panel: str, messages: Callable[[], Messages], hide: Hide) -> None:
        self.shown = False
        self.finished = False
        self.version = 0
        self._told = 0  # the version that the pages know
        self._shell = shell
        self._panel = panel
        self._messages = messages
        self._transcript = TranscriptRenderer(hide)
        self._text = ""
        self._turns = 0
        self._lock = Lock()  # it is composed on worker threads, and once where it is shown
        self._dirty = False
        self._task: asyncio.Task[None] | None = None

    @property
    def markdown(self) -> str:
        """The transcript as it is shown: folded, or open once the panel is finished; "" if nothing was said."""
        if self.finished:
            return self._text or "*(Nothing was said.)*"
        return f"<details><summary>{self._summary}</summary>\n\n{self._text}\n\n</details>" if self._text else ""

    @property
    def _summary(self) -> str:
        return f"Transcript: {self._turns} turn{'' if self._turns == 1 else 's'}"

    @property
    def _folded(self) -> dict[str, str]:
        """Give the transcript as an output; it is sent after each turn, so it is not in it a second time as text."""
        return _bundle(self.markdown, self._summary)

    def show(self, widget: dict[str, Any], metadata: dict[str, Any]) -> None:
        """Show the widget and the transcript, in the cell that runs."""
        self.compose()
        self.shown = True
        note = {"text/plain": NOTE, "text/markdown": f"*{NOTE}*"}
        self._display({**widget, **note}, "panel", metadata)
        self._display(self._folded, "transcript", {})
        self._told = self.version
        _followed.add(self)
        self._shell.events.register("post_run_cell", _tell_all)  # a second time changes nothing

    def compose(self) -> bool:
        """Write the transcript anew, on whichever thread; tell whether it is another one."""
        with self._lock:
            messages = self._messages()
            text, turns = self._transcript.markdown(messages), memory.count_turns(messages)
            if (text, turns) == (self._text, self._turns):
                return False
            self._text, self._turns = text, turns
            self.version += 1
            return True

    def changed(self, told: Callable[[], object]) -> None:
        """Bring the output up to date, from the background loop, soon; ``on_change`` is called once it is."""
        self._dirty = self.shown and not self.finished
        if self._dirty and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._follow(told))

    async def _follow(self, told: Callable[[], object]) -> None:
        while self._dirty:
            self._dirty = False
            try:
                await asyncio.to_thread(self._bring_up_to_date)
                if self.version != self._told:
                    self._told = self.version
                    told()
            except Exception as error:
                debug.warn(f"the panel's transcript could not be written: {type(error).__name__}")
            await asyncio.sleep(_PAUSE)

    def _bring_up_to_date(self) -> None:
        if self.compose() and not self.finished:
            self._update(self._folded, "transcript")

    def cell_ended(self) -> None:
        """Bring the output up to date at once: who runs a notebook from outside hears only what comes in a cell."""
        if self.finished:
            return
        try:
            self._bring_up_to_date()
        except Exception as error:
            debug.warn(f"the panel's transcript could not be written: {type(error).__name__}")

    def close(self) -> None:
        """Follow no more."""
        self._dirty = False
        _followed.discard(self)
        if self._task is not None:
            self._task.cancel()

    def finish(self) -> None:
        """Let the transcript take the panel's place, open, and its own output be empty; nothing is followed then."""
        self.compose()
        self.finished = True
        self.version += 1
        if self.shown:
            self._update(_bundle(self.markdown, shorten_data_uris(self.markdown)), "panel")
            self._update({}, "transcript")

    def _display(self, data: dict[str, Any], output: str, metadata: dict[str, Any]) -> None:
        transient = {"display_id": self._id(output)}
        self._shell.display_pub.publish(data=data, metadata={**metadata, **self._mark(output)}, transient=transient)

    def _update(self, data: dict[str, Any], output: str) -> None:
        """Update past whatever captures what the running cell shows."""
        content = {"data": data, "metadata": self._mark(output), "transient": {"display_id": self._id(output)}}
        kernel = kernel_of(self._shell)
        publish(kernel, "update_display_data", content, {}, kernel.get_parent())

    def _id(self, output: str) -> str:
        return f"nb_backend-{self._panel}-{output}"

    def _mark(self, output: str) -> dict[str, Any]:
        return {"nb_backend": {"panel": self._panel, "output": output, "version": self.version}}


def _tell_all(*_: object) -> None:
    for lasting in list(_followed):
        lasting.cell_ended()


def _bundle(text: str, plain: str) -> dict[str, str]:
    return {"text/markdown": text, "text/plain": plain} if text else {}
