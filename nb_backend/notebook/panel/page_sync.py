"""Keeps the pages of a panel in step with its chat."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ...media.files import MAX_SIZE
from .items.image_store import ImageStore
from .items.items import ItemList
from .loop_tasks import call_later, post, spawn
from .outbox import CHUNK_SIZE, Outbox, Send
from .saved_transcript import SavedTranscript
from .watcher import ConversationWatcher

_RENDER_SLICE = 0.02  # seconds of rendering before other tasks of the loop get their turn
_UPDATE_PAUSE = 0.03  # seconds between two updates


class PageSync:
    """Sends the pages of one panel what changes: items, settings, and the version of the transcript.

    ``settings`` returns the settings message, ``draft`` the unsent text and images, both without their ``type``.
    ``on_other_chat`` is called when another chat has taken the name of the one that is shown.
    """

    def __init__(
        self,
        panel_id: str,
        send: Send,
        watcher: ConversationWatcher,
        transcript: SavedTranscript,
        settings: Callable[[], dict[str, Any]],
        on_other_chat: Callable[[], None],
    ) -> None:
        self.outbox = Outbox(send)
        self.images = ImageStore()
        self.items = ItemList(self.images)
        self.clients: set[str] = set()
        self.closed = False
        self._panel_id = panel_id
        self._watcher = watcher
        self._transcript = transcript
        self._settings = settings
        self._on_other_chat = on_other_chat
        self._sent_settings: dict[str, Any] = {}
        self._is_requested = self._is_outdated = self._messages_changed = False
        self._update_task: asyncio.Task[None] | None = None
        self._rendering = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None

    def request_update(self, messages_changed: bool) -> None:
        """Update the pages soon, and the transcript if messages changed. Any thread may call this."""
        self._messages_changed = self._messages_changed or messages_changed
        if not self._is_requested:
            self._is_requested = True
            post(self._start_update)

    def _start_update(self) -> None:
        self._is_requested = False
        if self.closed:
            return
        self._is_outdated = True
        if self._messages_changed:
            self._messages_changed = False
            self._transcript.update_soon(self.send_transcript)
        if self._update_task is None or self._update_task.done():
            self._update_task = spawn(self._update())

    async def _update(self) -> None:
        while self._is_outdated and not self.closed:
            self._is_outdated = False
            if self._watcher.follow_name():
                self._on_other_chat()
            if self.clients:
                async with self._rendering:
                    await self._render()
                    self._send_changes()
            await asyncio.sleep(_UPDATE_PAUSE)

    async def _render(self) -> None:
        self._watcher.update_items(self.items)
        is_rendered = False
        while not is_rendered:
            is_rendered = self.items.render(self._watcher.content_of, _RENDER_SLICE)
            await asyncio.sleep(0)

    def _send_changes(self) -> None:
        for message in self.items.changes():
            if message["type"] == "items":
                self.outbox.items(message["order"], message["items"])
            else:
                self.items.add_bytes_sent(message["item"], self.outbox.broadcast(message))
        self.send_settings()
        self._update_in(self.items.seconds_until_due())

    def _update_in(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else call_later(seconds, self._start_update)

    async def send_state(self, client: str, draft: Callable[[], dict[str, Any]], subshells: bool) -> None:
        """Send everything that a new page needs."""
        async with self._rendering:
            await self._render()
            items, order = self.items.whole(), self.items.order
            self._sent_settings = self._settings()
            state = {
                "type": "state",
                "client": client,
                "panel": self._panel_id,
                "order": order,
                **self._sent_settings,
                **draft(),
                "limits": {"image": MAX_SIZE, "piece": CHUNK_SIZE},
                "subshells": subshells,
                "finished": self._transcript.finished,
                "transcript": self._transcript.version if self._transcript.is_shown else None,
                "record": self._transcript.record_version,
            }
            self.outbox.broadcast(state)
            self.outbox.items(order, items)
            self._update_in(self.items.seconds_until_due())

    def send_settings(self, **more: Any) -> None:
        """Send the settings if they changed, or if there are more fields to send."""
        now = self._settings()
        if self.clients and not self.closed and (more or now != self._sent_settings):
            self._sent_settings = now
            self.outbox.broadcast({"type": "settings", **now, **more})

    def send_transcript(self) -> None:
        """Send the pages the version of the transcript that the notebook must hold."""
        if self.clients and not self.closed:
            versions = {"version": self._transcript.version, "record": self._transcript.record_version}
            message = {"type": "transcript", "panel": self._panel_id, "finished": self._transcript.finished}
            self.outbox.broadcast({**message, **versions})

    def close(self) -> None:
        """Send nothing more."""
        self.closed = True
        self._update_in(None)
