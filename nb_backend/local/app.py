"""The embedded backend's HTTP side: g4f's backend API, for one engine.

It is reachable by everything on this machine, the pages in a browser included, so every request has to bring the token,
name this machine in ``Host``, and come from no page (no ``Origin``).
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import orjson
from aiohttp import web

from .. import __version__
from .engine import Body, Engine, Event, error_event, label

ENGINE: web.AppKey[Engine] = web.AppKey("engine")
TOKEN: web.AppKey[str] = web.AppKey("token")

BODY_LIMIT = 64 * 1024 * 1024
_HERE = re.compile(r"(127\.0\.0\.1|localhost)(:\d+)?", re.ASCII | re.IGNORECASE)
_LOOK = 0.05  # seconds between two looks at whether the client is still there
_QUIET = 15.0  # seconds without an event after which a comment tells the client that the work goes on

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refused(Exception):
    """A request that gets no answer but this status and one line."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def create_app(engine: Engine, *, token: str) -> web.Application:
    """Give the application that lets an engine answer those who know the token. Serve it on 127.0.0.1 only.

    The engine may take its time: an engine that is not ready yet says so in its stream, by ``progress`` events.
    """
    app = web.Application(middlewares=[guard], client_max_size=BODY_LIMIT)
    app[ENGINE] = engine
    app[TOKEN] = token
    app.router.add_post("/backend-api/v2/conversation", conversation)
    app.router.add_get("/backend-api/v2/models", models, allow_head=False)
    app.router.add_get("/backend-api/v2/models/{provider}", models_of, allow_head=False)
    app.router.add_get("/backend-api/v2/providers", providers, allow_head=False)
    app.router.add_get("/backend-api/v2/version", version, allow_head=False)
    return app


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let in who may come in; every refusal is JSON with one line that says what to do."""
    try:
        if not _HERE.fullmatch(request.headers.get("Host", "")):
            raise Refused(403, "the embedded backend answers to 127.0.0.1 and localhost only")
        if "Origin" in request.headers:
            raise Refused(403, "the embedded backend does not talk to web pages")
        if request.match_info.handler is not conversation:  # which may bring the token in its body
            _check_token(request)
        return await handler(request)
    except Refused as error:
        return _refusal(error.status, str(error))
    except web.HTTPRequestEntityTooLarge:
        return _refusal(413, f"the request is larger than {BODY_LIMIT >> 20} MB: send less or smaller attachments")
    except web.HTTPMethodNotAllowed as error:
        return _refusal(405, f"{request.path} does not take {error.method}", Allow=error.headers["Allow"])
    except web.HTTPNotFound:
        return _refusal(404, f"there is no {request.path} here, only what is under /backend-api/v2/")


async def conversation(request: web.Request) -> web.StreamResponse:
    """Stream an answer; when the client leaves, the engine is stopped at once."""
    body = await _body(request)
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store"}
    )
    await response.prepare(request)
    answering = asyncio.create_task(_answer(request.app[ENGINE], body, response))
    try:
        await _watch(request, response, answering)
    finally:
        answering.cancel()
        await asyncio.wait({answering})
    if not answering.cancelled():
        answering.result()
    return response


async def models(request: web.Request) -> web.Response:
    """Tell the providers and their models: one of each."""
    name = request.app[ENGINE].name
    return web.json_response({name: [name]})


async def models_of(request: web.Request) -> web.Response:
    """Tell what the model can."""
    engine = request.app[ENGINE]
    if request.match_info["provider"] != engine.name:
        raise Refused(404, f"the only provider here is {engine.name}")
    return web.json_response([{"id": engine.name, "default": True, "tags": [], **_description(engine)}])


async def providers(request: web.Request) -> web.Response:
    """Tell the providers: one, that wants no key of its own."""
    engine = request.app[ENGINE]
    return web.json_response([{"name": engine.name, "auth": False, **_description(engine)}])


async def version(request: web.Request) -> web.Response:
    """Tell the version."""
    return web.json_response({"version": __version__, "latest_version": __version__})


def _description(engine: Engine) -> dict[str, Any]:
    return {"label": label(engine.name), "vision": engine.vision, "image": False, "audio": False}


async def _watch(request: web.Request, response: web.StreamResponse, answering: asyncio.Task[None]) -> None:
    """Wait for the answer's end or the client's leaving; keep a quiet connection alive.

    Only a look tells that a client has left while nothing is being written: aiohttp cancels a handler for it if its
    runner was told to, and that is in other hands.
    """
    clock = asyncio.get_running_loop().time
    written, since = response.body_length, clock()
    while not answering.done() and request.transport is not None and not request.transport.is_closing():
        await asyncio.wait({answering}, timeout=_LOOK)
        if response.body_length != written:
            written, since = response.body_length, clock()
        elif clock() - since > _QUIET:
            with suppress(ConnectionError):
                await response.write(b": still at it\n\n")


async def _answer(engine: Engine, body: Body, response: web.StreamResponse) -> None:
    with suppress(ConnectionError):  # the client has left; an engine's own errors never come here
        async with aclosing(_pieces(engine, body)) as pieces:
            async for piece in pieces:
                await response.write(piece)
        await response.write_eof()


async def _pieces(engine: Engine, body: Body) -> AsyncGenerator[bytes, None]:
    """Give an answer's events as bytes; what fails in the engine becomes the last of them."""
    async with aclosing(engine.stream(body)) as events:
        try:
            async for event in events:
                yield event if isinstance(event, bytes) else _encode(event)
        except Exception as error:
            yield _encode(error_event(error))


def _encode(event: Event) -> bytes:
    # The standard library's spelling, spaces and \u escapes included, is the one in g4f's answers.
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


async def _body(request: web.Request) -> Body:
    """Read and check a conversation's body."""
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        _check_token(request)
        raise Refused(400, f"the request's body is not JSON: {error}") from None
    if not isinstance(body, dict):
        _check_token(request)
        raise Refused(400, 'the request\'s body has to be an object: {"model": …, "messages": […]}')
    _check_token(request, body.get("api_key"))
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
        raise Refused(400, 'messages has to be a list, not empty, of {"role": "user", "content": "text"}')
    return body


def _is_message(message: Any) -> bool:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        return False
    content = message.get("content")
    return content is None or isinstance(content, str) or (isinstance(content, list) and all(map(_is_part, content)))


def _is_part(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text", ""), str)


def _check_token(request: web.Request, key: object = None) -> None:
    bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
    token = request.app[TOKEN].encode()
    for given in (bearer, request.headers.get("x-api-key"), key):
        # Bytes: compare_digest takes no other than ASCII strings.
        if isinstance(given, str) and hmac.compare_digest(given.encode(errors="backslashreplace"), token):
            return
    raise Refused(401, "this is not the embedded backend's token: leave url unset, or set NB_BACKEND_API_KEY to it")


def _refusal(status: int, message: str, **headers: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status, headers=headers)
