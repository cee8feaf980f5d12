"""With no url set anywhere, the embedded backend answers: a process of its own that ends with the kernel."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import sys

import pytest
from aiohttp import web
from driver import APART, PATIENT, Kernel, aside, one_line
from hub_server import hub_server
from jupyter_client.manager import start_new_kernel
from local_support import real_weights
from serving import serving_app
from wait import PATIENCE, eventually

PID = "from nb_backend.local import process; process._backend._process.pid"
PORT = "from nb_backend.local import process; process._backend.address.url.rpartition(':')[2]"


def kernel_with(**more):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("NB_BACKEND", "G4F"))}
    manager, client = start_new_kernel(kernel_name="python3", env=env | more)
    yield Kernel(manager, client)
    client.stop_channels()
    if manager.is_alive():
        manager.shutdown_kernel(now=True)
    else:
        manager.cleanup_resources()


@pytest.fixture
def bare_kernel():
    yield from kernel_with()


@pytest.fixture
def endless_kernel(tmp_path):
    """Give a kernel whose embedded backend says two words, and then neither ends its answer nor says more."""
    script = tmp_path / "script.json"
    script.write_text(json.dumps(["said so far ", "and no more", None]))
    yield from kernel_with(NB_BACKEND_SCRIPT=str(script))


def in_the_middle(kernel, act):
    """Run a cell, and do something once a part of its answer is shown; gives the run."""
    done = []

    def look(message):
        if not done and "and no more" in str(message["content"].get("data")):
            done.append(True)
            act()

    return kernel.run("%%backend\nSay hello.", look)


def closed(port):
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


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
    assert "SmolLM2-135M-Instruct, on this machine" in run.markdown[-1]
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


def test_a_crash_in_the_middle_is_one_line_below_what_was_said_and_the_next_cell_has_a_new_one(endless_kernel):
    kernel = endless_kernel
    kernel.run("%load_ext nb_backend")
    kernel.run("from nb_backend.local import process; await process.ensure_running()")
    pids = [int(kernel.run(PID).result)]
    for _ in range(2):
        run = in_the_middle(kernel, lambda: os.kill(pids[-1], signal.SIGKILL))
        one_line(run, "The embedded backend ended (killed by SIGKILL): ask again and a new one starts")
        assert "said so far and no more" in run.displays[-1]["data"]["text/plain"]
        kernel.run("await process.ensure_running()")
        pids.append(int(kernel.run(PID).result))
    assert len(set(pids)) == 3


@pytest.mark.parametrize("end", ["restart", "kill"])
def test_a_kernel_that_ends_in_the_middle_of_an_answer_leaves_no_process_and_no_port(endless_kernel, end):
    kernel = endless_kernel
    kernel.run("%load_ext nb_backend")
    kernel.run("from nb_backend.local import process; await process.ensure_running()")
    pid, port = int(kernel.run(PID).result), int(kernel.run(PORT).result.strip("'"))
    assert not closed(port)
    kernel.start("%%backend\nSay hello.")
    while "said so far" not in str(kernel.client.get_iopub_msg(timeout=60)["content"].get("data")):
        pass
    if end == "restart":
        kernel.manager.restart_kernel(now=False)
        kernel.client.wait_for_ready(timeout=60)
    else:
        os.kill(kernel.manager.provisioner.pid, signal.SIGKILL)
    eventually(lambda: not alive(pid) and closed(port))


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


@pytest.fixture
def hub(tmp_path):
    """Give a stand-in for the Hugging Face hub with the real model, under a name of its own."""
    pytest.importorskip("huggingface_hub")
    with hub_server() as hub:
        hub.repos["org/Real"] = {"Real-Q4_K_M.gguf": real_weights(), "mmproj-Q4_K_M.gguf": b""}
        yield hub


@pytest.fixture
def hub_kernel(hub, tmp_path):
    hub.token = "hf_secret"
    folders = {"HF_HOME": str(tmp_path / "hf"), "XDG_CACHE_HOME": str(tmp_path)}
    yield from kernel_with(HF_ENDPOINT=hub.url, HF_TOKEN="hf_secret", **folders)


def said(run):
    assert run.error is None, run.error
    return run.of("execute_result")[0]["data"]["text/markdown"]


@pytest.mark.skipif(sys.platform != "linux", reason="the cache is moved by XDG_CACHE_HOME")
def test_a_model_of_the_hub_is_fetched_once_and_answers_in_the_cells_after(hub_kernel, hub, tmp_path):
    kernel = hub_kernel
    kernel.run("%load_ext nb_backend")
    assert said(kernel.run("%backend local")) == "the embedded backend runs SmolLM2-135M-Instruct (the default)"

    hub.cuts[:], hub.hold = [25_000_000], True
    fetching = kernel.start("%backend local hf:org/Real")
    assert hub.on_cut.wait(PATIENCE)
    eventually(lambda: any(part.stat().st_size > 20_000_000 for part in tmp_path.rglob("*.part")))
    kernel.manager.interrupt_kernel()
    run = kernel.finish(fetching)
    assert run.reply["status"] == "error"
    assert "stopped" in str(run.markdown)
    assert "(the default)" in said(kernel.run("%backend local"))

    run = kernel.run("%backend local hf:org/Real")
    assert said(run) == "the embedded backend runs Real-Q4_K_M (0.1 GB) from the next answer on"
    assert hub.downloads()[1].startswith("bytes=")  # what arrived before the interrupt is used
    assert re.match(r"Fetching hf&#58;org/Real `█+░+` 2\d% · 2[\d.]+MB of 98.4MB", run.markdown[0])
    assert run.displays[-1]["data"] == {}
    run = kernel.run("%%backend -p max_tokens=4\nSay hello.")
    assert run.error is None
    assert run.displays[-1]["metadata"]["nb_backend"]["model"] == "Real-Q4_K_M"
    assert "1 model: Real-Q4_K_M" in said(kernel.run("%backend"))

    file = next(tmp_path.rglob("Real-*.gguf"))
    (tmp_path / "other.gguf").write_bytes(b"other")
    one_line(kernel.run("%backend local hf:org/nothing"), "the hub shows no model org/nothing")
    one_line(kernel.run(f"%backend local {tmp_path}/other.gguf"), "is not a GGUF file: write hf:ORG/REPO")
    one_line(kernel.run("%backend local hello"), "there is no file hello in")
    one_line(
        kernel.run("%backend local hf:hello"), "'hf:hello' does not name a model on the Hugging Face hub: write hf:"
    )
    kernel.run("import os; os.environ['NB_BACKEND_CACHE_ONLY'] = '1'")
    asked = len(hub.requests)
    one_line(
        kernel.run("%backend local hf:org/Real:Q8_0"), "NB_BACKEND_CACHE_ONLY does not allow to fetch hf:org/Real:Q8_0"
    )
    assert "runs Real-Q4_K_M" in said(kernel.run("%backend local hf:org/Real"))
    assert len(hub.requests) == asked
    kernel.run("del os.environ['NB_BACKEND_CACHE_ONLY']")
    shown = said(kernel.run("%backend local"))
    assert "runs Real-Q4_K_M" in shown
    assert "- fetched: `%backend local hf:org/Real:Real-Q4_K_M.gguf`" in shown
    assert f"- they are in `{tmp_path}/nb_backend/models`" in shown
    assert "(the default) from the next answer on" in said(kernel.run("%backend local default"))
    assert "runs Real-Q4_K_M" in said(kernel.run(f"%backend local {file}"))


@pytest.fixture
def ollama():
    """Give the url of a server that lists its models, as Ollama does, and the paths that it was asked for."""
    asked = []

    async def models(request):
        asked.append(request.path)
        return web.json_response({"object": "list", "data": [{"id": "llama3.2:1b", "owned_by": "library"}]})

    app = web.Application()
    app.router.add_get("/v1/models", models)
    with serving_app(app) as url:
        yield url, asked


def test_its_first_status_line_mentions_a_server_on_this_machine_and_a_key(ollama, tmp_path):
    url, asked = ollama
    script = tmp_path / "script.json"
    script.write_text(json.dumps(["hello"]))
    env = {"NB_BACKEND_SCRIPT": str(script), "OLLAMA_HOST": url, "OPENAI_API_KEY": "sk-secret"}
    for kernel in kernel_with(**env):
        kernel.run(f"%load_ext nb_backend\n{aside(APART + PATIENT)}")
        kernel.run("%backend url http://127.0.0.1:9")
        kernel.run("%%backend\nSay hello.")
        kernel.run("%backend url default")
        assert asked == []
        run = first = kernel.run("%%backend\nSay hello.")
        assert "OPENAI_API_KEY is set: `%%backend openai:MODEL` asks OpenAI" in first.markdown[-1]
        for _ in range(100):
            if "Ollama" in run.markdown[-1]:
                break
            run = kernel.run("%%backend\nSay hello.")
        assert "Ollama runs on this machine: `%%backend ollama:MODEL` asks it" in run.markdown[-1]
        again = kernel.run("%%backend -f text\nSay hello.")
        assert "Ollama" not in str(again.displays[-1])
        assert "is set" not in str(again.displays[-1])
        assert asked == ["/v1/models"]
        assert kernel.run("_.text").result == "'hello'"
