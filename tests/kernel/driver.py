"""A real kernel, driven as a front end drives it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from queue import Empty
from typing import Any

from jupyter_client.manager import KernelManager

TIMEOUT = 60  # seconds; only a failure takes that long

APART = """
from dataclasses import replace
from nb_backend.services import SERVICES
closed = "http://127.0.0.1:9/v1"
SERVICES.update({name: replace(one, url=closed) for name, one in SERVICES.items() if one.is_local})
"""
"""Code after which a kernel finds no server of the machine at the default port of Ollama, LM Studio and the like."""

PATIENT = f"""
from nb_backend.providers import catalog, probe
probe.TIMEOUT = catalog.NAMES_TIMEOUT = catalog.VISION_TIMEOUT = {TIMEOUT}
catalog.known_models.__defaults__ = ({TIMEOUT}, None)
"""
"""Code after which a kernel waits for lists of models as long as a busy machine takes for them."""


@dataclass
class Run:
    """What a front end receives for a cell: the messages in their order, and the reply.

    ``prompts`` are those of ``input``, ``shown_when_asked`` the Markdown that was shown by then.
    """

    messages: list[dict[str, Any]] = field(default_factory=list)
    reply: dict[str, Any] = field(default_factory=dict)
    prompts: list[str] = field(default_factory=list)
    shown_when_asked: list[list[str]] = field(default_factory=list)

    def of(self, *types: str) -> list[dict[str, Any]]:
        return [message["content"] for message in self.messages if message["msg_type"] in types]

    @property
    def displays(self) -> list[dict[str, Any]]:
        return self.of("display_data", "update_display_data")

    @property
    def markdown(self) -> list[str]:
        return [display["data"]["text/markdown"] for display in self.displays if "text/markdown" in display["data"]]

    @property
    def printed(self) -> str:
        return "".join(stream["text"] for stream in self.of("stream"))

    @property
    def result(self) -> str | None:
        results = self.of("execute_result")
        return results[-1]["data"]["text/plain"] if results else None

    @property
    def error(self) -> tuple[str, str] | None:
        """The name of the error, and the traceback that the cell shows."""
        errors = self.of("error")
        return (errors[-1]["ename"], "\n".join(errors[-1]["traceback"])) if errors else None

    @property
    def stop(self) -> tuple[str, str] | None:
        """The name and the line of an interrupt that ended the cell: it has failed, and shows no error."""
        assert self.of("error") == []
        return (self.reply["ename"], "\n".join(self.reply["traceback"])) if self.reply["status"] == "error" else None


class Kernel:
    """A kernel with the extension loaded."""

    def __init__(self, manager: KernelManager, client: Any) -> None:
        self.manager = manager
        self.client = client

    def start(
        self, code: str, cell: str | None = None, deleted: tuple[str, ...] = (), *, allow_stdin: bool = False
    ) -> str:
        """Send a cell: with its id and the ids of deleted cells, as JupyterLab does, or without, as nbclient does."""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}}
        content["allow_stdin"] = allow_stdin
        metadata = {"cellId": cell, "deletedCells": [*deleted]} if cell else {}
        message = self.client.session.msg("execute_request", {**content, "stop_on_error": True}, metadata=metadata)
        self.client.shell_channel.send(message)
        message_id: str = message["header"]["msg_id"]
        return message_id

    def finish(
        self,
        message_id: str,
        on_message: Callable[[dict[str, Any]], None] | None = None,
        on_wait: Callable[[list[dict[str, Any]]], None] | None = None,
    ) -> Run:
        run = Run()
        deadline = time.monotonic() + TIMEOUT
        while True:
            assert time.monotonic() < deadline, f"the cell did not end: {run.messages[-3:]}"
            assert self.manager.is_alive(), "the kernel died"
            try:
                message = self.client.get_iopub_msg(timeout=0.05 if on_wait else 1)
            except Empty:
                if on_wait:
                    on_wait(run.messages)
                continue
            if message["parent_header"].get("msg_id") != message_id:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
            run.messages.append(message)
            if on_message:
                on_message(message)
        while run.reply.get("parent") != message_id:
            reply = self.client.get_shell_msg(timeout=TIMEOUT)
            run.reply = {**reply["content"], "parent": reply["parent_header"].get("msg_id")}
        return run

    def run(
        self,
        code: str,
        on_message: Callable[[dict[str, Any]], None] | None = None,
        *,
        cell: str | None = None,
        deleted: tuple[str, ...] = (),
    ) -> Run:
        return self.finish(self.start(code, cell, deleted), on_message)

    def run_and_answer(
        self, code: str, *answers: str | Callable[[], object], cell: str | None = None, started: str = ""
    ) -> Run:
        """Run a cell and answer its calls of ``input``: with a text, or by a function, as that of an interrupt.

        ``started`` is the message of a cell that was sent before.
        """
        left = [*answers]
        asked: list[tuple[str, int]] = []

        def answer(messages: list[dict[str, Any]]) -> None:
            if not left or not self.client.stdin_channel.msg_ready():
                return
            prompt = self.client.get_stdin_msg(timeout=TIMEOUT)["content"]["prompt"]
            asked.append((prompt, len(messages)))
            if isinstance(reply := left.pop(0), str):
                self.client.input(reply)
            else:
                reply()

        run = self.finish(started or self.start(code, cell, allow_stdin=True), on_wait=answer)
        run.prompts = [prompt for prompt, _ in asked]
        run.shown_when_asked = [Run(run.messages[:count]).markdown for _, count in asked]
        return run

    def run_and_interrupt(self, code: str, when: Callable[[dict[str, Any]], bool], *, cell: str | None = None) -> Run:
        """Run a cell and interrupt it at the first message for which ``when`` holds."""
        pressed = []

        def look(message: dict[str, Any]) -> None:
            if not pressed and when(message):
                pressed.append(message)
                self.manager.interrupt_kernel()

        return self.run(code, look, cell=cell)


def aside(code: str) -> str:
    """Return a line that runs this code and leaves no names in the notebook."""
    return f"exec({code!r}, {{}})"


def one_line(run: Run, *words: str) -> None:
    """Assert that the cell failed, and that its error is one line with these words."""
    assert run.error is not None, run.messages
    assert run.reply["status"] == "error"
    shown = run.error[1]
    assert "\n" not in shown
    assert "Traceback" not in shown
    for word in words:
        assert word in shown


def at_display(number: int) -> Callable[[dict[str, Any]], bool]:
    """Return a condition that holds for the display of this number, counted from 1."""
    displays = count(1)
    return lambda message: "display" in message["msg_type"] and next(displays) == number
