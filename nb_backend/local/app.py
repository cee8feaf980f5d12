"""The HTTP application of the embedded backend: g4f's backend API, answered by one engine.

Every program on this machine can reach it, and so can the web pages in a browser. Therefore a request is answered only
if it has the token, names this machine in ``Host``, and does not come from a web page (has no ``Origin``).
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
from .engine import Body, Engine, Event, error_event, label
from .validation import parse_body, validate_body

ENGINE: web.AppKey[Engine] = web.AppKey("engine")
TOKEN: web.AppKey[str] = web.AppKey("token")
ACTIVE: web.AppKey[set[object]] = web.AppKey("active")
UNAUTHENTICATED: web.AppKey[asyncio.Semaphore] = web.AppKey("unauthenticated")

BODY_LIMIT = 64 * 2**20  # bytes
UNAUTHENTICATED_LIMIT = 8  # bodies read at once from clients without a token in a header, who could fill the memory
HEAD_TIMEOUT = 30  # seconds until the head of a request has to be there
BODY_TIMEOUT = 60.0  # seconds until the whole body has to be there
WRITE_TIMEOUT = 60.0  # seconds until the client has to read what was written
RETRY_AFTER = 10  # seconds that a client is told to wait if the engine has no room
_LOCAL_HOST = re.compile(r"(127\.0\.0\.1|localhost)(:\d+)?", re.ASCII | re.IGNORECASE)
_POLL_INTERVAL = 0.05  # seconds between two checks whether the client is still connected
_KEEPALIVE_AFTER = 15.0  # seconds without an event until a comment tells the client that the work goes on

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refused(Exception):
    """A request that is refused, with an HTTP status and one line that says why."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


def create_app(engine: Engine, *, token: str) -> web.Application:
    """Return the application in which an engine answers requests that have the token. Serve it on 127.0.0.1 only.

    An engine that is not ready yet can yield ``progress`` events first.
    """
    app = web.Application(middlewares=[guard], client_max_size=BODY_LIMIT)
    app[ENGINE] = engine
    app[TOKEN] = token
    app[ACTIVE] = set()
    app[UNAUTHENTICATED] = asyncio.Semaphore(UNAUTHENTICATED_LIMIT)
    app.router.add_post("/backend-api/v2/conversation", conversation)
    app.router.add_get("/backend-api/v2/models", models, allow_head=False)
    app.router.add_get("/backend-api/v2/models/{provider}", models_of, allow_head=False)
    app.router.add_get("/backend-api/v2/providers", providers, allow_head=False)
    app.router.add_get("/backend-api/v2/version", version, allow_head=False)
    return app


def create_runner(app: web.Application, **options: Any) -> web.AppRunner:
    """Return a runner for the application. It disconnects clients that send no request in time."""
    limits = {"keepalive_timeout": HEAD_TIMEOUT, "auto_decompress": False}
    return web.AppRunner(app, access_log=None, logger=_log, **(limits | options))


def _is_server_failure(record: logging.LogRecord) -> bool:
    """Whether a log record is about this program, not about a client that sends bad HTTP or disconnects."""
    return not (record.exc_info and isinstance(record.exc_info[1], (HttpProcessingError, ConnectionError)))


_log = logging.getLogger("nb_backend.local")
_log.addFilter(_is_server_failure)


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Check each request before its handler runs. A refusal is JSON with one line that says what to do."""
    try:
        if not _LOCAL_HOST.fullmatch(request.headers.get("Host", "")):
            raise Refused(
                403, "the embedded backend answers only as 127.0.0.1 or localhost: use one of them in the url"
            )
        if "Origin" in request.headers:
            raise Refused(403, "the embedded backend does not answer web pages: send the request from a program")
        if "Content-Encoding" in request.headers or request.headers.get("Transfer-Encoding", "chunked") != "chunked":
            raise Refused(415, "the embedded backend does not accept compressed requests: send it uncompressed")
        has_token_in_body = request.match_info.handler is conversation  # checked when the body is read
        if not has_token_in_body and not _is_authorized(request):
            raise _unauthorized()
        response = await handler(request)
    except Refused as error:
        response = _refusal(error.status, str(error), **error.headers)
    except web.HTTPRequestEntityTooLarge:
        response = _refusal(413, f"the request is larger than {BODY_LIMIT >> 20} MB: send less or smaller attachments")
    except web.HTTPMethodNotAllowed as error:
        response = _refusal(405, f"{request.path} does not accept {error.method}", Allow=error.headers["Allow"])
    except web.HTTPNotFound:
        response = _refusal(404, f"there is no {request.path} here: the paths begin with /backend-api/v2/")
    response.force_close()  # one request per connection: bytes after it are not read as another request
    return response


async def conversation(request: web.Request) -> web.StreamResponse:
    """Stream an answer. The engine is stopped at once if the client disconnects or does not read."""
    body = await _read_body(request)
    with _active(request.app):
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store"}
        )
        response.force_close()
        await response.prepare(request)
        answering = asyncio.create_task(_answer(request, body, response))
        try:
            await _wait_for(answering, request, response)
        finally:
            answering.cancel()
            await asyncio.wait({answering})
    if not answering.cancelled():
        answering.result()
    if request.transport is not None and request.transport.get_write_buffer_size():
        asyncio.get_running_loop().call_later(WRITE_TIMEOUT, request.transport.abort)
    return response


@contextmanager
def _active(app: web.Application) -> Iterator[None]:
    """Count a request as active. Refuse it if the engine has as many as it accepts, waiting ones included."""
    limit, active, entry = app[ENGINE].limit, app[ACTIVE], object()
    if limit is not None and len(active) >= limit:
        raise Refused(
            429,
            f"the embedded backend has {limit} requests already: ask again in {RETRY_AFTER} seconds",
            **{"Retry-After": str(RETRY_AFTER)},
        )
    active.add(entry)
    try:
        yield
    finally:
        active.discard(entry)


async def models(request: web.Request) -> web.Response:
    """Return the providers and their models: one of each."""
    name = request.app[ENGINE].name
    return web.json_response({name: [name]})


async def models_of(request: web.Request) -> web.Response:
    """Return the models of a provider, and what they can do."""
    engine = request.app[ENGINE]
    if request.match_info["provider"] != engine.name:
        raise Refused(404, f"there is only one provider here: {engine.name}")
    return web.json_response([{"id": engine.name, "default": True, "tags": [], **_description(engine)}])


async def providers(request: web.Request) -> web.Response:
    """Return the providers: one, which needs no key of its own."""
    engine = request.app[ENGINE]
    return web.json_response([{"name": engine.name, "auth": False, **_description(engine)}])


async def version(request: web.Request) -> web.Response:
    """Return the version of nb_backend."""
    return web.json_response({"version": __version__, "latest_version": __version__})


def _description(engine: Engine) -> dict[str, Any]:
    return {"label": label(engine.name), "vision": engine.vision, "image": False, "audio": False}


async def _wait_for(answering: asyncio.Task[None], request: web.Request, response: web.StreamResponse) -> None:
    """Wait until the answer ends or the client disconnects. A quiet connection is sent comments.

    The connection is polled: aiohttp cancels a handler when its client leaves only if the runner is told to, and tests
    and other programs may serve this application with runners of their own.
    """
    clock = asyncio.get_running_loop().time
    written, since = response.body_length, clock()
    while not answering.done() and request.transport is not None and not request.transport.is_closing():
        await asyncio.wait({answering}, timeout=_POLL_INTERVAL)
        if response.body_length != written:
            written, since = response.body_length, clock()
        elif clock() - since > _KEEPALIVE_AFTER:
            with suppress(ConnectionError):
                await _write(request, response, b": still at it\n\n")


async def _answer(request: web.Request, body: Body, response: web.StreamResponse) -> None:
    with suppress(ConnectionError):  # the client has left; errors of the engine are events
        async with aclosing(_encoded_events(request.app[ENGINE], body)) as events:
            async for event in events:
                await _write(request, response, event)
        await _write(request, response, b"")


async def _write(request: web.Request, response: web.StreamResponse, data: bytes) -> None:
    """Write data, or the end if it is empty. ``ConnectionError`` if the client does not read: it is disconnected."""
    try:
        async with asyncio.timeout(WRITE_TIMEOUT):
            await (response.write(data) if data else response.write_eof())
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the client does not read its answer") from None


async def _encoded_events(engine: Engine, body: Body) -> AsyncGenerator[bytes, None]:
    """Yield the events of an answer as bytes. If the engine fails, the last one is an ``error`` event."""
    async with aclosing(engine.stream(body)) as events:
        try:
            async for event in events:
                yield event if isinstance(event, bytes) else _encode(event)
        except Exception as error:
            yield _encode(error_event(error))


def _encode(event: Event) -> bytes:
    # json, not orjson: g4f's servers write spaces and \u escapes as json does.
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


async def _read_body(request: web.Request) -> Body:
    """Read and check the body of a request. The token may be in it, as ``api_key``."""
    is_authorized = _is_authorized(request)
    slot = nullcontext() if is_authorized else request.app[UNAUTHENTICATED]
    try:
        async with asyncio.timeout(BODY_TIMEOUT), slot:
            body = parse_body(await request.read())
        if not isinstance(body, dict):
            raise ValueError('the request\'s body has to be an object: {"model": …, "messages": […]}')
        is_authorized = is_authorized or _is_authorized(request, body.get("api_key"))
        validate_body(body)
    except ValueError as error:
        raise (Refused(400, str(error)) if is_authorized else _unauthorized()) from None
    except TimeoutError:
        raise Refused(408, f"the request was not complete after {BODY_TIMEOUT:g} seconds: send it again") from None
    if not is_authorized:
        raise _unauthorized()
    return body


def _is_authorized(request: web.Request, key: object = None) -> bool:
    """Whether a request has the token, in a header or as the key from its body."""
    bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
    token = request.app[TOKEN].encode()
    given = [one for one in (bearer, request.headers.get("x-api-key"), key) if isinstance(one, str)]
    # compare_digest accepts strings only if they are ASCII, so it is given bytes.
    return any(hmac.compare_digest(one.encode(errors="backslashreplace"), token) for one in given)


def _unauthorized() -> Refused:
    return Refused(401, "this is not the embedded backend's token: leave url unset, or set NB_BACKEND_API_KEY to it")


def _refusal(status: int, message: str, **headers: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status, headers=headers)
