"""A page without a browser: sends requests on a panel's comm, and keeps the items by the protocol in protocol.js."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from itertools import count
from queue import Empty
from typing import Any

from driver import TIMEOUT, Kernel, Run
from panel_shown import Shown

WIDGET = "application/vnd.jupyter.widget-view+json"
_names = count(1)


class PanelPage(Shown):
    """One page of one panel. It sees every message that anyone reads from the kernel's iopub channel."""

    def __init__(self, kernel: Kernel, panel: str | Run, subshell: str | None = None) -> None:
        super().__init__()
        self.kernel = kernel
        self.panel = panel if isinstance(panel, str) else panel_of(panel)
        self.client = f"page{next(_names)}"
        self.subshell = subshell
        self.replies: dict[str, dict[str, Any]] = {}
        self.pieces: dict[str, list[bytes]] = {}
        self.raw: list[dict[str, Any]] = []
        self.closed = False
        self._ids = count(1)
        self._read = read = kernel.client.get_iopub_msg

        def tapped(*args: Any, **options: Any) -> dict[str, Any]:
            message = read(*args, **options)
            self._hear(message)
            return message

        kernel.client.get_iopub_msg = tapped

    def leave(self) -> None:
        """Stop reading messages. The page that was opened last must leave first."""
        self.kernel.client.get_iopub_msg = self._read

    def _hear(self, message: dict[str, Any]) -> None:
        if message["content"].get("comm_id") != self.panel:
            return
        if message["msg_type"] == "comm_close":
            self.closed = True
        if message["msg_type"] != "comm_msg" or message["content"]["data"].get("method") != "custom":
            return
        assert message["parent_header"] == {}
        self.raw.append(message)
        content = message["content"]["data"]["content"]
        if content["type"] == "reply":
            if content["client"] == self.client:
                self.replies[content["id"]] = content
        elif content["type"] == "piece":
            self.pieces.setdefault(content["id"], []).append(bytes(message["buffers"][0]))
        elif self.state or content["type"] == "state":
            self.take(content)

    def send(self, type: str, *buffers: bytes, **fields: Any) -> str:
        """Send a request and return its id."""
        id = f"{self.client}-{next(self._ids)}"
        content = {"id": id, "client": self.client, "type": type, **fields}
        data = {"comm_id": self.panel, "data": {"method": "custom", "content": content}}
        message = self.kernel.client.session.msg("comm_msg", data)
        if self.subshell:
            message["header"]["subshell_id"] = self.subshell
        self.kernel.client.session.send(self.kernel.client.shell_channel.socket, message, buffers=[*buffers])
        return id

    def until(self, condition: Callable[[], Any]) -> Any:
        """Read messages of the kernel until a condition is true, and return its value."""
        deadline = time.monotonic() + TIMEOUT
        while not (found := condition()):
            assert time.monotonic() < deadline, (
                f"the condition did not become true: {self.broadcasts[-3:]}, {[*self.replies.values()][-2:]}"
            )
            try:
                self.kernel.client.get_iopub_msg(timeout=0.2)
            except Empty:
                continue
        return found

    def reply(self, id: str) -> dict[str, Any]:
        return self.until(lambda: self.replies.get(id))

    def ask(self, type: str, *buffers: bytes, **fields: Any) -> dict[str, Any]:
        """Send a request that succeeds, and return the reply."""
        reply = self.reply(self.send(type, *buffers, **fields))
        assert reply["ok"] is True, reply
        return reply

    def refused(self, type: str, *buffers: bytes, **fields: Any) -> str:
        """Send a request that is refused, and return the error message."""
        reply = self.reply(self.send(type, *buffers, **fields))
        assert reply["ok"] is False, reply
        assert "\n" not in reply["error"]
        return reply["error"]

    def hello(self) -> PanelPage:
        self.ask("hello")
        self.until(lambda: all(id in self.items for id in self.order))
        return self

    def last(self, *status: str) -> dict[str, Any]:
        """Wait until the last item has one of these statuses ("done" by default), and return it."""
        wanted = status or ("done",)
        self.until(lambda: self.shown and self.shown[-1]["status"] in wanted)
        return self.shown[-1]

    def turn(self, text: str, *status: str, images: tuple[str, ...] = ()) -> dict[str, Any]:
        """Send a prompt, and return the answer when it has ended."""
        before = {*self.order}
        self.ask("send", text=text, images=[*images])
        wanted = status or ("done",)
        new = self.until(lambda: [one for one in self.shown if one["id"] not in before and one["role"] == "assistant"])
        self.until(lambda: self.items[new[-1]["id"]]["status"] in wanted)
        return self.items[new[-1]["id"]]

    def upload(self, data: bytes, name: str = "a.png", *, piece: int = 2**20) -> list[str]:
        """Upload an image in chunks, and return the ids of the requests."""
        parts = [data[start : start + piece] for start in range(0, len(data), piece)]
        fields = {"upload": f"u{next(self._ids)}", "name": name, "size": len(data), "pieces": len(parts)}
        return [self.send("upload", part, piece=number, **fields) for number, part in enumerate(parts)]

    def picture(self, key: str) -> bytes:
        reply = self.ask("picture", key=key)
        data = b"".join(self.pieces[reply["id"]])
        assert len(self.pieces[reply["id"]]) == reply["pieces"]
        return data


def new_subshell(kernel: Kernel) -> str | None:
    """Return the id of a new subshell, on which messages arrive while a cell runs; None if the kernel has none."""
    info = kernel.client.kernel_info(reply=True)["content"]
    if "kernel subshells" not in info.get("supported_features", ()):
        return None
    kernel.client.control_channel.send(kernel.client.session.msg("create_subshell_request", {}))
    subshell: str = kernel.client.get_control_msg(timeout=10)["content"]["subshell_id"]
    return subshell


def panel_of(run: Run) -> str:
    """Return the comm id of the panel that a cell shows."""
    return next(one["data"][WIDGET]["model_id"] for one in run.displays if WIDGET in one["data"])


def text_of(item: dict[str, Any]) -> str:
    return "\n".join(item["content"])


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
