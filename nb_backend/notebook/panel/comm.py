"""How the panel's messages go: on a comm of its own, as no answer to any request."""

from __future__ import annotations

import threading
from typing import Any

import comm.base_comm
from IPython.core.getipython import get_ipython


def kernel_of(shell: Any) -> Any:
    """Give the kernel of a shell, ``None`` in a terminal and where there is no shell."""
    return getattr(shell, "kernel", None)


def hears_while_busy(shell: Any) -> bool:
    """Whether messages such as the one that is handled now are heard while a cell runs: they come on a subshell."""
    features = getattr(kernel_of(shell), "kernel_info", {}).get("supported_features", ())
    return "kernel subshells" in features and threading.current_thread() is not threading.main_thread()


class PanelComm(comm.base_comm.BaseComm):
    """A comm whose messages have an empty parent.

    They are smaller by a third; and ipykernel 7.4 leaves alone where the page sends its messages, which it would
    otherwise hand to the shell of the cell that last sent something, to wait there for the end of a cell.
    """

    def publish_msg(
        self,
        msg_type: str,
        data: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        buffers: list[bytes] | None = None,
        **keys: Any,
    ) -> None:
        """Send, from any thread."""
        kernel = kernel_of(get_ipython())
        content = {"data": data or {}, "comm_id": self.comm_id, **keys}
        publish(kernel, msg_type, content, metadata or {}, {}, self.topic, buffers)

    def handle_msg(self, msg: dict[str, Any]) -> None:
        """Hand a message on, without the events of a cell: they would have matplotlib show a figure half drawn."""
        if self._msg_callback:
            self._msg_callback(msg)


def publish(
    kernel: Any,
    msg_type: str,
    content: dict[str, Any],
    metadata: dict[str, Any],
    parent: dict[str, Any],
    topic: bytes = b"display_data",
    buffers: list[bytes] | None = None,
) -> None:
    """Send a message to all pages, past whatever captures the outputs of a cell; nothing once the kernel is going."""
    socket = getattr(kernel, "iopub_socket", None)
    if socket is not None:
        kernel.session.send(socket, msg_type, content, metadata=metadata, parent=parent, ident=topic, buffers=buffers)
