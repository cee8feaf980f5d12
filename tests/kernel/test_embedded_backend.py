"""With no url set anywhere, the embedded backend answers: a process of its own that ends with the kernel."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from driver import Kernel, eventually
from jupyter_client.manager import start_new_kernel

PID = "from nb_backend.local import process; process._backend._process.pid"


@pytest.fixture
def bare_kernel():
    env = {name: value for name, value in os.environ.items() if not name.startswith(("NB_BACKEND", "G4F"))}
    manager, client = start_new_kernel(kernel_name="python3", env=env)
    yield Kernel(manager, client)
    client.stop_channels()
    if manager.is_alive():
        manager.shutdown_kernel(now=True)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_real_answer_from_a_cold_start_and_the_end_of_the_process(bare_kernel):
    bare_kernel.run("%load_ext nb_backend")
    run = bare_kernel.run("%%backend gpt-3.5-turbo\nWhy is the sky blue? One sentence.")
    assert run.error is None
    assert "answered by SmolLM2-135M-Instruct, on this machine" in run.markdown[-1]
    assert len(run.displays[-1]["data"]["text/plain"]) > 20
    assert run.displays[-1]["metadata"]["nb_backend"]["usage"]["completion_tokens"] > 5
    pid = int(bare_kernel.run(PID).result)
    assert alive(pid)
    bare_kernel.manager.shutdown_kernel(now=True)  # a kill: nothing in the kernel gets to clear away
    eventually(lambda: not alive(pid))


def test_a_crashed_backend_is_one_line_and_the_next_cell_has_a_new_one(bare_kernel):
    bare_kernel.run("%load_ext nb_backend")
    assert bare_kernel.run("%%backend\nSay hello.").error is None
    os.kill(int(bare_kernel.run(PID).result), signal.SIGKILL)
    run = bare_kernel.run("%%backend\nSay hello.")
    if run.error is not None:  # asked before the death was noticed
        assert "\n" not in run.error[1]
        run = bare_kernel.run("%%backend\nSay hello.")
    assert run.error is None


@pytest.mark.skipif(sys.platform != "linux", reason="the cache is moved by XDG_CACHE_HOME")
def test_no_weights_and_no_index_is_one_line(tmp_path, monkeypatch):
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": ""}
    for name, value in {**nowhere, "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        kernel = Kernel(manager, client)
        kernel.run("%load_ext nb_backend")
        run = kernel.run("%%backend\nSay hello.")
        assert run.error is not None
        assert "\n" not in run.error[1]
        for words in ("cannot fetch SmolLM2-135M-Instruct", "nb-backend fetch", "NB_BACKEND_URL"):
            assert words in run.error[1]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
