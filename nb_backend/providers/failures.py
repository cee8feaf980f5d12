"""What a failure means to the person who asked: which of the six kinds, and what to do next."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import orjson
from yarl import URL

from ..errors import AuthError, BackendError, ConnectionFailed, ProtocolError, RateLimitError, ServerError, TimedOut
from .response import RawResponse

RETRYABLE_STATUS = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
MAX_RETRY_AFTER = 60  # seconds; a server that asks for more is not asked again unbidden
_FIRST_DELAY, _LAST_DELAY = 0.5, 8.0  # seconds

_HINTS = {
    401: "set NB_BACKEND_API_KEY to a key that it accepts",
    403: "set NB_BACKEND_API_KEY to a key that it accepts",
    404: "check the url and the model",
    405: "check the url",
    413: "send less: a shorter text, or smaller images",
    429: "ask again later",
}
_KIND_HINTS = {AuthError: _HINTS[401], RateLimitError: _HINTS[429]}


def connection_error(error: Exception, url: str) -> BackendError:
    """Say what an exception of the HTTP client means."""
    if isinstance(error, BackendError):
        return error
    origin = URL(url).origin()
    if isinstance(error, TimeoutError):
        retryable = isinstance(error, aiohttp.ServerTimeoutError)  # it was connecting, the question was not sent
        return TimedOut(f"{origin} did not answer in time: check the url and that the server runs", retryable=retryable)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return ConnectionFailed(f"{origin} has no certificate to be trusted: check the url, or set SSL_CERT_FILE")
    if isinstance(error, aiohttp.ClientSSLError):
        return ConnectionFailed(f"{origin} does not speak TLS as it should: check whether its url begins with http://")
    if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        return ConnectionFailed(f"The proxy on the way to {origin} refuses: check HTTPS_PROXY, HTTP_PROXY and NO_PROXY")
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = error.os_error.strerror or "no connection"
        return ConnectionFailed(
            f"Nobody answers at {origin} ({reason}): start the server there, or set another url", retryable=True
        )
    if isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError | OSError):
        return ConnectionFailed(f"The connection to {origin} broke: ask again", retryable=True)
    return ProtocolError(f"{origin} does not speak HTTP as it should ({type(error).__name__}): check the url")


def not_a_backend(url: str, body: bytes, secret: str | None = None) -> ProtocolError:
    """Say that what a server sent is no answer, and how it begins."""
    start = _one_line(body.decode("utf-8", "replace"), secret, 60)
    sent = f"it sent {start!r}" if start else "it sent nothing"
    return ProtocolError(f"{URL(url).origin()} did not answer as a backend does ({sent}): check the url")


def status_error(
    url: str, status: int, headers: Mapping[str, str], body: bytes, secret: str | None = None
) -> BackendError:
    """Say what an HTTP status means, with the words of the server."""
    said, code = _said(body, secret)
    hint = _HINTS.get(status) or ("ask again later" if status >= 500 else "change the question or its options")
    wait = _retry_after(headers)
    if wait and hint == "ask again later":
        hint = f"ask again in {math.ceil(wait)} s"
    message = f"{URL(url).origin()} answered {status}{f' ({said})' if said else ''}: {hint}"
    retryable = status in RETRYABLE_STATUS and (wait or 0) <= MAX_RETRY_AFTER
    return _kind(status, "")(message, retry_after=wait, retryable=retryable, code=code)


def event_error(event: RawResponse, secret: str | None = None) -> BackendError:
    """Say what an ``error``, ``auth`` or ``message`` event means."""
    detail = event.get("error")
    fields = detail if isinstance(detail, dict) else {"type": detail}
    name = f"{fields.get('type')} {fields.get('code')}"
    message = event.get("message") or fields.get("message") or detail or event.get("content") or event.get("auth")
    code = fields.get("code", event.get("code"))
    kind = AuthError if event.type == "auth" else _kind(code if isinstance(code, int) else 0, name)
    said = _one_line(message, secret) or "The server says that it failed, and not why: ask again"
    hint = _KIND_HINTS.get(kind)
    return kind(f"{said.rstrip('.')}: {hint}" if hint else said)


def delay_before_retry(attempt: int, error: BackendError) -> float:
    """Choose how many seconds to wait: what the server asks for, else exponential with jitter, 0.5 to 8 s."""
    if error.retry_after is not None:
        return error.retry_after
    return min(_LAST_DELAY, _FIRST_DELAY * 2.0**attempt) * random.uniform(0.75, 1)  # noqa: S311  jitter is no secret


def _kind(status: int, name: str) -> type[BackendError]:
    flat = name.lower().replace("_", "")
    if status in (401, 403) or "auth" in flat or "invalidapikey" in flat:
        return AuthError
    if status == 429 or "ratelimit" in flat:
        return RateLimitError
    return ServerError


def _said(body: bytes, secret: str | None) -> tuple[str, str]:
    """Find the message and the code in the body of an error status; a page that is not JSON says nothing to show."""
    try:
        value: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body.decode("utf-8", "replace").strip()
        return ("" if text.startswith("<") else _one_line(text, secret)), ""
    code = ""
    for key in ("error", "message", "detail"):
        if isinstance(value, dict):
            code = _one_line(value.get("code") or code, secret, 60)
            value = value.get(key) or value
    return _one_line(value, secret), code


def _one_line(value: Any, secret: str | None, limit: int = 300) -> str:
    """Make a server's words one short line; the secret is taken out first, for half of it would be no better."""
    text = str(value or "")
    if secret and len(secret) > 3:
        text = text.replace(secret, "***")
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Read Retry-After (seconds or an HTTP date, RFC 9110 10.2.3) or retry-after-ms, in seconds."""
    try:
        if (milliseconds := headers.get("retry-after-ms", "")).strip().isdecimal():
            return float(milliseconds) / 1000
        value = headers.get("Retry-After", "").strip()
        if value.replace(".", "", 1).isdecimal():
            return float(value)
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
