"""The connection between a panel and its pages: a comm whose messages answer no request of a cell."""

from __future__ import annotations

import threading
from typing import Any

import comm.base_comm
from IPython.core.getipython import get_ipython


def kernel_of(shell: Any) -> Any:
    """Return the kernel of a shell; None in a terminal or if there is no shell."""
    return getattr(shell, "kernel", None)


def hears_while_busy(shell: Any) -> bool:
    """Whether messages like the current one arrive while a cell runs, because they come on a subshell."""
    features = getattr(kernel_of(shell), "kernel_info", {}).get("supported_features", ())
    return "kernel subshells" in features and threading.current_thread() is not threading.main_thread()


class PanelComm(comm.base_comm.BaseComm):
    """Comm whose messages have an empty parent header.

    That makes them a third smaller. It also keeps ipykernel 7.4 from rerouting the page's messages: it would send them
    to the shell of the cell that last sent something, where they wait until that cell ends.
    """

    def publish_msg(
        self,
        msg_type: str,
        data: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        buffers: list[bytes] | None = None,
        **keys: Any,
    ) -> None:
        """Send a message. Any thread may call this."""
        kernel = kernel_of(get_ipython())
        content = {"data": data or {}, "comm_id": self.comm_id, **keys}
        publish(kernel, msg_type, content, metadata or {}, {}, self.topic, buffers)

    def handle_msg(self, msg: dict[str, Any]) -> None:
        """Call the widget's callback without a cell's events, on which matplotlib would show a half-drawn figure."""
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
    """Send a message to all front ends, bypassing whatever captures a cell's outputs; nothing at kernel shutdown."""
    socket = getattr(kernel, "iopub_socket", None)
    if socket is not None:
        kernel.session.send(socket, msg_type, content, metadata=metadata, parent=parent, ident=topic, buffers=buffers)
