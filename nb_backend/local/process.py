"""Start the embedded backend from a kernel or a script, and end it with that.

``ensure_running`` is all that others need. The environment variable ``NB_BACKEND_SCRIPT``, for tests only, names a JSON
file of steps (see ``ScriptedEngine``): the backend then plays these in place of the model.
"""

from __future__ import annotations

import asyncio
import atexit
import importlib.util
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from .. import background, debug
from ..errors import ConnectionFailed

START_TIMEOUT = 60.0  # seconds until the subprocess has to accept connections
END_NOTICED = 1.0  # seconds until a process that was killed, and whose sockets are closed, counts as ended
STOP_TIMEOUT = 5.0  # seconds that it has to end by itself

# What a person set for their own Python, or for other servers, is no business of the backend.
_NOT_HANDED_ON = frozenset(
    {"PYTHONBREAKPOINT", "PYTHONDEBUG", "PYTHONINSPECT", "PYTHONPROFILEIMPORTTIME", "PYTHONSTARTUP", "PYTHONVERBOSE"}
    | {"PYTHONWARNINGS", "NB_BACKEND_API_KEY", "NB_BACKEND_SCRIPT", "G4F_API_KEY"}
)

# What the subprocess runs: this very package, which it might not find, or find another version of; its folder does not
# go on the path, where its neighbours would pose as other modules.
_BOOTSTRAP = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("nb_backend", sys.argv.pop(1))
sys.modules["nb_backend"] = package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
from nb_backend.local.__main__ import main
sys.exit(main())
"""


@dataclass(frozen=True)
class Address:
    """Where the embedded backend listens, and the token that it wants."""

    url: str
    token: str = field(repr=False)


async def ensure_running() -> Address:
    """Give the address of the embedded backend, started if none runs: it accepts connections.

    Callable from any event loop and any thread; all share one backend, which ends with this process. A fork of this
    process has one of its own. ``ConnectionFailed`` with what to do if it cannot be started.
    """
    backend = _backend
    if backend is not None and backend.runs():
        return backend.address
    return await asyncio.to_thread(_start)


async def exit_reason(url: str) -> str | None:
    """Say in one line that the embedded backend at a url has ended, and how; ``None`` if it runs, or is another.

    For who saw a connection to it break: that a process was killed shows a moment later than that its sockets closed.
    """
    backend = _backend
    if backend is None or backend.address.url != url or not await asyncio.to_thread(backend.ends):
        return None
    return f"The embedded backend ended ({backend.reason()}): ask again and a new one starts"


def stop() -> None:
    """End the embedded backend, if there is one."""
    global _backend
    with _lock:
        backend, _backend = _backend, None
        if backend is not None:
            backend.end()


class _Backend:
    """A subprocess that serves; it lives as long as this process holds the write end of its stdin."""

    def __init__(self) -> None:
        """Start it and wait until it listens; ``ConnectionFailed`` if it does not."""
        token = secrets.token_urlsafe(32)
        self._stderr = None if _shows_stderr() else tempfile.TemporaryFile()  # noqa: SIM115 - closed by end()
        try:
            self._process = _spawn(self._stderr)
        except OSError as error:
            if self._stderr is not None:
                self._stderr.close()
            raise ConnectionFailed(
                f"cannot start {sys.executable!r} for the embedded backend ({error}): "
                "set url (NB_BACKEND_URL) to a server"
            ) from None
        try:
            port = self._hand_over(token)
        except (OSError, ValueError, KeyError):
            self.end()
            raise ConnectionFailed(
                f"the embedded backend did not start: {self.last_words}. "
                "Set url (NB_BACKEND_URL) to another server to do without it"
            ) from None
        self.address = Address(f"http://127.0.0.1:{port}", token)

    def runs(self) -> bool:
        return self._process.poll() is None

    def ends(self) -> bool:
        """Tell whether it has ended, or does so within a moment."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_NOTICED)
        return not self.runs()

    def reason(self) -> str:
        """Say why it has ended: what killed it, else the last line that it wrote."""
        code = self._process.returncode
        if code < 0:  # llama.cpp writes much, and none of it is about that
            return f"killed by {signal.Signals(-code).name}"
        return self._last_line() or f"it ended with exit code {code}"

    def end(self) -> None:
        """End it, wait for that, and keep its last words."""
        self._close_pipes()
        if sys.platform != "win32":  # where it could clear nothing away; a forked worker may hold the pipe open
            self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            _kill(self._process)
            self._process.wait()
        self.last_words = self.reason()
        if self._stderr is not None:
            self._stderr.close()

    def forget_in_child(self) -> None:
        """Forget it in a forked child, whose process it is not: neither keep it alive from here, nor touch it."""
        self._close_pipes()
        self._process.returncode = 0  # or Popen complains, when it is collected, about a child that still runs

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _hand_over(self, token: str) -> int:
        """Tell the token on stdin, where no process list shows it; read the port from stdout."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None  # noqa: S101
        assert stdout is not None  # noqa: S101
        timer = threading.Timer(START_TIMEOUT, _kill, [self._process])
        timer.daemon = True
        timer.start()
        try:
            stdin.write(json.dumps({"token": token}).encode() + b"\n")
            port: int = json.loads(stdout.readline())["port"]
            return port
        finally:
            timer.cancel()
            stdout.close()

    def _last_line(self) -> str:
        if self._stderr is None or self._stderr.closed:
            return ""
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1].removeprefix("nb-backend: ").rstrip(".") if lines else ""


_lock = threading.Lock()
_backend: _Backend | None = None


def _start() -> Address:
    global _backend
    with _lock:
        if _backend is not None and not _backend.runs():
            dead, _backend = _backend, None
            dead.end()
            debug.log("the embedded backend had ended:", dead.last_words)
        if _backend is None:
            _check_installed()
            _backend = _Backend()
        return _backend.address


def _spawn(stderr: IO[bytes] | None) -> subprocess.Popen[bytes]:
    environment = {key: value for key, value in os.environ.items() if key not in _NOT_HANDED_ON}
    package = Path(__file__).parents[1] / "__init__.py"
    # -P: a file in the working directory may not pose as a module.
    command = [sys.executable, "-P", "-u", "-c", _BOOTSTRAP, str(package), "serve", "--embedded"]
    if script := os.environ.get("NB_BACKEND_SCRIPT"):
        command += ["--script", os.path.abspath(script)]
    return subprocess.Popen(  # noqa: S603 - no word of it comes from anybody else
        command,
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        cwd=os.path.abspath(os.sep),  # it stands in nobody's way, and relative entries of a path find nothing
        env={**environment, "PYTHONUTF8": "1"},
        start_new_session=True,  # Jupyter interrupts the kernel's whole process group
        creationflags=_windows_flags(),
    )


def _windows_flags() -> int:
    if sys.platform == "win32":
        return subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    return 0


def _shows_stderr() -> bool:
    """Tell whether a person reads stderr: a script in a terminal, not a kernel, whose stderr is captured."""
    try:
        return os.isatty(2) and "ipykernel" not in sys.modules
    except OSError:
        return False


def _check_installed() -> None:
    wanted = ["aiohttp"] if os.environ.get("NB_BACKEND_SCRIPT") else ["xllamacpp", "platformdirs", "tqdm"]
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        raise ConnectionFailed(
            f"the embedded model needs {', '.join(missing)}: pip install 'nb_backend[local]', "
            "or set url (NB_BACKEND_URL) to a server"
        )


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill it and what it started (pip, perhaps)."""
    if sys.platform == "win32":
        process.kill()
    else:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _forget() -> None:
    global _backend, _lock
    if _backend is not None:
        _backend.forget_in_child()
    _backend, _lock = None, threading.Lock()


background.on_fork(_forget)
atexit.register(stop)
