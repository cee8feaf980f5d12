"""What a panel knows and does, in the kernel: its conversation, its pages, what is attached, what is asked.

All of it is touched on the background loop only. What comes from elsewhere (messages of a page, changes of the
conversation) is handed over to it, in a context that belongs to no cell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from ... import settings
from ...chat.chat import Chat
from ...media.attachment import Attachment
from ...media.files import MAX_SIZE
from ...providers.catalog import sees_images
from ...providers.registry import provider_for
from . import chat_settings as tuning
from . import panel_state as kept
from .items.image_store import ImageStore, describe_attachment
from .items.items import ItemList
from .loop_tasks import call_later, post, spawn
from .outbox import CHUNK_SIZE, Outbox, Send
from .saved_transcript import SavedTranscript
from .uploads import Uploads
from .watcher import ConversationWatcher, own_key

if TYPE_CHECKING:
    from ...chat.turn import Turn


GRACE = 3.0  # seconds that pages have to fetch the last transcript, before a finished panel closes
_SLICE = 0.02  # seconds of rendering, then others on the loop have their turn
_REST = 0.03  # seconds between two looks at the conversation
_STOPPING = 10.0  # seconds that an answer has to end once it is stopped
_hosts: WeakSet[PanelController] = WeakSet()
_image_ids = count(1)  # they go from panel to panel


class PanelController:
    """The kernel's side of one panel. ``send`` takes a message to all its pages, ``gone`` closes the widget."""

    def __init__(self, name: str, chat: Chat, *, shell: Any, panel: str, send: Send, gone: Callable[[], None]) -> None:
        self.shell = shell
        self.panel = panel
        self.outbox = Outbox(send)
        self.gallery = ImageStore()
        self.view = ItemList(self.gallery)
        self.uploads = Uploads()
        self.draft = kept.Draft()
        self.enter_sends = True
        self.clients: set[str] = set()
        self.subshells = False
        self.closed = False
        self.asked: Turn | None = None  # that this panel asked last
        self.models: tuple[object, list[dict[str, Any]]] | None = None  # where they were asked for
        self._gone = gone
        self._vision: bool | None = None
        self._tuned: dict[str, Any] = {}  # as the pages know it
        self._called = self._dirty = self._messages_changed = False
        self._looking: asyncio.Task[None] | None = None
        self._rendering = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self.seen = ConversationWatcher(name, chat, self.call_soon)
        self.lasting = SavedTranscript(shell, panel, self.seen.messages, self.seen.hide)
        post(self._open)

    def _open(self) -> None:
        _hosts.add(self)
        self.seen.bind(self.seen.name, self.chat)
        self.take_over_draft()

    @property
    def chat(self) -> Chat:
        """The conversation that it shows."""
        return self.seen.chat

    # --- what the pages have

    def call_soon(self, messages_changed: bool) -> None:
        """Bring the pages up to date, soon, and the transcript if messages changed; from any thread."""
        self._messages_changed = self._messages_changed or messages_changed
        if not self._called:
            self._called = True
            post(self.touch)

    def touch(self) -> None:
        """Bring the pages up to date, soon."""
        self._called = False
        if self.closed:
            return
        self._dirty = True
        if self._messages_changed:
            self._messages_changed = False
            self.lasting.changed(self.tell_transcript)
        if self._looking is None or self._looking.done():
            self._looking = spawn(self._look())

    async def _look(self) -> None:
        while self._dirty and not self.closed:
            self._dirty = False
            if self.seen.follow():
                self._bound()
            if self.clients:
                async with self._rendering:
                    await self._render()
                    self._send_changes()
            await asyncio.sleep(_REST)

    async def _render(self) -> None:
        self.seen.arrange(self.view)
        rendered = False
        while not rendered:
            rendered = self.view.render(self.seen.content_of, _SLICE)
            await asyncio.sleep(0)  # others on the loop have their turn

    def _send_changes(self) -> None:
        for message in self.view.changes():
            if message["type"] == "items":
                self.outbox.items(message["order"], message["items"])
            else:
                self.view.bytes_sent(message["item"], self.outbox.broadcast(message))
        self.tell_settings()
        self._wake_in(self.view.wait())

    def _wake_in(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else call_later(seconds, self.touch)

    async def send_full_state(self, client: str) -> None:
        """Give a page the whole state."""
        self.uploads.forget(client)
        self.clients.add(client)
        images = await self.attached()
        async with self._rendering:
            await self._render()
            self._send_state(client, images)
        self.refresh_vision()

    def _send_state(self, client: str, images: list[dict[str, Any]]) -> None:
        items, order = self.view.whole(), self.view.order
        self._tuned = self._settings()
        state: dict[str, Any] = {"type": "state", "client": client, "panel": self.panel, "order": order, **self._tuned}
        state |= {"draft": self.draft.text, "images": images, "limits": {"image": MAX_SIZE, "piece": CHUNK_SIZE}}
        state |= {"subshells": self.subshells, "finished": self.lasting.finished}
        self.outbox.broadcast({**state, "transcript": self.lasting.version if self.lasting.shown else None})
        self.outbox.items(order, items)
        self._wake_in(self.view.wait())

    def _settings(self) -> dict[str, Any]:
        shown = {**tuning.settings_of(self.chat), "enter_sends": self.enter_sends, "vision": self._vision}
        return {"chat": self.seen.name, "chats": self.seen.names(), "settings": shown}

    def tell_settings(self, **more: Any) -> None:
        """Tell the pages how the conversation is asked, if they know it otherwise, or there is more to tell."""
        now = self._settings()
        if self.clients and not self.closed and (more or now != self._tuned):
            self._tuned = now
            self.outbox.broadcast({"type": "settings", **now, **more})

    def tell_transcript(self) -> None:
        """Tell the pages which version of the transcript the notebook has to hold."""
        if self.clients and not self.closed:
            message = {"version": self.lasting.version, "finished": self.lasting.finished}
            self.outbox.broadcast({"type": "transcript", "panel": self.panel, **message})

    # --- what is attached

    async def attached(self) -> list[dict[str, Any]]:
        """Give what is attached and not yet sent, as the page shows it."""
        return [await self.image(id, one) for id, one in [*self.draft.images.items()]]

    async def image(self, id: str, one: Attachment) -> dict[str, Any]:
        """Give an attachment as the page shows it before it is sent."""
        thumbnail = await asyncio.to_thread(one.thumbnail)
        return {"id": id, **describe_attachment(one), "thumbnail": thumbnail or ""}

    def keep_image(self, one: Attachment) -> str:
        """Attach an image to the next question, and give its id."""
        id = f"image{next(_image_ids)}"
        self.draft.images[id] = one
        self.refresh_vision()
        return id

    # --- asking

    def ask(self, text: str, images: list[Attachment], instead: dict[str, Any] | None = None) -> None:
        """Ask, in the conversation; ``ValueError`` if this panel waits for an answer already, or it cannot be."""
        self.check_free()
        stream = self.chat.stream(text, images, instead=instead)
        self.seen.register_chat()
        self.asked = stream.turn

        async def receive() -> None:
            with suppress(Exception):  # the turn has it, and the page shows it
                async with aclosing(stream):
                    await stream.prepare()
                    async for _ in stream:
                        pass

        spawn(receive())

    def check_free(self) -> None:
        """``ValueError`` where an answer of this panel is under way."""
        if self.asked is not None and not self.asked.ended:
            raise ValueError("the answer is still being written: stop it, or wait for its end")

    async def stop(self) -> None:
        """Stop every answer of the conversation that is under way, and wait for their ends."""
        live = [turn for turn in {*self.chat.live, self.asked} if turn is not None and not turn.ended]
        for turn in live:
            turn.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOPPING):
                while any(not turn.ended for turn in live):  # noqa: ASYNC110  they may end on any thread
                    await asyncio.sleep(0.01)

    # --- how the conversation is asked

    def notify_settings_changed(self) -> None:
        """Tell every panel of the conversation that it is asked in another way."""
        for host in list(_hosts):
            if host.chat is self.chat:
                host.tell_settings()
                host.refresh_vision()

    def refresh_vision(self) -> None:
        """Find out, in the background, whether the model sees images, where that is of use."""
        if not self.closed:
            spawn(self._find_vision())

    async def _find_vision(self) -> None:
        chat, seen = self.chat, None
        with suppress(ValueError):
            url, model, key = settings.url(chat.url), settings.model(chat.model), own_key(chat)
            if url is not None or self.draft.images:  # the embedded backend is not started for it alone
                seen = await sees_images(provider_for(url), model, chat.provider, api_key=key)
            if chat is self.chat and model == settings.model(chat.model):
                self._vision = seen
                self.tell_settings()

    def switch(self, name: str) -> None:
        """Show another conversation, with its own draft. ``ValueError`` if there is none of that name."""
        chat = self.seen.named(name)
        self.put_draft_aside()
        self.seen.bind(name, chat)
        self._bound()
        self.take_over_draft()
        self.call_soon(True)

    def _bound(self) -> None:
        self._vision = self.asked = None
        self.refresh_vision()

    def put_draft_aside(self) -> None:
        """Keep what is not sent for the next panel of this conversation."""
        if self.draft:
            kept.drafts[self.seen.name] = self.draft
        self.draft = kept.Draft()

    def take_over_draft(self) -> None:
        """Take up what a panel of this conversation has left."""
        if not self.draft:
            self.draft = kept.drafts.pop(self.seen.name, kept.Draft())

    # --- the end

    async def finish(self) -> None:
        """Let the transcript take the panel's place, for good."""
        if self.lasting.finished:
            return
        await self.stop()
        self.lasting.close()
        await asyncio.to_thread(self.lasting.finish)
        self.tell_transcript()
        call_later(GRACE if self.clients else 0, self.close)

    def close(self, heir: PanelController | None = None) -> None:
        """End: nothing is watched, sent or kept any more but the draft; an answer that an heir waits for goes on."""
        if self.closed:
            return
        if heir is not None and heir.chat is self.chat:
            heir.asked, heir.enter_sends = self.asked, self.enter_sends
        elif self.asked is not None:
            self.asked.stop()
        self.closed = True
        self.seen.close()
        self.put_draft_aside()
        self.uploads.clear()
        self.lasting.close()
        self._wake_in(None)
        _hosts.discard(self)
        self._gone()


_shown: WeakKeyDictionary[PanelController, dict[str, str]] = WeakKeyDictionary()
"""For each panel the cells that show it, with the requests that ran them."""


def show(host: PanelController, cell: str | None, run: str) -> None:
    """Note that a run of a cell shows a panel; those that only earlier runs of it had shown are closed."""
    if host.closed:
        return
    if cell is not None:
        _shown.setdefault(host, {})[cell] = run
        for other, places in list(_shown.items()):
            if other is not host and places.get(cell, run) != run:
                del places[cell]
                if not places:
                    other.close(heir=host)
    host.take_over_draft()
