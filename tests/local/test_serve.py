"""The command ``nb-backend serve``."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from local_support import ask, posix, real_weights
from wait import PATIENCE

from nb_backend.local import app, llama, validation, weights
from nb_backend.local.__main__ import main
from nb_backend.local.process import Address


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """Return a script that says hello."""
    path = tmp_path / "script.json"
    path.write_text(json.dumps(["hel", "lo"]))
    return path


def serve(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "nb_backend.local", "serve", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env={**os.environ, **environment}, stdout=pipe, stderr=pipe, text=True)


def address_of(server: subprocess.Popen[str]) -> Address:
    assert server.stdout is not None
    _, url, key = (server.stdout.readline().strip().split("=")[-1] for _ in range(3))
    return Address(url, key)


@posix
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
async def test_serve_by_hand_until_it_is_told_to_end(script, end):
    with serve("--script", str(script)) as server:
        address = await asyncio.to_thread(address_of, server)
        assert await ask(address) == "hello"
        server.send_signal(end)
        _, complaints = server.communicate(timeout=PATIENCE)
    assert server.returncode == 0
    assert complaints == ""


async def test_serve_takes_the_key_that_is_set_and_does_not_print_it(script):
    with serve("--script", str(script), NB_BACKEND_API_KEY="my-key") as server:
        address = await asyncio.to_thread(address_of, server)
        assert "my-key" not in address.token
        assert await ask(Address(address.url, "my-key")) == "hello"
        server.kill()


async def test_serve_a_model_file(tmp_path):
    path = tmp_path / "Mine.gguf"
    path.symlink_to(real_weights())
    with serve("--model", str(path)) as server:
        assert server.stdout is not None
        address = await asyncio.to_thread(address_of, server)
        assert await ask(address, grammar='root ::= "mine"') == "mine"
        server.kill()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--model", "missing.gguf"], "there is no file missing.gguf"),
        (["--port", "70000"], "'70000' is not a port: give a number from 0 to 65535"),
        (["--port", "x"], "'x' is not a port"),
        (["--script", "missing.json"], "missing.json"),
    ],
)
def test_serve_with_bad_arguments(arguments, line):
    with serve(*arguments) as server:
        _, complaints = server.communicate(timeout=PATIENCE)
    assert server.returncode == 2
    assert line in complaints.splitlines()[-1]


def test_serve_on_a_port_that_is_taken(script):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        with serve("--script", str(script), "--port", port) as server:
            _, complaints = server.communicate(timeout=PATIENCE)
    assert server.returncode == 1
    assert complaints.count("\n") == 1
    assert "address already in use" in complaints


def test_serve_says_at_once_that_a_model_cannot_be_loaded(tmp_path):
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"bad")
    with serve("--model", str(path)) as server:
        assert server.stderr is not None
        assert "cannot load" in server.stderr.readline()
        server.kill()


def test_the_help_states_the_limits(capsys):
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    v = validation
    for words in (
        f"{weights.NAME}, good for",
        f"({weights.WHEEL_SIZE // 10**6 + 1} MB)",
        f"together have at most {llama.CONTEXT:,} tokens",
        f"ends after {llama.MAX_TOKENS:,} tokens, or {llama.LARGE_MAX_TOKENS:,} if the model's file has at least "
        f"{llama.SMALL_MODEL // 10**6} MB",
        f"nothing for {llama.STUCK_AFTER:g} seconds",
        f"{app.BODY_LIMIT >> 20} MB; {v.MAX_ITEMS:,} JSON items; {v.MAX_DEPTH} objects or lists",
        f"messages {v.MAX_MESSAGES:,} stop {v.MAX_STOPS} texts of {v.MAX_STOP_CHARS:,} characters",
        f"logit_bias {v.MAX_LOGIT_BIASES:,} tokens",
        f"{v.MAX_RULE_BYTES:,} bytes and {v.MAX_RULE_BRACKETS:,} opening parentheses each",
        f"{llama.PARALLEL} are answered and {llama.MAX_WAITING} wait; any more get status 429",
        f"Retry-After: {app.RETRY_AFTER} ",
        f"{app.UNAUTHENTICATED_LIMIT} bodies are read at a time",
        f"{app.HEAD_TIMEOUT:g} seconds for the head",
        f"{app.BODY_TIMEOUT:g} seconds for its body",
        f"{app.WRITE_TIMEOUT:g} seconds for the client to read",
        f"{app._KEEPALIVE_AFTER:g} seconds without an event",
    ):
        assert words in shown
