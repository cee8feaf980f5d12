"""The chat panel as a widget."""

from __future__ import annotations

import pathlib
from typing import Any

import anywidget
import ipywidgets
from IPython.core.getipython import get_ipython
from IPython.display import display
from IPython.lib.pretty import pretty

from ... import background
from ...chat.chat import Chat
from ...chat.named_chats import chats
from ...text import print_safely
from .. import outputs
from .chat_settings import apply_settings
from .comm import PanelComm, hears_while_busy, kernel_of
from .controller import PanelController, record_shown
from .handlers.router import answer
from .loop_tasks import post, spawn
from .page_module import joined, minified
from .panel_state import changed_settings, number_cells, running_cell
from .watcher import UNNAMED

_HERE = pathlib.Path(__file__).parent


class ChatPanel(anywidget.AnyWidget):
    """A chat panel in the notebook. Cells and code share its chat.

    >>> ChatPanel()  # the chat "main", which ``%%backend`` uses
    >>> ChatPanel("plots", model="gpt-4o", system="Answer in one sentence.")

    ``chat`` is the name of a chat (see ``chats``) or a ``Chat``. ``model`` and ``system`` are set in that chat. If the
    cell runs again with the same values, what the user has chosen in the panel since then stays. With
    ``enter_sends=False``, Shift+Enter sends.

    Ctrl+Shift+Space leads from a cell to the message box, and Escape back. Tab reaches the messages as one stop: arrow
    keys move between them (up, down) and between the actions of one (right, left).

    The settings switch the tools on that the model may use. If a call needs consent, the answer asks by two buttons.

    The transcript stays in the notebook as an output of its own. ``finish()`` replaces the panel by it, ``close()``
    only ends the panel. In a new kernel, the panel continues from what the notebook holds.

    Raises ``TypeError`` or ``ValueError`` if an argument is invalid.
    """

    _esm = minified(joined(_HERE / "widget.js"))
    # A text, not a path: anywidget watches paths, and the watcher would keep every panel in memory.
    _css = (_HERE / "widget.css").read_text(encoding="utf-8")

    def __init__(
        self,
        chat: str | Chat = "main",
        *,
        model: str | None = None,
        system: str | None = None,
        enter_sends: bool = True,
    ) -> None:
        name, found = _find_chat(chat)
        if not isinstance(enter_sends, bool):
            raise TypeError(f"enter_sends must be True or False, not {enter_sends!r}")
        wanted = {"model": model, "system": system}
        wanted = {key: value for key, value in wanted.items() if value is not None}
        apply_settings(found, changed_settings(name, wanted))
        super().__init__()
        shell = get_ipython()
        self._controller = PanelController(
            name, found, shell=shell, panel_id=self.model_id, send=self._send_to_pages, on_close=self._close_widgets
        )
        self._controller.enter_sends = enter_sends
        if shell is not None and kernel_of(shell) is not None:
            outputs.register(shell)
            number_cells(shell)
            self.on_msg(_receiver(self._controller))

    @property
    def chat(self) -> Chat:
        """The chat that is shown."""
        return self._controller.chat

    def finish(self) -> None:
        """Stop the answer and replace the panel by its transcript, for good."""
        background.run(self._controller.finish())

    def close(self) -> None:
        """End the panel and stop its answer. The chat and the transcript stay."""
        if (controller := self.__dict__.get("_controller")) is not None and not controller.closed:
            post(controller.close)
        self._close_widgets()

    def open(self) -> None:
        """Open the connection to the pages; ipywidgets calls this once."""
        if getattr(self, "comm", None) is None and kernel_of(get_ipython()) is not None:
            state = {"state": self.get_state(), "buffer_paths": []}
            version = {"version": ipywidgets.__protocol_version__}
            self.comm = PanelComm(target_name="jupyter.widget", data=state, metadata=version)
        super().open()

    def _ipython_display_(self) -> None:
        controller, shell = self._controller, get_ipython()
        if kernel_of(shell) is None:
            print_safely(f"{pretty(controller.chat)}\n(The panel needs a notebook. This is its transcript.)\n")
            return
        if self.comm is None or controller.closed or controller.transcript.finished:
            display(controller.chat)
            return
        data, metadata = anywidget.AnyWidget._repr_mimebundle_(self) or ({}, {})
        controller.transcript.show(data, metadata)
        post(record_shown, controller, *running_cell(shell))

    def _send_to_pages(self, message: dict[str, Any], buffers: list[bytes] | None) -> None:
        if not self._controller.closed:
            self.send(message, buffers)

    def _close_widgets(self) -> None:
        layout: ipywidgets.Layout = self.layout
        super().close()
        layout.close()

    def __repr__(self) -> str:
        controller = self._controller
        return f"<ChatPanel on {controller.watcher.name!r}{', closed' if controller.closed else ''}>"


def _find_chat(chat: object) -> tuple[str, Chat]:
    """Return the name and the object of a chat that is given by either."""
    if isinstance(chat, Chat):
        return next((name for name, one in chats.items() if one is chat), UNNAMED), chat
    if not isinstance(chat, str):
        raise TypeError(f"chat must be the name of a chat or a Chat, not {type(chat).__name__}")
    return chat, chats[chat]


def _receiver(controller: PanelController) -> Any:
    """Return a callback that posts messages to the loop and returns at once, because all widgets wait for it."""

    def receive(_: object, content: object, buffers: list[Any]) -> None:
        copies = [bytes(one) for one in buffers or []]
        is_hello = isinstance(content, dict) and content.get("type") == "hello"
        subshells = hears_while_busy(controller.shell) if is_hello else None
        post(_handle, controller, content, copies, subshells)

    return receive


def _handle(controller: PanelController, content: object, buffers: list[bytes], subshells: bool | None) -> None:
    if subshells is not None:
        controller.subshells = subshells
    spawn(answer(controller, content, buffers))
