"""No file that a client names is read, neither by this program nor by llama.cpp."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from local_support import TOKEN, let_models_take_tools, posix, question, real_weights, serving
from wait import PATIENCE

from nb_backend.local.lazy_engine import LazyEngine
from nb_backend.local.scripted import ScriptedEngine

KEY = {"Authorization": f"Bearer {TOKEN}"}
NAME = "a-file-that-a-client-names"

opened: list[str] = []
"""The files with that name that this process opened."""


def note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and NAME in str(arguments[0]) and not arguments[2] & os.O_WRONLY:
        opened.append(str(arguments[0]))
        raise PermissionError  # or the open would block forever


sys.addaudithook(note)


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Path]:
    """Yield a named pipe: any code that reads it, in any language, blocks and is seen."""
    path = tmp_path / NAME
    os.mkfifo(path)
    opened.clear()
    yield path
    assert opened == []
    with pytest.raises(OSError, match=os.strerror(errno.ENXIO)):  # nobody has it open for reading
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))


def naming(path: Path) -> Iterator[dict[str, Any]]:
    """Yield bodies that name a file in every field that might accept one."""
    for name in (str(path), path.as_uri(), f"../..{path}"):
        yield question(media=[[name, "x.png"]])
        yield question(media=[["data:image/png;base64,iVBORw0KGgo=", name]])
        yield question(name)
        yield question(f"![]({name}) <img src='{name}'>")
        for part in (
            {"type": "image_url", "image_url": {"url": name}},
            {"type": "image_url", "image_url": name},
            {"type": "input_audio", "input_audio": {"data": name, "format": "wav"}},
            {"type": "video_url", "video_url": {"url": name}},
            {"type": "file", "file": {"file_data": name, "filename": name, "file_id": name}},
            {"type": "media_marker", "text": name, "path": name},
        ):
            yield question([{"type": "text", "text": "What is it?"}, part])
        yield {**question(), "model": name}
        for option in ("lora", "lora_adapters", "mmproj", "grammar_file", "json_schema_file", "chat_template"):
            yield question(**{option: name})
            yield question(**{option: [{"path": name, "id": 0, "scale": 1.0}]})
        for option in ("chat_template_file", "filename", "slot_save_path", "model_path", "prompt_cache"):
            yield question(**{option: name})
        yield question(chat_template_kwargs={"path": name}, multimodal_data=[name])
        yield question(provider=name, conversation={name: name})
        yield question(grammar=name)
        yield question(grammar=f'root ::= "x" # {name}\n%include "{name}"')
        yield question(json_schema={"$ref": name})
        yield question(json_schema={"$ref": f"{name}#/a", "$id": name, "$schema": name})
        yield question(response_format={"type": "json_schema", "json_schema": {"schema": {"$ref": name}}})
        tools = [{"type": "function", "function": {"name": "f", "parameters": {"$ref": name}}}]
        yield question(tools=tools)
        yield question(tools=tools, tool_choice="required")
        yield question("{% include '" + name + "' %}{{ open('" + name + "').read() }}")


@posix
@pytest.mark.parametrize("real", [False, True], ids=["scripted", "llama.cpp"])
async def test_no_body_has_a_file_read(trap, real, monkeypatch):
    if real:
        real_weights()
        let_models_take_tools(monkeypatch)
    engine = LazyEngine() if real else ScriptedEngine()
    bodies = list(naming(trap))
    async with serving(engine) as url, aiohttp.ClientSession(url, headers=KEY) as client:
        for body in bodies:
            async with (
                asyncio.timeout(PATIENCE),
                client.post("/backend-api/v2/conversation", json={"max_tokens": 1, **body}) as response,
            ):
                assert response.status in (200, 400)
                await response.read()
    assert len(bodies) > 90


@posix
@pytest.mark.parametrize("prefix", ["/", "/backend-api/v2/", "/backend-api/v2/models/", "/static/", "/images/"])
async def test_no_path_of_a_url_is_one_of_a_file(trap, prefix):
    where = str(trap)
    async with serving(ScriptedEngine()) as url:
        port = int(url.rsplit(":", 1)[1])
        for target in (
            where.lstrip("/"),
            "../" * 20 + where,
            "%2e%2e/" * 20 + where,
            "..%2f" * 20 + where.replace("/", "%2f"),
            "..%5c" * 20 + where,
            "%252e%252e%252f" * 20 + where,
            "....//" * 20 + where,
            f"?file={where}",
            f"x;{where}",
            f"{where}%00.json",
        ):
            for path in (prefix + target, "file://" + where, f"http://localhost{prefix}{target}"):
                async with asyncio.timeout(PATIENCE):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
                    writer.write(head.encode())
                    assert b" 40" in await reader.readline()
                    writer.close()


@posix
def test_the_trap_catches_who_reads_it(trap):
    with pytest.raises(PermissionError):
        trap.read_bytes()
    assert opened == [str(trap)]
    opened.clear()
    with subprocess.Popen(["cat", trap]) as another:
        while another.poll() is None:
            with suppress(OSError):
                os.close(os.open(trap, os.O_WRONLY | os.O_NONBLOCK))
    assert another.returncode == 0
