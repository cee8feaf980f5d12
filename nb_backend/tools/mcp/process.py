"""A server that runs as a process: messages go through its standard streams, one a line.

The SDK's own transport keeps a message of any size, and writes what the server says on stderr into the notebook.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from mcp.shared.message import SessionMessage
from mcp.types.jsonrpc import jsonrpc_message_adapter

from ...background import on_fork
from ...text import shorten
from .streams import MAX_MESSAGE, Incoming, Outgoing, Screen, TransportError

GRACE_SECONDS = 1.0
"""How long a server may take to end once its input is closed, and again once it is asked to terminate."""
EXIT_GRACE_SECONDS = 0.5  # of all servers together, when the kernel ends
_CHUNK = 65536
_MAX_GARBAGE = 200  # lines that are not JSON-RPC; many servers print a banner
_STDERR_TAIL = 4000  # bytes

_running: set[ProcessTransport] = set()


class ProcessTransport:
    """Runs a server and exchanges messages with it; leaving it ends the process, and those that it started."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], screen: Screen, ended: Callable[[], None]):
        self._command, self._env = [*command], {**env}
        self._incoming = Incoming(screen, ended)
        self._outgoing = Outgoing()
        self._stderr = b""
        self._noise = ""  # the first line that is not a message
        self._fault = ""

    async def __aenter__(self) -> tuple[Incoming, Outgoing]:
        self._process = self._started()
        _running.add(self)
        for work in (self._read_messages, self._read_stderr, self._write):
            threading.Thread(target=work, name=f"nb_backend mcp {work.__name__}", daemon=True).start()
        return self._incoming, self._outgoing

    def _started(self) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(  # noqa: S603 - the user's own command, without a shell
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=self._env,
                start_new_session=True,  # an interrupt in a terminal is not for the server
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise TransportError(f"{shorten(self._command[0])!r} does not start: {shorten(reason)}") from None

    async def __aexit__(self, *_: object) -> None:
        self._incoming.stop()
        await self._incoming.on_thread(self._end)

    @property
    def reason(self) -> str:
        """Why the server is gone, in one line."""
        code = self._process.poll()
        lines = self._stderr.decode("utf-8", "replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), self._noise)
        ended = self._fault or f"it ended{'' if not code else f' with exit code {code}'}"
        return f"{ended}{f': {shorten(last.strip(), 200)}' if last else ''}"

    def _read_messages(self) -> None:
        garbage = 0
        with suppress(OSError, ValueError):  # closed meanwhile
            for line in self._lines(_file(self._process.stdout)):
                try:
                    message = SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
                except ValueError:
                    garbage += 1
                    self._noise = self._noise or line[:_STDERR_TAIL].decode("utf-8", "replace").strip()
                    if garbage > _MAX_GARBAGE:
                        self._fault = "it writes what is not JSON-RPC"
                        break
                    continue
                if not self._incoming.deliver(message):
                    break
        with suppress(subprocess.TimeoutExpired):  # its exit code is a part of the reason
            self._process.wait(0 if self._fault else GRACE_SECONDS)
        self._incoming.deliver(None)
        with suppress(OSError, ValueError):  # a server that is blocked by a full pipe cannot end
            while os.read(_file(self._process.stdout), _CHUNK):
                pass
        _close(self._process.stdout)

    def _lines(self, file: int) -> Iterator[bytes]:
        parts: list[bytes] = []
        size = 0
        while chunk := os.read(file, _CHUNK):
            *ended, rest = chunk.split(b"\n")
            for line in ended:
                whole = b"".join([*parts, line])
                parts, size = [], 0
                if whole.strip():
                    yield whole
            parts.append(rest)
            size += len(rest)
            if size > MAX_MESSAGE:
                self._fault = f"it sent more than {MAX_MESSAGE // 2**20} MB in one message"
                return

    def _read_stderr(self) -> None:
        with suppress(OSError, ValueError):
            while chunk := os.read(_file(self._process.stderr), _CHUNK):
                self._stderr = (self._stderr + chunk)[-_STDERR_TAIL:]
        _close(self._process.stderr)

    def _write(self) -> None:
        stdin = _file(self._process.stdin)
        with suppress(OSError, ValueError):
            while (data := self._outgoing.queue.get()) is not None:
                while data:
                    data = data[os.write(stdin, data) :]
        _close(self._process.stdin)

    def _end(self) -> None:
        """Close the input, wait, then end the process and those that it started."""
        self._outgoing.close()
        kill = getattr(signal, "SIGKILL", signal.SIGTERM)
        for signal_number in (kill,) if self._fault else (None, signal.SIGTERM, kill):
            if signal_number is not None:
                self._signal(signal_number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_SECONDS)
                break
        self._signal(kill)  # what it started and left behind
        _running.discard(self)

    def _signal(self, number: int) -> None:
        with suppress(OSError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, number)

    def close_input(self) -> None:
        """Close the input of the server as soon as what was sent is written, which asks it to end."""
        self._outgoing.close()

    def close_files(self) -> None:
        """Close the pipes in a forked child, which would otherwise keep the server from noticing the kernel's end."""
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            _close(pipe)

    def end_now(self, deadline: float) -> None:
        """Kill the server if it does not end by itself until the deadline, a time of ``time.monotonic``."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0, deadline - time.monotonic()))
        self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))


def _close(pipe: IO[Any] | None) -> None:
    with suppress(OSError):
        if pipe is not None:
            pipe.close()


def _file(pipe: IO[Any] | None) -> int:
    if pipe is None:
        raise ValueError("no pipe")
    return pipe.fileno()


def _end_all() -> None:
    """End the servers with the kernel: an input that closes ends most of them."""
    ending = [*_running]
    for transport in ending:
        transport.close_input()
    deadline = time.monotonic() + EXIT_GRACE_SECONDS
    for transport in ending:
        transport.end_now(deadline)


def _forget_all() -> None:
    for transport in _running:
        transport.close_files()
    _running.clear()


atexit.register(_end_all)
on_fork(_forget_all)
