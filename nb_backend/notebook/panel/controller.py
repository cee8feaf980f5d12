"""The kernel's side of one panel: its chat, settings, draft and end.

Only code on the background loop touches a controller. Messages of a page and changes of the chat arrive on other
threads and are posted to the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from ... import background, settings
from ...chat.chat import Chat
from ...chat.messages import metadata
from ...media.attachment import Attachment
from ...providers.catalog import sees_images
from ...providers.registry import resolve
from ...tools.tool import ToolFailed
from .between_cells import ONLY_IN_CELLS, BetweenCells, Interrupted
from .chat_settings import chat_service, settings_of
from .filled_prompt import FilledPrompt, filled_prompt
from .items.fixes import model_with_vision
from .items.image_store import describe_attachment
from .loop_tasks import call_later, post, spawn
from .outbox import Send
from .page_sync import PageSync
from .panel_state import Draft, drafts
from .prompt_queue import PromptQueue
from .questions import Questions
from .saved_transcript import SavedTranscript
from .uploads import Uploads
from .watcher import ConversationWatcher, own_key

if TYPE_CHECKING:
    from ...chat.turn import Turn


GRACE = 3.0  # seconds in which the pages fetch the last transcript before a finished panel closes
_STOP_TIMEOUT = 10.0  # seconds to wait for a stopped answer to end
_controllers: WeakSet[PanelController] = WeakSet()
_image_ids = count(1)  # unique over all panels: a draft moves from one panel to the next


class PanelController:
    """The kernel's side of one panel. ``send`` sends a message to all its pages, ``on_close`` closes the widget."""

    def __init__(
        self, name: str, chat: Chat, *, shell: Any, panel_id: str, send: Send, on_close: Callable[[], None]
    ) -> None:
        self.shell = shell
        self.uploads = Uploads()
        self.draft = Draft()
        self.enter_sends = True
        self.subshells = False  # whether pages reach the kernel while a cell runs
        self.asked_turn: Turn | None = None  # the last one that this panel started
        self.is_restored = False  # whether the notebook was searched for an earlier transcript
        self.models: tuple[object, dict[str, Any]] | None = None  # the server and the reply to ``models``, once listed
        self.deleted: tuple[str, Chat] | None = None  # the chat that was deleted last, and its name
        self._on_close = on_close
        self._vision: bool | None = None
        self._vision_model = ""  # one that has vision if the chat's has none
        self.questions = Questions(lambda turn: self.watcher.on_turn_changed(turn))
        self.watcher = ConversationWatcher(name, chat, self.request_update, self.questions.about)
        self.transcript = SavedTranscript(shell, panel_id, self.watcher)
        self.cells = BetweenCells.of(shell)
        self.queue = PromptQueue(
            self.cells,
            draft=lambda: self.draft,
            live=self.live_turns,
            fill_in=lambda prompt: self.fill_in(prompt.text, [*prompt.images.values()], prompt.raw),
            ask=self.ask,
            error_line=self.watcher.error_line,
            on_change=lambda: self.pages.send_settings(),
        )
        self.pages = PageSync(panel_id, send, self.watcher, self.transcript, self._settings, self._reset_for_chat)
        post(self._open)

    def _open(self) -> None:
        _controllers.add(self)
        self.watcher.bind(self.watcher.name, self.chat)
        self.take_over_draft()

    @property
    def chat(self) -> Chat:
        """The chat that is shown."""
        return self.watcher.chat

    @property
    def closed(self) -> bool:
        """Whether the panel has ended."""
        return self.pages.closed

    # --- what the pages show

    def request_update(self, messages_changed: bool) -> None:
        """Update the pages soon, and the transcript if messages changed. Any thread may call this."""
        self.pages.request_update(messages_changed)
        if messages_changed:
            post(self.queue.advance)

    async def send_full_state(self, client: str) -> None:
        """Send everything that a new page needs."""
        self.uploads.forget(client)
        self.pages.clients.add(client)
        images = await self.attached()
        await self.pages.send_state(
            client,
            lambda: {"draft": self.draft.text, "images": images, "restore": not self.is_restored},
            self.subshells,
        )
        self.refresh_vision()

    def _settings(self) -> dict[str, Any]:
        shown = {**settings_of(self.chat), "enter_sends": self.enter_sends}
        shown |= {"vision": self._vision, "vision_model": self._vision_model}
        chat = {"chat": self.watcher.name, "title": self.watcher.title}
        removal = next(({"id": one.id, "text": one.describe(gone)} for one, gone in self.watcher.removals[-1:]), None)
        return {**chat, "settings": shown, "queue": self.queue.describe(), "removal": removal}

    # --- attached images

    async def attached(self) -> list[dict[str, Any]]:
        """Return the images of the draft as the page shows them."""
        return [await self.attached_image(id, one) for id, one in [*self.draft.images.items()]]

    async def attached_image(self, id: str, image: Attachment) -> dict[str, Any]:
        """Return one image of the draft as the page shows it."""
        thumbnail = await asyncio.to_thread(image.thumbnail)
        return {"id": id, **describe_attachment(image), "thumbnail": thumbnail or ""}

    def add_image(self, image: Attachment) -> str:
        """Attach an image to the draft and return its id."""
        id = f"image{next(_image_ids)}"
        self.draft.images[id] = image
        self.refresh_vision()
        return id

    # --- prompts

    async def fill_in(self, text: str, images: list[Attachment], raw: bool = False) -> FilledPrompt:
        """Evaluate the expressions of a prompt; ``ValueError`` in one line if that fails. ``raw``: send it as typed."""
        if raw:
            return FilledPrompt(text, images)
        return await filled_prompt(text, images, self.shell, self.cells)

    def ask(self, prompt: FilledPrompt, instead: dict[str, Any] | None = None) -> Turn:
        """Send a prompt; ``instead`` is the user message to replace. ``ValueError`` if the panel cannot send now."""
        self.check_free()
        stream = self.chat.stream(prompt.text, prompt.images, instead=instead, remarks=prompt.remarks)
        metadata(stream.turn.request.question).update(prompt.about)
        self.watcher.register_chat()
        self.asked_turn = stream.turn
        self.questions.ask_about(stream.turn)

        async def receive() -> None:
            background.user_thread.set(self._run_for_tool)
            with suppress(Exception):  # the turn records the error, and the page shows it
                async with aclosing(stream):
                    await stream.prepare()
                    async for _ in stream:
                        pass

        spawn(receive())
        return stream.turn

    async def _run_for_tool(self, function: Callable[[], Any]) -> Any:
        """Run what a tool runs on the thread of the cells, once no cell runs."""
        if not self.cells.is_available:
            raise ToolFailed(ONLY_IN_CELLS)
        try:
            return await self.cells.run(function)
        except Interrupted:
            raise ToolFailed("interrupted by the user") from None

    def live_turns(self) -> set[Turn]:
        """Return the turns of the chat that have not ended."""
        return {turn for turn in {*self.chat.live, self.asked_turn} if turn is not None and not turn.ended}

    def check_free(self) -> None:
        """Raise ``ValueError`` if an answer of this panel is still being written."""
        if self.asked_turn is not None and not self.asked_turn.ended:
            raise ValueError("the answer is still being written: stop it, or wait until it ends")

    async def stop(self) -> None:
        """Stop all live answers of the chat and wait until they end."""
        live = self.live_turns()
        for turn in live:
            turn.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_TIMEOUT):
                while any(not turn.ended for turn in live):  # noqa: ASYNC110  they may end on any thread
                    await asyncio.sleep(0.01)

    # --- settings

    def notify_settings_changed(self) -> None:
        """Send the settings to the pages of every panel that shows this chat."""
        for controller in list(_controllers):
            if controller.chat is self.chat:
                controller.pages.send_settings()
                controller.refresh_vision()

    def set_key(self, key: settings.Secret) -> None:
        """Use a key for the chat's server: its service's or the settings', as ``%backend key`` does, or its own.

        ``ValueError`` if it is not a key.
        """
        key = settings.secret(key)
        service = chat_service(self.chat)
        if own_key(self.chat) is None and service is not None:
            settings.current.keys[service.name] = key
        elif own_key(self.chat) is None and settings.urls(self.chat.url) == settings.urls():
            settings.current.api_key = key.value
        else:
            self.chat.use_key(key)
        for controller in list(_controllers):
            controller.models = None
            if controller.chat is self.chat:
                controller.watcher.learn_keys()
        self.notify_settings_changed()

    def refresh_vision(self) -> None:
        """Find out in the background whether the model accepts images."""
        if not self.closed:
            spawn(self._find_vision())

    async def _find_vision(self) -> None:
        chat, vision, other = self.chat, None, ""
        with suppress(ValueError):
            model, key = settings.model(chat.model), own_key(chat)
            api, name = resolve(model, chat.url, chat.api)
            if settings.url(api.url) is not None or self.draft.images:  # do not start the embedded backend for this
                vision = await sees_images(api, name, chat.provider, api_key=key)
                other = "" if vision is not False else model_with_vision(api, name, chat.provider, key)
            if chat is self.chat and model == settings.model(chat.model):
                self._vision, self._vision_model = vision, other
                self.pages.send_settings()

    # --- chats and drafts

    def switch(self, name: str) -> None:
        """Show another chat with its own draft. ``ValueError`` if no chat has this name."""
        chat = self.watcher.named(name)
        self.put_draft_aside()
        self.watcher.bind(name, chat)
        self._reset_for_chat()
        self.take_over_draft()
        self.request_update(True)

    def _reset_for_chat(self) -> None:
        self._vision = self.asked_turn = None
        self._vision_model = ""
        self.refresh_vision()

    def put_draft_aside(self) -> None:
        """Store the draft for the next panel that shows this chat."""
        if self.draft:
            drafts[self.watcher.name] = self.draft
        self.draft = Draft()

    def take_over_draft(self) -> None:
        """Use the draft that an earlier panel of this chat left, unless this panel has one."""
        if not self.draft:
            self.draft = drafts.pop(self.watcher.name, Draft())
            self.queue.advance()

    # --- the end

    async def finish(self) -> None:
        """Stop the answers and replace the panel by its transcript, for good."""
        if self.transcript.finished:
            return
        await self.stop()
        self.transcript.close()
        await asyncio.to_thread(self.transcript.finish)
        self.pages.send_transcript()
        call_later(GRACE if self.pages.clients else 0, self.close)

    def close(self, heir: PanelController | None = None) -> None:
        """End the panel and store its draft. Its answer is stopped, unless an heir shows the same chat."""
        if self.closed:
            return
        if heir is not None and heir.chat is self.chat:
            heir.asked_turn, heir.enter_sends = self.asked_turn, self.enter_sends
            heir.transcript.earlier = heir.transcript.earlier or self.transcript.earlier
            heir.watcher.note_shown([chat for chat, _ in self.watcher.shown_chats().values()])
            heir.request_update(True)
        elif self.asked_turn is not None:
            self.asked_turn.stop()
        self.questions.close(heir.questions if heir is not None and heir.chat is self.chat else None)
        self.pages.close()
        self.watcher.close()
        self.put_draft_aside()
        self.uploads.clear()
        self.transcript.close()
        _controllers.discard(self)
        self._on_close()


_cells: WeakKeyDictionary[PanelController, dict[str, str]] = WeakKeyDictionary()
"""For each panel, the cells that show it, with the id of the request that ran each cell."""


def cells_of(controller: PanelController) -> list[str]:
    """Return the ids of the cells that show a panel."""
    return [*_cells.get(controller, {})]


def record_shown(controller: PanelController, cell: str | None, run: str) -> None:
    """Record that a run of a cell shows a panel, and close the panels that only earlier runs of that cell showed."""
    if controller.closed:
        return
    if cell is not None:
        _cells.setdefault(controller, {})[cell] = run
        for other, runs in list(_cells.items()):
            if other is not controller and runs.get(cell, run) != run:
                del runs[cell]
                if not runs:
                    other.close(heir=controller)
    controller.take_over_draft()
