"""A scripted backend that serves images, and another server, which must never be asked."""

from __future__ import annotations

import asyncio
import struct
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from aiohttp import web
from png import png
from serving import TOKEN, Backend

from nb_backend import background
from nb_backend.local.app import create_app
from nb_backend.local.scripted import ScriptedEngine


def uri(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{b64encode(data).decode()}"


def images(*urls: object, **more: object) -> dict[str, object]:
    """Return the event that brings images."""
    return {"type": "content", "urls": list(urls), **more}


PNG = png()
BOMB = PNG[:16] + struct.pack(">II", 65_000, 65_000) + PNG[24:] + bytes(3000)
_EXIF = b"\xff\xe1" + struct.pack(">H", 4002) + bytes(4000)
FILES = {
    "bomb.png": BOMB,
    "bomb.jpg": b"\xff\xd8" + _EXIF + b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, 65_000, 65_000, 3) + bytes(3000),
    "x.png": PNG,
    "a b.png": PNG,
    "second.png": png(6, 6),
    "large.png": png(40, 40, bytes(60_000)),
    "huge.png": png(filler=bytes(9 * 2**20)),
    "drawn.svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='hit()'/>",
    "page.png": b"<!DOCTYPE html><script>hit()</script>",
    "empty.png": b"",
}


@dataclass
class ImageServer(Backend):
    stranger: str = ""
    asked: list[str] = field(default_factory=list)
    """The paths of the images that were asked for."""
    strange: list[bytes] = field(default_factory=list)
    """What reached the other server."""

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@contextmanager
def serving_images(engine: ScriptedEngine) -> Iterator[ImageServer]:
    server = ImageServer(engine, "")

    async def file(request: web.Request) -> web.StreamResponse:
        server.asked.append(request.path_qs)
        match request.match_info["name"]:
            case "away.png":
                raise web.HTTPFound(f"{server.stranger}/stolen.png")
            case "near.png":
                raise web.HTTPTemporaryRedirect("/media/x.png")
            case "slow.png":
                response = web.StreamResponse()
                await response.prepare(request)
                await response.write(PNG[:20])
                await asyncio.Event().wait()
            case name if name in FILES:
                return web.Response(body=FILES[name], content_type="image/png")
        raise web.HTTPNotFound

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.strange.append(b"connected")
        with suppress(OSError):
            server.strange.append(await reader.read(1000))
        writer.close()

    async def start() -> tuple[web.AppRunner, asyncio.Server]:
        app = create_app(engine, token=TOKEN)
        app.router.add_get("/media/{name}", file)
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner, await asyncio.start_server(note, "127.0.0.1", 0)

    runner, stranger = background.run(start())
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    server.stranger = f"http://127.0.0.1:{stranger.sockets[0].getsockname()[1]}"
    yield server
    stranger.close()
    background.run(runner.cleanup())
