"""Ask real servers through each dialect that they speak: `python tests/bench/servers.py`, or `make servers`.

llama.cpp with the embedded model, and in front of it LiteLLM's proxy and g4f, each in an environment of its own. They
get no environment variable of the user, so no key, and a home folder of their own. Then the tools of an MCP server from
the package index, written with the SDK's version 2, and with version 1.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from measuring import child, peer, verdict
from tool_template import TEMPLATE

from nb_backend import Chat, background
from nb_backend.errors import BackendError
from nb_backend.providers.registry import provider_for
from nb_backend.tools import Tool, mcp
from nb_backend.tools.tool import ToolFailed

MODEL = "smollm2"
CONTEXT = 2048  # tokens
START_SECONDS = 180
# 1.82.7 and 1.82.8 (March 2026) stole credentials, and 1.107.0 is reported to have, too. The newest releases require a
# package litellm-proxy that the package index does not have.
LITELLM = "1.106.12"
G4F = "8.8.6"
NUMBERS = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]}
ADD = Tool("add", "Add two whole numbers.", NUMBERS, lambda a, b: a + b)
WENT_ON = re.compile(r"add\(\d+, \d+\) → \d+")
MCP_SERVERS = (("mcp-server-time", "mcp>=2"), ("mcp-server-time", "mcp~=1.9"))
KNOWN = {
    ("LiteLLM", "anthropic"): "LiteLLM raises `max_tokens` to 16, and says `end_turn` of an answer that it cuts",
    ("LiteLLM", "gemini"): "LiteLLM reports no tokens: all its counts are 0",
    ("g4f", "openai-responses"): "g4f wants the request inside a field `config`",
    ("g4f", "anthropic"): "g4f streams OpenAI's chunks there; not streamed, its answer is a message",
}
"""What is not right and is the server's fault."""
RIGHT = (
    "Met is: the text comes in pieces, with the numbers of tokens, the answer that a limit cuts is incomplete, and the"
    " refusal is one line."
)
LITELLM_CONFIG = """
model_list:
  - model_name: {model}
    litellm_params: {{model: openai/{model}, api_base: {url}/v1, api_key: none}}
"""
# Without the list of providers g4f fetches it from g4f.dev, and does not start if it cannot.
G4F_SERVER = """
import sys
from g4f.client.factory import AbstractClientFactory
url, port = sys.argv[1:]
AbstractClientFactory._live_providers = {"providers": {"default": {"baseUrl": url}}, "defaultModels": {}}
from g4f.Provider import Custom
from g4f.api import AppConfig, run_api
Custom.base_url = url
AppConfig.set_config(ignore_cookie_files=True, provider="Custom", gui=True)
run_api(host="127.0.0.1", port=int(port))
"""


@dataclass
class Server:
    """A server that runs: its base url, and for each dialect the path and the parameters of a chat."""

    name: str
    version: str
    url: str
    dialects: dict[str, tuple[str, dict[str, Any]]]
    key: str | None = None

    def chat(self, dialect: str, **more: Any) -> Chat:
        path, params = self.dialects[dialect]
        return Chat(MODEL, url=self.url + path, api=dialect, api_key=self.key, **params, **more)

    async def models(self, dialect: str) -> str:
        """Return the names of the models that the server lists, or why it does not."""
        path, params = self.dialects[dialect]
        provider = provider_for(self.url + path, api=dialect)
        try:
            return ", ".join(await provider.get_models(params.get("provider"), api_key=self.key))
        except BackendError as error:
            return f"{type(error).__name__}: {error}"


def serve_llama(path: str) -> None:
    """Run llama.cpp's own server until stdin ends; print its url first."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.model_alias = path, {MODEL}
    params.hostnames = ["127.0.0.1"]
    params.n_ctx, params.n_parallel, params.warmup, params.verbosity = CONTEXT, 1, False, -1
    params.cpuparams.n_threads, params.chat_template = 1, TEMPLATE
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    del server


@contextmanager
def llama() -> Iterator[Server]:
    from nb_backend.local import weights

    with child(__file__, str(weights.fetch())) as url:
        v1: tuple[str, dict[str, Any]] = ("/v1", {})
        dialects = dict.fromkeys(("openai-chat", "openai-responses", "anthropic"), v1)
        yield Server("llama.cpp", f"xllamacpp {version('xllamacpp')}", url, dialects)


@contextmanager
def litellm(llama_url: str) -> Iterator[Server]:
    python, port, key = environment(f"litellm[proxy]=={LITELLM}"), free_port(), f"sk-{secrets.token_hex(24)}"
    with tempfile.TemporaryDirectory() as home:
        config = Path(home, "config.yaml")
        config.write_text(LITELLM_CONFIG.format(model=MODEL, url=llama_url))
        command = [str(Path(python).with_name("litellm")), "--config", str(config), "--host", "127.0.0.1"]
        env = {"LITELLM_MASTER_KEY": key, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        with running([*command, "--port", str(port)], home, env, f"http://127.0.0.1:{port}/health/liveliness"):
            paths = {"openai-chat": "/v1", "openai-responses": "/v1", "anthropic": "/v1", "gemini": "/v1beta"}
            dialects: dict[str, tuple[str, dict[str, Any]]] = {api: (path, {}) for api, path in paths.items()}
            yield Server("LiteLLM", LITELLM, f"http://127.0.0.1:{port}", dialects, key)


@contextmanager
def g4f(llama_url: str) -> Iterator[Server]:
    python, port = environment(f"g4f[api,gui]=={G4F}"), free_port()
    with tempfile.TemporaryDirectory() as home:
        command = [python, "-c", G4F_SERVER, f"{llama_url}/v1", str(port)]
        with running(command, home, {}, f"http://127.0.0.1:{port}/v1"):
            dialects: dict[str, tuple[str, dict[str, Any]]] = {
                "g4f": ("", {"provider": "Custom"}),
                **dict.fromkeys(("openai-chat", "openai-responses", "anthropic"), ("/v1", {})),
            }
            yield Server("g4f", G4F, f"http://127.0.0.1:{port}", dialects)


def environment(*requirements: str) -> str:
    """Return the Python of an environment with these packages, made once."""
    if python := peer(*requirements):
        return python
    raise RuntimeError(f"pip could not install {' '.join(requirements)}")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running(command: list[str], home: str, env: dict[str, str], url: str) -> Iterator[None]:
    """Run a server until it answers at this url, and end it afterwards."""
    log = Path(home, "log")
    env |= {"PATH": os.environ["PATH"], "HOME": home, "USERPROFILE": home, "NO_PROXY": "127.0.0.1", "PYTHONUTF8": "1"}
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=home, env=env, stdout=output, stderr=output) as process,
    ):
        try:
            deadline = time.monotonic() + START_SECONDS
            while not answers(url):
                if process.poll() is not None or time.monotonic() > deadline:
                    last = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-1:]
                    raise RuntimeError(f"it does not start: {''.join(last)[:200]}")
                time.sleep(0.5)
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=5) as response:
        return bool(response.status == 200)
    return False


@dataclass
class Row:
    """What a server has answered in a dialect."""

    dialect: str
    models: str
    text: str = ""
    pieces: int = 0
    tokens: str = ""
    finish: str = ""
    at_limit: str = ""
    refusal: str = ""
    call: str = "–"

    @property
    def is_right(self) -> bool:
        """Whether a text came in pieces, with token counts, and an answer that a limit cuts is incomplete."""
        is_read = self.pieces > 1 or (self.pieces == 1 and "stream=False" in self.dialect)
        return bool(is_read and self.tokens and self.refusal.count(": ")) and self.at_limit.endswith("(incomplete)")


async def asked(server: Server, dialect: str, **params: Any) -> Row:
    """Ask for a text, for one that a limit cuts, and with a prompt that does not fit."""
    name = dialect + "".join(f", {name}={value}" for name, value in params.items())
    row = Row(name, await server.models(dialect))
    try:
        stream = server.chat(dialect, temperature=0, max_tokens=48, **params).stream("Say hello to the world.")
        async for event in stream:
            row.pieces += bool(str(event))
        answer = stream.answer
        row.text, row.finish = answer.text, f"{answer.finish_reason}{'' if answer.complete else ' (incomplete)'}"
        if answer.input_tokens or answer.output_tokens:
            row.tokens = f"{answer.input_tokens} / {answer.output_tokens}"
        cut = await server.chat(dialect, temperature=0, max_tokens=4, **params).ask("Count to a hundred.")
        row.at_limit = f"{cut.finish_reason}{'' if cut.complete else ' (incomplete)'}"
    except BackendError as error:
        row.text, row.refusal = "", f"{type(error).__name__}: {error}"
        return row
    row.call = await called(server, dialect, **params)
    try:
        await server.chat(dialect, **params).ask("word " * 2 * CONTEXT)
        row.refusal = "**none**"
    except BackendError as error:
        row.refusal = f"{type(error).__name__}: {error}"
    return row


async def called(server: Server, dialect: str, **params: Any) -> str:
    """Return the call that the model was forced to make and its result, or why there is none."""
    chat = server.chat(dialect, temperature=0, max_tokens=64, tools=[ADD], **params)
    try:
        answer = await chat.ask("What is 2 + 3?", tool_choice="required")
    except BackendError as error:
        return f"{type(error).__name__}: {error}"
    steps = [
        f"{step.call.name}{(*step.call.arguments.values(),)} → {step.result or step.error}" for step in answer.steps
    ]
    return f"{'; '.join(steps) or '**none**'}{'' if answer.rounds[-1][0] else ', then nothing'}"


def cell(text: str, most: int) -> str:
    """Return a text for a cell of a table, without what differs from run to run."""
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1", " ".join(text.split())).replace("|", "\\|")
    return text if len(text) <= most else f"{text[: most - 1]}…"


def table(server: Server) -> list[Row]:
    """Ask a server in each dialect, print a line for each, and return the rows."""
    rows = []
    for dialect in server.dialects:
        rows.append(asyncio.run(asked(server, dialect)))
        if rows[-1].refusal.startswith("ProtocolError"):
            rows.append(asyncio.run(asked(server, dialect, stream=False)))
    for row in rows:
        fields = [server.name, server.version, row.dialect, cell(row.models, 60), cell(row.text, 40), str(row.pieces)]
        fields += [row.tokens, row.finish, row.at_limit, cell(row.call, 60), cell(row.refusal, 120)]
        print("|", " | ".join(fields), "|", flush=True)
    return rows


def mcp_row(*packages: str) -> tuple[str, bool]:
    """Connect to an MCP server, call its tools rightly and wrongly, end it, and return a row and whether all is met."""
    python = environment(*packages)
    version_of = "from importlib.metadata import version; print(*map(version, ('mcp-server-time', 'mcp')))"
    versions = subprocess.run([python, "-c", version_of], capture_output=True, text=True, check=True).stdout.split()
    started = time.monotonic()
    server = mcp.connect([str(Path(python).with_name("mcp-server-time")), "--local-timezone", "UTC"], "time")
    seconds, tools = time.monotonic() - started, {tool.name: tool for tool in server.tools}
    right = background.run(tools["time.get_current_time"].function(timezone="Europe/Rome"))
    try:
        wrong = str(background.run(tools["time.get_current_time"].function(timezone="Mars/One")))
    except ToolFailed as error:
        wrong = f"{error}"
    mcp.disconnect("time")
    is_right = len(tools) == 2 and '"Europe/Rome"' in right and wrong.startswith("Error")
    asks = ", ".join(name for name, tool in tools.items() if tool.approve) or "–"
    fields = ["mcp-server-time", *versions, ", ".join(tools), asks, cell(right, 30), cell(wrong, 100), f"{seconds:.1f}"]
    return f"| {' | '.join(fields)} |", is_right


def mcp_servers() -> None:
    """Print the table of MCP servers."""
    print("### MCP servers\n")
    print("| server | version | its SDK | tools | of which ask first | a call | a wrong call | seconds to start |")
    print("| --- | --- | --- | --- | --- | --- | --- | ---: |")
    met = {}
    for packages in MCP_SERVERS:
        try:
            row, met[packages[-1]] = mcp_row(*packages)
            print(row, flush=True)
        except Exception as error:
            print(f"| {packages[0]} | not asked: {cell(str(error), 200)} |" + " |" * 6)
    print("\nMet is: both tools are listed, a call is answered, and a wrong call is an error that says why.\n")
    for name, is_met in met.items():
        verdict(f"mcp-server-time with {name}", is_met)


def main() -> None:
    """Start the servers, ask them, and print the table."""
    print(f"## Servers\n\nAsked on {datetime.now(UTC):%Y-%m-%d}, each in front of llama.cpp with the embedded model.\n")
    print(
        "| server | version | dialect | models | text | pieces | tokens | finish | at 4 tokens |"
        " a forced call | a prompt too long |"
    )
    print("| --- | --- | --- | --- | --- | ---: | ---: | --- | --- | --- | --- |")
    results: list[tuple[str, Row]] = []
    failures = []
    with llama() as first:
        for start in (llama, litellm, g4f):
            try:
                with start() if start is llama else start(first.url) as server:
                    results += [(server.name, row) for row in table(server)]
            except Exception as error:  # the others are still asked
                failures.append(f"{start.__name__} was not asked: {' '.join(str(error).split())[:200]}")
    print(
        "\nAsked for a text, for one that a limit cuts, for a call that llama.cpp's grammar forces, and with", end=" "
    )
    print(f"a prompt that does not fit. {RIGHT}\n")
    for name, row in results:
        if row.is_right or (name, row.dialect) not in KNOWN:
            verdict(f"{name}, {row.dialect}", row.is_right)
        else:
            print(f"- {name}, {row.dialect}: {KNOWN[name, row.dialect]}")
    calls = [row.call for name, row in results if name == "llama.cpp"]
    verdict("llama.cpp makes a call in each dialect, and goes on with its result", all(map(WENT_ON.fullmatch, calls)))
    print("".join(f"\n{failure}\n" for failure in failures))
    mcp_servers()


if __name__ == "__main__":
    serve_llama(sys.argv[1]) if len(sys.argv) > 1 else main()
