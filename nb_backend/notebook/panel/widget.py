"""The chat panel: a conversation as a widget."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import anywidget
import ipywidgets
from IPython.core.getipython import get_ipython
from IPython.display import display
from IPython.lib.pretty import pretty

from ... import background
from ...chat.chat import Chat
from ...chat.named_chats import chats
from .. import outputs
from ..cell.terminal_view import print_safely
from . import chat_settings as tuning
from . import controller as cells
from . import panel_state as kept
from .comm import PanelComm, hears_while_busy, kernel_of
from .controller import PanelController
from .handlers.router import answer
from .loop_tasks import post, spawn
from .watcher import UNNAMED

_HERE = pathlib.Path(__file__).parent
_COMMENTS = re.compile(r"(?ms)/\*\*.*?\*/\s*|(?<=[;\s])// .*?$")
_INDENTATION = re.compile(r"(?m)^\s+|\s+$")
_BREAKS = re.compile(r"(?<=[{;,(\[])\n")


def _sent(module: str) -> str:
    """Give the page's module as it is sent: a page reads no comments, and gets it anew each time."""
    return _BREAKS.sub("", _INDENTATION.sub("", _COMMENTS.sub("", module)))


class ChatPanel(anywidget.AnyWidget):
    """A chat in the notebook, on a conversation that cells and code share.

    >>> ChatPanel()  # the conversation "main", the one of ``%%backend``
    >>> ChatPanel("plots", model="gpt-4o", system="Answer in one sentence.")

    ``chat`` is the name of a conversation (see ``chats``) or a ``Chat``. ``model`` and ``system`` are set in it; what a
    person has chosen since stays when the cell runs again with the same ones. ``enter_sends=False`` has Shift+Enter
    send. The transcript stays in the notebook as an output of its own: ``finish()`` leaves only that, ``close()`` ends
    the panel.
    """

    _esm = _sent((_HERE / "widget.js").read_text(encoding="utf-8"))
    _css = (_HERE / "widget.css").read_text(encoding="utf-8")  # given a path, anywidget would hold every panel for good

    def __init__(
        self,
        chat: str | Chat = "main",
        *,
        model: str | None = None,
        system: str | None = None,
        enter_sends: bool = True,
    ) -> None:
        name, found = _conversation(chat)
        if not isinstance(enter_sends, bool):
            raise TypeError(f"enter_sends is True or False, not {enter_sends!r}")
        wanted = {"model": model, "system": system}
        tuning.apply_settings(
            found, kept.changed_settings(name, {key: value for key, value in wanted.items() if value is not None})
        )
        super().__init__()
        shell = get_ipython()
        self._host = PanelController(name, found, shell=shell, panel=self.model_id, send=self._tell, gone=self._go)
        self._host.enter_sends = enter_sends
        if shell is not None and kernel_of(shell) is not None:
            outputs.register(shell)
            kept.number_cells(shell)
            self.on_msg(_receiver(self._host))

    @property
    def chat(self) -> Chat:
        """The conversation that it shows."""
        return self._host.chat

    def finish(self) -> None:
        """Let the transcript take the panel's place, open, for good; an answer that is under way is stopped."""
        background.run(self._host.finish())

    def close(self) -> None:
        """End the panel; the conversation and the transcript stay, an answer that it waits for is stopped."""
        if (host := self.__dict__.get("_host")) is not None and not host.closed:
            post(host.close)
        self._go()

    def open(self) -> None:
        """Open its comm: what ipywidgets calls, once."""
        if getattr(self, "comm", None) is None and kernel_of(get_ipython()) is not None:
            state = {"state": self.get_state(), "buffer_paths": []}
            version = {"version": ipywidgets.__protocol_version__}
            self.comm = PanelComm(target_name="jupyter.widget", data=state, metadata=version)
        super().open()

    def _ipython_display_(self) -> None:
        host, shell = self._host, get_ipython()
        if kernel_of(shell) is None:
            print_safely(f"{pretty(host.chat)}\n(The panel needs a notebook: this is its transcript.)\n")
            return
        if self.comm is None or host.closed or host.lasting.finished:
            display(host.chat)  # as it shows itself
            return
        data, metadata = anywidget.AnyWidget._repr_mimebundle_(self) or ({}, {})
        post(cells.show, host, *kept.running_cell(shell))
        host.lasting.show(data, metadata)

    def _tell(self, message: dict[str, Any], buffers: list[bytes] | None) -> None:
        if not self._host.closed:
            self.send(message, buffers)

    def _go(self) -> None:
        layout: ipywidgets.Layout = self.layout
        super().close()
        layout.close()

    def __repr__(self) -> str:
        return f"<ChatPanel on {self._host.seen.name!r}{', closed' if self._host.closed else ''}>"


def _conversation(chat: object) -> tuple[str, Chat]:
    if isinstance(chat, Chat):
        return next((name for name, one in chats.items() if one is chat), UNNAMED), chat
    if not isinstance(chat, str):
        raise TypeError(f"chat is the name of a conversation or a Chat, not {type(chat).__name__}")
    return chat, chats[chat]


def _receiver(host: PanelController) -> Any:
    """Hand messages over to the loop, and return at once: every widget of the kernel waits for this."""

    def receive(_: object, content: object, buffers: list[Any]) -> None:
        copied = [bytes(one) for one in buffers or []]
        heard = hears_while_busy(host.shell) if isinstance(content, dict) and content.get("type") == "hello" else None
        post(_begin, host, content, copied, heard)

    return receive


def _begin(host: PanelController, content: object, buffers: list[bytes], heard: bool | None) -> None:
    if heard is not None:
        host.subshells = heard
    spawn(answer(host, content, buffers))
