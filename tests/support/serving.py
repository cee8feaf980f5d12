"""A scripted backend on a real socket: for clients in this process and in others."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from nb_backend import background
from nb_backend.local.app import BODY_LIMIT, create_app
from nb_backend.local.scripted import ScriptedEngine

if TYPE_CHECKING:
    import pytest

TOKEN = "the-token-of-the-tests"


@dataclass
class Backend:
    engine: ScriptedEngine
    url: str

    @property
    def env(self) -> dict[str, str]:
        """The environment variables that lead a kernel to it."""
        return {"NB_BACKEND_URL": self.url, "NB_BACKEND_API_KEY": TOKEN}

    def is_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Set these variables for this process."""
        for name, value in self.env.items():
            monkeypatch.setenv(name, value)


def put_before(middleware: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Add a middleware, as the first one, to each backend that is served from now on."""
    create = create_app

    def with_middleware(engine: ScriptedEngine, *, token: str) -> web.Application:
        app = create(engine, token=token)
        app.middlewares.insert(0, middleware)
        return app

    monkeypatch.setitem(globals(), "create_app", with_middleware)


@contextmanager
def serving_app(app: web.Application, **runner_options: Any) -> Iterator[str]:
    """Serve an application on a free port, from the background loop; yield its url."""
    listening = socket.create_server(("127.0.0.1", 0))

    async def start() -> web.AppRunner:
        runner = web.AppRunner(app, **runner_options)
        await runner.setup()
        await web.SockSite(runner, listening).start()
        return runner

    async def stop() -> None:
        """Stop accepting, then close. asyncio forgets a connection that is accepted while it closes (gh-109564)."""
        asyncio.get_running_loop().remove_reader(listening)
        await asyncio.sleep(0)
        await runner.cleanup()

    runner = background.run(start())
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    background.run(stop())


@contextmanager
def serving(engine: ScriptedEngine, path: str = "") -> Iterator[Backend]:
    """Serve an engine on a free port, from the background loop; with the path ``/v1``, as an OpenAI server."""
    app = openai_app(engine) if path else create_app(engine, token=TOKEN)
    app.middlewares.append(_lists_its_models(engine))
    with serving_app(app, handler_cancellation=bool(path)) as url:  # a client that leaves stops the answer
        yield Backend(engine, f"{url}{path}")


def _lists_its_models(engine: ScriptedEngine) -> Any:
    """Return a middleware that answers a request for the models with the names in ``engine.listed``, if it has them."""

    @web.middleware
    async def middleware(request: web.Request, handler: Any) -> Any:
        listed = getattr(engine, "listed", None)
        if listed is None or not request.path.endswith("/models"):
            return await handler(request)
        is_openai = request.path.startswith("/v1")
        return web.json_response({"data": [{"id": name} for name in listed]} if is_openai else {"tests": listed})

    return middleware


def openai_app(engine: ScriptedEngine) -> web.Application:
    """Return an OpenAI server, which sends the events of a script as chunks: also calls, usage and errors."""

    async def completions(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"error": {"message": "wrong key", "code": "invalid_api_key"}}, status=401)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        async with aclosing(engine.stream(await request.json())) as events:
            async for event in events:
                data = event if isinstance(event, bytes) else f"data: {json.dumps(chunk_of(event))}\n\n".encode()
                await response.write(data)
        await response.write(b"data: [DONE]\n\n")
        return response

    async def models(request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": engine.name, "owned_by": "tests"}]})

    app = web.Application(client_max_size=BODY_LIMIT)
    app.router.add_post("/v1/chat/completions", completions)
    app.router.add_get("/v1/models", models)
    return app


def chunk_of(event: Any) -> dict[str, Any]:
    chunk: dict[str, Any] = {"model": "scripted", "choices": []}
    if event["type"] == "content":
        chunk["choices"] = [{"delta": {"content": event["content"]}}]
    elif event["type"] == "reasoning":
        chunk["choices"] = [{"delta": {"reasoning_content": event["token"]}}]
    elif event["type"] == "tool_calls":
        chunk["choices"] = [{"delta": {"tool_calls": event["tool_calls"]}}]
    elif event["type"] == "finish":
        chunk["choices"] = [{"delta": {}, "finish_reason": event["finish"]["reason"]}]
    elif event["type"] == "usage":
        chunk["usage"] = event["usage"]
    elif event["type"] == "error":
        chunk = {"error": {"message": event["message"], "code": event["error"]}}
    return chunk
