"""The process of the embedded backend: started by a kernel or a script, and ended with it.

Other packages only need ``ensure_running``. For tests, the environment variable ``NB_BACKEND_SCRIPT`` names a JSON file
of steps (see ``ScriptedEngine``), which the backend then plays instead of running the model.
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
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from .. import background, debug
from ..errors import ConnectionFailed
from ..services import SERVICES
from .gguf_files import model_name

START_TIMEOUT = 60.0  # seconds until the subprocess has to accept connections
EXIT_TIMEOUT = 1.0  # seconds that a process has to end after its connections broke, else it counts as running
STOP_TIMEOUT = 5.0  # seconds until a process that was told to end is killed

# Environment variables that are meant for the user's own Python, or for other servers.
_NOT_INHERITED = frozenset(
    {"PYTHONBREAKPOINT", "PYTHONDEBUG", "PYTHONINSPECT", "PYTHONPROFILEIMPORTTIME", "PYTHONSTARTUP", "PYTHONVERBOSE"}
    | {"PYTHONWARNINGS", "NB_BACKEND_API_KEY", "NB_BACKEND_SCRIPT", "G4F_API_KEY"}
)

# The subprocess runs this very package, which it might not find, or find in another version. The folder of the package
# is not added to the path: the modules next to it could be taken for others.
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
    """Where the embedded backend listens, and the token that requests need."""

    url: str
    token: str = field(repr=False)


async def ensure_running() -> Address:
    """Return the address of the embedded backend, which is started if it is not running, and accepts connections.

    May be called from any event loop and any thread. All share one backend, which ends with this process; a fork of
    this process starts its own. Raises ``ConnectionFailed``, with what to do, if it cannot be started.
    """
    backend = _backend
    if backend is not None and backend.is_running():
        return backend.address
    return await asyncio.to_thread(_start)


async def exit_reason(url: str) -> str | None:
    """Return one line that says that the embedded backend at this url has ended, and how; ``None`` if it has not.

    To be called when a connection to it broke. This waits a moment: connections close before the process has ended.
    """
    backend = _backend
    if backend is None or backend.address.url != url or not await asyncio.to_thread(backend.has_ended):
        return None
    return f"The embedded backend ended ({backend.reason()}): ask again and a new one starts"


def stop() -> None:
    """End the embedded backend, if it is running."""
    global _backend
    with _lock:
        backend, _backend = _backend, None
        if backend is not None:
            backend.end()


def use(file: Path | None) -> None:
    """Run the model in this GGUF file from the next request on, ``None``: the default model.

    A backend that runs is ended, and the answers that it is giving with it.
    """
    global _backend, _file
    with _lock:
        _file = file
        backend, _backend = _backend, None
        if backend is not None:
            backend.end()


def used() -> Path | None:
    """Return the GGUF file of the model; ``None`` for the default model."""
    return _file


def used_name() -> str:
    """Return the name of the model; ``""`` for the default model."""
    return model_name(_file.name) if _file else ""


def fetch(model: str, report: Callable[[int, int], None]) -> Path:
    """Fetch a model with ``nb-backend fetch`` and return the path of its file. This blocks.

    ``report`` is called several times a second with the bytes fetched so far and the bytes in all. An interrupt ends
    it; the next fetch continues it. ``ValueError`` with one line if it fails. It runs in a process of its own: its
    libraries read the environment and keep what they read, so this process stays as the user made it.
    """
    path = ""
    with tempfile.TemporaryFile() as stderr, _run(["fetch", model, "--embedded"], stderr) as fetching:
        try:
            for line in fetching.stdout or ():
                if line.startswith(b"["):
                    report(*json.loads(line))
                else:
                    path = line.decode().strip()
        except BaseException:
            _kill(fetching)
            raise
        if fetching.wait() or not path:
            raise ValueError(_last_line(stderr) or f"nb-backend fetch ended with exit code {fetching.returncode}")
    return Path(path)


class _Backend:
    """The subprocess. It ends when this process no longer holds the write end of its stdin."""

    def __init__(self) -> None:
        """Start the subprocess, and wait until it listens. ``ConnectionFailed`` if it does not."""
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
                f"the embedded backend did not start: {self.exit_reason}. "
                "Set url (NB_BACKEND_URL) to another server, or try again"
            ) from None
        self.address = Address(f"http://127.0.0.1:{port}", token)

    def is_running(self) -> bool:
        return self._process.poll() is None

    def has_ended(self) -> bool:
        """Whether it has ended, or does so within ``EXIT_TIMEOUT`` seconds."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(EXIT_TIMEOUT)
        return not self.is_running()

    def reason(self) -> str:
        """Return why it has ended: the signal that killed it, or the last line that it wrote to stderr."""
        code = self._process.returncode
        if code < 0:  # its last line, from llama.cpp, would not be about the signal
            return f"killed by {signal.Signals(-code).name}"
        return self._last_line() or f"it ended with exit code {code}"

    def end(self) -> None:
        """End it, wait until it has ended, and keep the reason."""
        self._close_pipes()
        # A forked worker may hold the pipes open, so it is also told to end. On Windows that would allow no cleanup.
        if sys.platform != "win32":
            self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            _kill(self._process)
            self._process.wait()
        self.exit_reason = self.reason()
        if self._stderr is not None:
            self._stderr.close()

    def forget_in_child(self) -> None:
        """In a forked child, neither keep the subprocess alive nor end it: it belongs to the parent."""
        self._close_pipes()
        self._process.returncode = 0  # or Popen would warn, when it is collected, that the process still runs

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _hand_over(self, token: str) -> int:
        """Send the token by stdin, as process lists show arguments. Return the port, which is read from stdout."""
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
        return "" if self._stderr is None or self._stderr.closed else _last_line(self._stderr)


def _last_line(stderr: IO[bytes]) -> str:
    stderr.seek(0)
    lines = stderr.read().decode(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("nb-backend: ").rstrip(".") if lines else ""


_lock = threading.Lock()
_backend: _Backend | None = None
_file: Path | None = None  # of the model; None: the default model


def _start() -> Address:
    global _backend
    with _lock:
        if _backend is not None and not _backend.is_running():
            dead, _backend = _backend, None
            dead.end()
            debug.log("the embedded backend had ended:", dead.exit_reason)
        if _backend is None:
            _check_installed()
            _backend = _Backend()
        return _backend.address


def _spawn(stderr: IO[bytes] | None) -> subprocess.Popen[bytes]:
    arguments = ["serve", "--embedded"]
    if script := os.environ.get("NB_BACKEND_SCRIPT"):
        arguments += ["--script", os.path.abspath(script)]
    elif _file is not None:
        arguments += ["--model", str(_file)]
    return _run(arguments, stderr)


def _run(arguments: Sequence[str], stderr: IO[bytes] | None) -> subprocess.Popen[bytes]:
    """Start the command ``nb-backend``, with pipes to its stdin and from its stdout."""
    left_out = _NOT_INHERITED | {key for service in SERVICES.values() for key in service.keys}
    if arguments[0] == "fetch":
        left_out -= {*SERVICES["huggingface"].keys}  # of the hub
    environment = {key: value for key, value in os.environ.items() if key not in left_out}
    package = Path(__file__).parents[1] / "__init__.py"
    # -P: files in the working directory are not taken for modules.
    command = [sys.executable, "-P", "-u", "-c", _BOOTSTRAP, str(package), *arguments]
    return subprocess.Popen(  # noqa: S603 - every argument is this module's own
        command,
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        cwd=os.path.abspath(os.sep),  # it keeps no folder in use, and relative entries of sys.path find nothing
        env={**environment, "PYTHONUTF8": "1"},
        start_new_session=True,  # Jupyter sends interrupts to the kernel's whole process group
        creationflags=_windows_flags(),
    )


def _windows_flags() -> int:
    if sys.platform == "win32":
        return subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    return 0


def _shows_stderr() -> bool:
    """Whether stderr is shown to a person: in a terminal, but not in a kernel, which captures it."""
    try:
        return os.isatty(2) and "ipykernel" not in sys.modules
    except OSError:
        return False


def _check_installed() -> None:
    needed = ["aiohttp"] if os.environ.get("NB_BACKEND_SCRIPT") else ["xllamacpp", "platformdirs", "tqdm"]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise ConnectionFailed(
            f"the embedded backend needs {', '.join(missing)}: pip install 'nb_backend[local]', "
            "or set url (NB_BACKEND_URL) to a server"
        )


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and those that it started, such as pip."""
    if sys.platform == "win32":
        process.kill()
    else:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _reset_after_fork() -> None:
    global _backend, _lock
    if _backend is not None:
        _backend.forget_in_child()
    _backend, _lock = None, threading.Lock()


background.on_fork(_reset_after_fork)
atexit.register(stop)
