"""The transcript in the notebook: a second output of the cell that shows the panel, updated after each turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ... import debug
from ...chat.messages import count_turns
from ...markdown.data_uris import shorten_data_uris
from ...text import counted, entities
from .comm import kernel_of, publish
from .record import record_of
from .transcript_markdown import TranscriptRenderer

if TYPE_CHECKING:
    from ...chat.turn import Turn
    from ...typing import Messages
    from .watcher import ConversationWatcher


NOTE = "This was a chat panel: run the cell to open it again. What was said in it is below."
_OPEN = '<details class="nbb-saved" open>'
_EARLIER = "Transcript of an earlier version"
_MIN_INTERVAL = 1.0  # seconds between two updates, unless a turn of the panel begins or ends
_updated_after_cells: WeakSet[SavedTranscript] = WeakSet()


class SavedTranscript:
    """The two outputs of a panel: the widget, and below it the transcript of all chats that were shown in it.

    Both carry the metadata ``{"nb_backend": {"panel", "output", "version"}}``. A reloaded page has lost the display
    ids, so it finds the outputs by this metadata and writes the newer version into the notebook itself. While the panel
    is alive, its page folds the transcript.

    The record, from which a new kernel continues (see ``record``), is written by the page into the metadata of the
    cell: JupyterLab removes the outputs of a cell before it runs. Without such a page, ``page_has_notebook``, it is in
    the metadata of the transcript. It also has the answers that are being written, so it has a version of its own.

    ``earlier`` is the transcript that an earlier version of nb_backend left in the cell, as safe Markdown.
    """

    def __init__(self, shell: Any, panel_id: str, watcher: ConversationWatcher) -> None:
        self.is_shown = False
        self.finished = False
        self.page_has_notebook = False
        self.record: dict[str, Any] = {}
        self.earlier = ""
        self.version = 0
        self.record_version = 0
        self._sent_versions = (0, 0)  # the last ones that the pages were told
        self._published_versions = (0, 0)  # the last ones in the output
        self._shell = shell
        self._panel_id = panel_id
        self._watcher = watcher
        self._renderer = TranscriptRenderer(watcher.mask)
        self._texts: dict[str, tuple[str, int, str]] = {}  # the Markdown, the number of turns and the title by name
        self._written_earlier = ""
        self._live: dict[Turn, Messages] = {}  # the live turns, as they were at the last update
        self._is_urgent = asyncio.Event()
        self._lock = Lock()  # rendering happens on worker threads, and once on the thread that shows the panel
        self._is_outdated = False
        self._task: asyncio.Task[None] | None = None

    @property
    def markdown(self) -> str:
        """The transcript as shown: each chat can be folded, unless the panel is finished. "" if nothing was said."""
        texts, summaries = [text for text, _, _ in self._texts.values()], self._summaries
        if self.finished and len(texts) < 2 and not self.earlier:
            return "".join(texts) or "*(No messages.)*"
        folded = [_folded(_OPEN, *both) for both in zip(summaries, texts, strict=True)]
        # While the panel is empty, its page does not fold the only conversation that there is.
        earlier = [_folded(_OPEN if texts else "<details open>", _EARLIER, self.earlier)] if self.earlier else []
        return "\n\n".join([*folded, *earlier])

    @property
    def _summaries(self) -> list[str]:
        """The title of each chat with messages, for HTML."""
        are_several = len(self._texts) > 1
        return [
            f"Transcript{f' of “{entities(title)}”' if are_several else ''}: {counted(turns, 'turn')}"
            for _, turns, title in self._texts.values()
        ]

    @property
    def _bundle(self) -> dict[str, str]:
        # The plain text is the summary only: this is sent after each turn and should hold the transcript once.
        return _mime_bundle(self.markdown, ", ".join([*self._summaries, *([_EARLIER] if self.earlier else [])]))

    def show(self, widget: dict[str, Any], metadata: dict[str, Any]) -> None:
        """Display the widget and the transcript in the running cell."""
        self.render()
        self.is_shown = True
        note = {"text/plain": NOTE, "text/markdown": f"*{NOTE}*"}
        self._display({**widget, **note}, "panel", metadata)
        self._display(self._bundle, "transcript", {})
        self._sent_versions = self._published_versions = self._versions
        _updated_after_cells.add(self)
        self._shell.events.register("post_run_cell", _update_all)  # registers only once

    @property
    def _versions(self) -> tuple[int, int]:
        return self.version, self.record_version

    def render(self) -> None:
        """Render the transcript and its record again, on any thread."""
        with self._lock:
            shown = self._watcher.shown_chats()
            markdown = self._renderer.markdown(*(messages for _, messages in shown.values()))
            turns = [count_turns(messages) for _, messages in shown.values()]
            titles = [self._watcher.title_of(name, chat) for name, (chat, _) in shown.items()]
            parts = zip(shown, markdown, turns, titles, strict=True)
            texts = {name: (text, count, title) for name, text, count, title in parts if text}
            if (texts, self.earlier) != (self._texts, self._written_earlier):
                self._texts, self._written_earlier = texts, self.earlier
                self.version += 1
            recorded = self._watcher.with_unfinished(shown, self._live)
            images, keys = self._renderer.shown_images, self._watcher.keys
            record = _record(recorded, self._watcher.opened, images, keys, self.earlier)
            if record != self.record:
                self.record = record
                self.record_version += 1

    def update_soon(self, on_new_version: Callable[[], object]) -> None:
        """Update the output in the background, then call ``on_new_version``. Only code on the loop may call this."""
        self._is_outdated = self.is_shown and not self.finished
        if {*self._watcher.live_turns()} != {*self._live}:
            self._is_urgent.set()
        if self._is_outdated and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._update_repeatedly(on_new_version))

    async def _update_repeatedly(self, on_new_version: Callable[[], object]) -> None:
        while self._is_outdated:
            self._is_outdated = False
            self._is_urgent.clear()
            self._live = self._watcher.live_messages()
            try:
                await asyncio.to_thread(self._render_and_update)
                if self._versions != self._sent_versions:
                    self._sent_versions = self._versions
                    on_new_version()
            except Exception as error:
                _warn(error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_urgent.wait(), _MIN_INTERVAL)

    def _render_and_update(self) -> None:
        self.render()
        changed = [now != then for now, then in zip(self._versions, self._published_versions, strict=True)]
        if (changed[0] or (changed[1] and not self.page_has_notebook)) and not self.finished:
            self._published_versions = self._versions
            self._update(self._bundle, "transcript")

    def update_now(self) -> None:
        """Update the output at the end of a cell: a program that executes the notebook receives nothing later."""
        if self.finished:
            return
        try:
            self._render_and_update()
        except Exception as error:
            _warn(error)

    def close(self) -> None:
        """Stop updating the output."""
        self._is_outdated = False
        _updated_after_cells.discard(self)
        if self._task is not None:
            self._task.cancel()

    def finish(self) -> None:
        """Replace the widget by the open transcript and empty the second output, for good."""
        self.render()
        self.finished = True
        self.version += 1
        if self.is_shown:
            self._update(_mime_bundle(self.markdown, shorten_data_uris(self.markdown)), "panel")
            self._update({}, "transcript")

    def _display(self, data: dict[str, Any], output: str, metadata: dict[str, Any]) -> None:
        transient = {"display_id": self._display_id(output)}
        self._shell.display_pub.publish(data=data, metadata={**metadata, **self._mark(output)}, transient=transient)

    def _update(self, data: dict[str, Any], output: str) -> None:
        transient = {"display_id": self._display_id(output)}
        content = {"data": data, "metadata": self._mark(output), "transient": transient}
        kernel = kernel_of(self._shell)
        publish(kernel, "update_display_data", content, {}, kernel.get_parent())

    def _display_id(self, output: str) -> str:
        return f"nb_backend-{self._panel_id}-{output}"

    def _mark(self, output: str) -> dict[str, Any]:
        mark: dict[str, Any] = {"panel": self._panel_id, "output": output, "version": self.version}
        if self.record and not self.page_has_notebook and output == ("panel" if self.finished else "transcript"):
            mark["record"] = self.record
        return {"nb_backend": mark}


def _update_all(*_: object) -> None:
    for transcript in list(_updated_after_cells):
        transcript.update_now()


def _record(*shown: Any) -> dict[str, Any]:
    """Return the record of chats; {} if code has put something into one that JSON cannot hold."""
    try:
        return record_of(*shown)
    except Exception as error:
        _warn(error)
        return {}


def _warn(error: Exception) -> None:
    debug.warn(f"the panel's transcript could not be written: {type(error).__name__}")


def _folded(opening: str, title: str, text: str) -> str:
    return f"{opening}<summary>{title}</summary>\n\n{text}\n\n</details>"


def _mime_bundle(markdown: str, plain: str) -> dict[str, str]:
    return {"text/markdown": markdown, "text/plain": plain} if markdown else {}
