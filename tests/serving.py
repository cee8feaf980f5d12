"""A scripted backend on a real socket, for tests whose client is another process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import web

from nb_backend import background
from nb_backend.local.app import create_app
from nb_backend.local.engine import ScriptedEngine

TOKEN = "the-token-of-the-tests"


@dataclass
class Backend:
    engine: ScriptedEngine
    url: str

    @property
    def env(self) -> dict[str, str]:
        """What a kernel's environment needs to talk to it."""
        return {"NB_BACKEND_URL": self.url, "NB_BACKEND_API_KEY": TOKEN}


@contextmanager
def serving(engine: ScriptedEngine) -> Iterator[Backend]:
    """Serve an engine on a free port, from the background loop."""

    async def start() -> web.AppRunner:
        runner = web.AppRunner(create_app(engine, token=TOKEN))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    runner = background.run(start())
    yield Backend(engine, f"http://127.0.0.1:{runner.addresses[0][1]}")
    background.run(runner.cleanup())
