"""The embedded backend's HTTP side: g4f's backend API, for one engine.

It is reachable by everything on this machine, the pages in a browser included, so every request has to bring the token,
name this machine in ``Host``, and come from no page (no ``Origin``).
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager, nullcontext, suppress
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from .._version import __version__
from . import validation as bounds
from .engine import Body, Engine, Event, error_event, label

ENGINE: web.AppKey[Engine] = web.AppKey("engine")
TOKEN: web.AppKey[str] = web.AppKey("token")
ACTIVE: web.AppKey[set[object]] = web.AppKey("places")
UNAUTHENTICATED: web.AppKey[asyncio.Semaphore] = web.AppKey("strangers")

BODY_LIMIT = 64 * 1024 * 1024
BODIES_OF_STRANGERS = 8  # read at the same time, of those who bring no token in a header: else they could fill memory
HEAD_TIMEOUT = 30  # seconds for a request's head
REQUEST_TIMEOUT = 60.0  # seconds for the whole of a conversation's body
WRITE_TIMEOUT = 60.0  # seconds that a client has to take what was written
RETRY_AFTER = "10"  # seconds
_HERE = re.compile(r"(127\.0\.0\.1|localhost)(:\d+)?", re.ASCII | re.IGNORECASE)
_LOOK = 0.05  # seconds between two looks at whether the client is still there
_QUIET = 15.0  # seconds without an event after which a comment tells the client that the work goes on

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refused(Exception):
    """A request that gets no answer but this status and one line."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


def create_app(engine: Engine, *, token: str) -> web.Application:
    """Give the application that lets an engine answer those who know the token. Serve it on 127.0.0.1 only.

    The engine may take its time: an engine that is not ready yet says so in its stream, by ``progress`` events.
    """
    app = web.Application(middlewares=[guard], client_max_size=BODY_LIMIT)
    app[ENGINE] = engine
    app[TOKEN] = token
    app[ACTIVE] = set()
    app[UNAUTHENTICATED] = asyncio.Semaphore(BODIES_OF_STRANGERS)
    app.router.add_post("/backend-api/v2/conversation", conversation)
    app.router.add_get("/backend-api/v2/models", models, allow_head=False)
    app.router.add_get("/backend-api/v2/models/{provider}", models_of, allow_head=False)
    app.router.add_get("/backend-api/v2/providers", providers, allow_head=False)
    app.router.add_get("/backend-api/v2/version", version, allow_head=False)
    return app


def create_runner(app: web.Application, **options: Any) -> web.AppRunner:
    """Give what serves the application, and cuts those off who connect and do not ask."""
    limits = {"keepalive_timeout": HEAD_TIMEOUT, "auto_decompress": False}
    return web.AppRunner(app, access_log=None, logger=_log, **(limits | options))


def _is_ours(record: logging.LogRecord) -> bool:
    """Tell a failure of this program from a client's that does not speak HTTP, or leaves before it has asked."""
    return not (record.exc_info and isinstance(record.exc_info[1], (HttpProcessingError, ConnectionError)))


_log = logging.getLogger("nb_backend.local")
_log.addFilter(_is_ours)


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let in who may come in; every refusal is JSON with one line that says what to do."""
    try:
        if not _HERE.fullmatch(request.headers.get("Host", "")):
            raise Refused(403, "the embedded backend answers to 127.0.0.1 and localhost only")
        if "Origin" in request.headers:
            raise Refused(403, "the embedded backend does not talk to web pages")
        if "Content-Encoding" in request.headers or request.headers.get("Transfer-Encoding", "chunked") != "chunked":
            raise Refused(415, "the embedded backend takes no compressed requests")
        if request.match_info.handler is not conversation and not _is_authorized(
            request
        ):  # which may have it in its body
            raise _unauthorized()
        response = await handler(request)
    except Refused as error:
        response = _refusal(error.status, str(error), **error.headers)
    except web.HTTPRequestEntityTooLarge:
        response = _refusal(413, f"the request is larger than {BODY_LIMIT >> 20} MB: send less or smaller attachments")
    except web.HTTPMethodNotAllowed as error:
        response = _refusal(405, f"{request.path} does not take {error.method}", Allow=error.headers["Allow"])
    except web.HTTPNotFound:
        response = _refusal(404, f"there is no {request.path} here, only what is under /backend-api/v2/")
    response.force_close()  # one request a connection: nothing that came after it on the wire is another
    return response


async def conversation(request: web.Request) -> web.StreamResponse:
    """Stream an answer; when the client leaves, or does not read what it gets, the engine is stopped at once."""
    body = await _body(request)
    with _place(request.app):
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store"}
        )
        response.force_close()
        await response.prepare(request)
        answering = asyncio.create_task(_answer(request, body, response))
        try:
            await _watch(request, response, answering)
        finally:
            answering.cancel()
            await asyncio.wait({answering})
    if not answering.cancelled():
        answering.result()
    if request.transport is not None and request.transport.get_write_buffer_size():
        asyncio.get_running_loop().call_later(WRITE_TIMEOUT, request.transport.abort)
    return response


@contextmanager
def _place(app: web.Application) -> Iterator[None]:
    """Hold one of the places that the engine has for conversations, those that wait for their turn included."""
    limit, taken, place = app[ENGINE].limit, app[ACTIVE], object()
    if limit is not None and len(taken) >= limit:
        raise Refused(
            429,
            f"the embedded backend has {limit} conversations already: ask again later",
            **{"Retry-After": RETRY_AFTER},
        )
    taken.add(place)
    try:
        yield
    finally:
        taken.discard(place)


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
                await _write(request, response, b": still at it\n\n")


async def _answer(request: web.Request, body: Body, response: web.StreamResponse) -> None:
    with suppress(ConnectionError):  # the client has left; an engine's own errors never come here
        async with aclosing(_pieces(request.app[ENGINE], body)) as pieces:
            async for piece in pieces:
                await _write(request, response, piece)
        await _write(request, response, b"")


async def _write(request: web.Request, response: web.StreamResponse, piece: bytes) -> None:
    """Write a piece, or the end if it is empty; a client that does not read is cut off: ``ConnectionError``."""
    try:
        async with asyncio.timeout(WRITE_TIMEOUT):
            await (response.write(piece) if piece else response.write_eof())
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the client does not read its answer") from None


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
    """Read and check a conversation's body, whose token may be in it."""
    known = _is_authorized(request)
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT), nullcontext() if known else request.app[UNAUTHENTICATED]:
            body = bounds.parse_body(await request.read())
        if not isinstance(body, dict):
            raise ValueError('the request\'s body has to be an object: {"model": …, "messages": […]}')
        known = known or _is_authorized(request, body.get("api_key"))
        bounds.validate_body(body)
    except ValueError as error:
        raise (Refused(400, str(error)) if known else _unauthorized()) from None
    except TimeoutError:
        raise Refused(408, f"the request was not all there after {REQUEST_TIMEOUT:g} seconds") from None
    if not known:
        raise _unauthorized()
    return body


def _is_authorized(request: web.Request, key: object = None) -> bool:
    """Tell whether a request brings the token, in a header or as the key that its body has."""
    bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
    token = request.app[TOKEN].encode()
    given = [one for one in (bearer, request.headers.get("x-api-key"), key) if isinstance(one, str)]
    # Bytes: compare_digest takes no other than ASCII strings.
    return any(hmac.compare_digest(one.encode(errors="backslashreplace"), token) for one in given)


def _unauthorized() -> Refused:
    return Refused(401, "this is not the embedded backend's token: leave url unset, or set NB_BACKEND_API_KEY to it")


def _refusal(status: int, message: str, **headers: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status, headers=headers)
