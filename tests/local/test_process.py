"""The process of the embedded backend: it is started, shared, stopped, and never left behind."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from local_support import QUESTION, ask, events_of, index, posix, real_weights
from wait import PATIENCE, until

from nb_backend.errors import ConnectionFailed
from nb_backend.local import process, weights
from nb_backend.local.process import Address, ensure_running, exit_reason, stop


@pytest.fixture(autouse=True)
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Use a scripted backend that says hello."""
    path = tmp_path / "script.json"
    path.write_text(json.dumps(["hel", "lo"]))
    monkeypatch.setenv("NB_BACKEND_SCRIPT", str(path))
    stop()
    yield path
    stop()


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "--embedded" in child.cmdline()]


def gone(pid: int) -> bool:
    """Whether a process has ended (it may stay a zombie if nobody reaps orphans)."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# --- in this process


async def test_it_runs_is_shared_and_ends():
    address = await ensure_running()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address.url)
    assert await ask(address) == "hello"
    assert await ensure_running() is address
    (child,) = children()
    stop()
    assert not child.is_running()
    stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await ask(address)
    assert await ask(await ensure_running()) == "hello"


async def test_any_loop_and_any_thread_at_once_share_one():
    found: list[Address] = []
    threads = [threading.Thread(target=lambda: found.append(asyncio.run(ensure_running()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    found += await asyncio.gather(*(ensure_running() for _ in range(4)))
    await asyncio.to_thread(lambda: [thread.join(PATIENCE) for thread in threads])
    assert len(found) == 8
    assert len(set(found)) == 1
    assert len(children()) == 1


async def test_the_loop_goes_on_while_it_starts():
    starting = asyncio.create_task(ensure_running())
    turns = 0
    while not starting.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 100  # a start that blocks leaves two or three


async def test_one_that_died_is_started_again():
    first = await ensure_running()
    (child,) = children()
    child.kill()
    child.wait(PATIENCE)
    second = await ensure_running()
    assert second != first
    assert await ask(second) == "hello"


@posix
@pytest.mark.parametrize(
    ("end", "why"),
    [(signal.SIGKILL, "killed by SIGKILL"), (signal.SIGSEGV, "killed by SIGSEGV"), (signal.SIGTERM, "exit code 0")],
)
async def test_the_exit_reason_says_why_and_what_to_do(script, end, why):
    script.write_text(json.dumps(["word", None]))
    address = await ensure_running()
    asking = asyncio.create_task(ask(address))
    (child,) = children()
    assert await exit_reason("http://127.0.0.1:1") is None
    child.send_signal(end)
    with pytest.raises((aiohttp.ClientError, AssertionError)):
        await asking
    words = await exit_reason(address.url)
    assert words is not None
    assert re.fullmatch(rf"The embedded backend ended \(.*{why}\): ask again and a new one starts", words)
    await ensure_running()
    assert await exit_reason(address.url) is None  # a new backend has this url by now


async def test_a_running_backend_has_no_exit_reason(monkeypatch):
    monkeypatch.setattr(process, "EXIT_TIMEOUT", 0.1)
    address = await ensure_running()
    assert await exit_reason(address.url) is None
    assert await ask(address) == "hello"
    stop()
    assert await exit_reason(address.url) is None


async def test_a_stuck_engine_says_so_and_the_next_question_has_a_new_one(monkeypatch):
    monkeypatch.delenv("NB_BACKEND_SCRIPT")
    real_weights()
    patient = process._BOOTSTRAP
    impatient = "from nb_backend.local import llama\nllama.STUCK_AFTER = 2\nfrom nb_backend.local.__main__ import main"
    monkeypatch.setattr(
        process, "_BOOTSTRAP", process._BOOTSTRAP.replace("from nb_backend.local.__main__ import main", impatient)
    )
    rules = [f"a{n} ::= a{n + 1} | a{n + 1}" for n in range(40)]
    address = await ensure_running()
    url, headers = f"{address.url}/backend-api/v2/conversation", {"Authorization": f"Bearer {address.token}"}
    body = QUESTION | {"grammar": "\n".join(["root ::= a0", *rules, 'a40 ::= "x"'])}
    async with (
        asyncio.timeout(PATIENCE),
        aiohttp.ClientSession() as session,
        session.post(url, json=body, headers=headers) as response,
    ):
        *_, last = events_of(await response.text())
    assert last["error"] == "EngineStuckError"
    assert "is stuck (a grammar or schema can do that)" in last["message"]
    backend = process._backend
    assert backend is not None
    await until(lambda: not backend.is_running())
    monkeypatch.setattr(process, "_BOOTSTRAP", patient)  # on a busy machine, the new one may take longer, too
    assert await ask(await ensure_running(), grammar='root ::= "a new one"') == "a new one"


async def test_the_token_shows_nowhere():
    address = await ensure_running()
    (child,) = children()
    assert address.token not in repr(address)
    assert len(address.token) >= 32
    assert address.token not in " ".join(child.cmdline())
    assert address.token not in " ".join(child.environ().values())


@posix
async def test_an_interrupt_of_the_kernels_process_group_does_not_reach_it():
    await ensure_running()
    (child,) = children()
    assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid


async def test_keys_of_other_servers_are_not_inherited(monkeypatch):
    keys = {"NB_BACKEND_API_KEY", "OPENAI_API_KEY", "GOOGLE_API_KEY", "HF_TOKEN", "G4F_API_KEY"}
    for key in keys:
        monkeypatch.setenv(key, "sk-secret")
    monkeypatch.setenv("PYTHONINSPECT", "1")
    await ensure_running()
    (child,) = children()
    assert not {*keys, "PYTHONINSPECT"} & child.environ().keys()
    assert child.environ()["PATH"] == os.environ["PATH"]


# --- failures


async def test_an_exit_at_the_start_reports_its_last_line(monkeypatch, tmp_path):
    monkeypatch.setenv("NB_BACKEND_SCRIPT", str(tmp_path / "missing.json"))
    reason = r"did not start: .*missing\.json.*No such file.* Set url \(NB_BACKEND_URL\)"
    with pytest.raises(ConnectionFailed, match=reason):
        await ensure_running()
    assert children() == []


async def test_a_start_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(process, "_BOOTSTRAP", "import time; time.sleep(3600)")
    monkeypatch.setattr(process, "START_TIMEOUT", 0.2)
    with pytest.raises(ConnectionFailed, match="did not start"):
        await ensure_running()
    assert children() == []


async def test_missing_packages_are_named(monkeypatch):
    monkeypatch.delenv("NB_BACKEND_SCRIPT")
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ConnectionFailed, match=r"needs xllamacpp: pip install 'nb_backend\[local\]', or set url"):
        await ensure_running()


async def test_no_python_to_start(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere"))
    with pytest.raises(ConnectionFailed, match=r"cannot start .*nowhere.*NB_BACKEND_URL"):
        await ensure_running()


# --- the real model


async def test_the_real_model_answers(monkeypatch):
    monkeypatch.delenv("NB_BACKEND_SCRIPT")
    real_weights()
    address = await ensure_running()
    assert await ask(address, grammar='root ::= "a real answer"') == "a real answer"


async def test_no_weights_and_no_index_is_an_event_and_nothing_is_left(monkeypatch, tmp_path):
    monkeypatch.delenv("NB_BACKEND_SCRIPT")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    index(monkeypatch)
    address = await ensure_running()
    headers = {"Authorization": f"Bearer {address.token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{address.url}/backend-api/v2/conversation", json=QUESTION) as response,
    ):
        events = events_of(await response.text())
    assert {event["type"] for event in events[:-1]} <= {"progress"}
    assert events[-1]["error"] == "WeightsError"
    assert "nb-backend fetch" in events[-1]["message"]
    assert list(weights.path().parent.iterdir()) == []


def end_by_stop() -> None:
    stop()


def end_by_eof() -> None:
    assert process._backend is not None
    process._backend._close_pipes()


@pytest.mark.parametrize("end", [end_by_stop, end_by_eof])
async def test_its_end_stops_a_fetch_and_leaves_nothing_of_it(monkeypatch, tmp_path, end):
    monkeypatch.delenv("NB_BACKEND_SCRIPT")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked, left = asyncio.Event(), asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        while await reader.read(65536):
            pass
        left.set()
        writer.close()

    async with asyncio.timeout(PATIENCE), await asyncio.start_server(never_answer, "127.0.0.1", 0) as server:
        index(monkeypatch, url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/simple")
        asking = asyncio.create_task(ask(await ensure_running()))
        (child,) = children()
        await asked.wait()
        end()
        await left.wait()  # pip has ended
        await until(lambda: gone(child.pid))
        assert list(weights.path().parent.iterdir()) == []
        await asyncio.gather(asking, return_exceptions=True)  # disconnected, or answered that the fetch was stopped


# --- other parents

ROOT = str(Path(process.__file__).parents[2])
PARENT = f"""
import asyncio, os, signal, sys
sys.path.insert(0, {ROOT!r})
from nb_backend.local.process import ensure_running, stop
address = asyncio.run(ensure_running())
import psutil
print(psutil.Process().children()[0].pid, flush=True)
"""
PORT = "print(address.url.rpartition(':')[2], flush=True)\n"
STAY = "signal.pause()\n"


@pytest.fixture
async def parent(tmp_path: Path) -> AsyncIterator[Any]:
    """Run a script that starts a backend; yield its process and the numbers that it printed."""
    started: list[subprocess.Popen[str]] = []

    async def run(code: str, lines: int = 1) -> tuple[subprocess.Popen[str], list[int]]:
        path = tmp_path / "parent.py"
        path.write_text(PARENT + code)
        parent = subprocess.Popen(  # noqa: ASYNC220 - it is but started here
            [sys.executable, path], stdout=subprocess.PIPE, text=True, cwd=tmp_path, start_new_session=True
        )
        started.append(parent)
        assert parent.stdout is not None
        read = parent.stdout.readline
        async with asyncio.timeout(PATIENCE):
            return parent, [int(await asyncio.to_thread(read)) for _ in range(lines)]

    yield run
    for parent in started:
        if sys.platform == "win32":
            parent.kill()
        else:
            with suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGKILL)  # its forks, too
        parent.communicate()


def closed(port: int) -> bool:
    """Whether nobody listens on a port."""
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


async def test_it_ends_with_a_script_that_ends(parent):
    script, (child, port) = await parent(PORT, lines=2)
    assert await asyncio.to_thread(script.wait, PATIENCE) == 0
    await until(lambda: gone(child) and closed(port))


@posix
@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM", "SIGHUP"])
async def test_it_ends_with_a_parent_that_is_killed(parent, end):
    script, (child, port) = await parent(PORT + STAY, lines=2)
    assert not gone(child)
    assert not closed(port)
    script.send_signal(getattr(signal, end))
    await until(lambda: gone(child) and closed(port))


ANSWERING = """
import threading
from nb_backend import BackendApi

async def read():
    async for event in BackendApi.create_async_generator("any", [{"role": "user", "content": "Say hi"}]):
        if str(event):
            print(7, flush=True)

threading.Thread(target=asyncio.run, args=[read()], daemon=True).start()
"""


@posix
@pytest.mark.parametrize("real", [False, True], ids=["scripted", "llama.cpp"])
async def test_it_ends_with_a_parent_that_is_killed_in_the_middle_of_an_answer(parent, script, monkeypatch, real):
    script.write_text(json.dumps(["word", None]))
    if real:
        real_weights()
        monkeypatch.delenv("NB_BACKEND_SCRIPT")
    asking, (child, port, _) = await parent(PORT + ANSWERING + STAY, lines=3)
    assert not gone(child)
    asking.kill()
    await until(lambda: gone(child) and closed(port))


FORKED = """
import ctypes
worker = ctypes.PyDLL(None).fork()  # not os.fork: its hooks do not run, so the worker keeps the pipe
if not worker:
    signal.pause()
print(worker, flush=True)
"""


@posix
async def test_it_ends_with_a_killed_parent_though_a_forked_worker_holds_the_pipe(parent):
    script, (child, worker, port) = await parent(FORKED + PORT + STAY, lines=3)
    try:
        script.kill()
        script.wait()
        await until(lambda: gone(child) and closed(port))
        assert not gone(worker)
    finally:
        os.kill(worker, signal.SIGKILL)


FORK = """
import threading
from nb_backend.local import process
holding = threading.Thread(target=process._lock.acquire)  # as a thread that is starting a backend
holding.start()
holding.join()
worker = os.fork()
if not worker:
    stop()  # does nothing: the backend is the parent's
    other = asyncio.run(ensure_running())
    (own,) = psutil.Process().children()
    assert other != address
    print(own.pid, flush=True)
    stop()
    assert not own.is_running()
    sys.exit(0)
process._lock.release()
_, status = os.waitpid(worker, 0)
assert status == 0
again = asyncio.run(ensure_running())
assert again == address
print(psutil.Process().children()[0].pid, flush=True)
signal.pause()
"""


@posix
async def test_a_fork_has_a_backend_of_its_own_and_leaves_the_parents_alone(parent):
    _, (child, of_worker, again) = await parent(FORK, lines=3)
    assert child == again != of_worker
    assert gone(of_worker)
    assert not gone(child)


STOP = """
from nb_backend.local import process
backend = process._backend
stop()
print(backend._process.returncode, flush=True)
"""


@posix
async def test_a_stop_needs_no_kill_though_a_forked_worker_holds_the_pipe(parent):
    _, (child, worker, code) = await parent(FORKED + STOP + STAY, lines=3)
    try:
        assert gone(child)
        assert code == 0
    finally:
        os.kill(worker, signal.SIGKILL)


def test_nothing_in_the_working_directory_poses_as_a_module(tmp_path):
    for name in ("aiohttp", "json", "xllamacpp", "nb_backend", "site", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('posing')")
    path = tmp_path / "elsewhere" / "run.py"
    path.parent.mkdir()
    path.write_text(PARENT)
    subprocess.run([sys.executable, path], cwd=tmp_path, check=True, timeout=PATIENCE, stdout=subprocess.DEVNULL)


def test_importing_it_loads_nothing_heavy():
    code = "import sys, nb_backend.local.process; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert "nb_backend.local.process" in loaded
    assert not {"aiohttp", "xllamacpp", "platformdirs", "tqdm", "orjson", "nb_backend.local.app"} & set(loaded)
