"""HTTP failures as ``BackendError``."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import orjson
from yarl import URL

from ..errors import AuthError, BackendError, ConnectionFailed, ProtocolError, RateLimitError, ServerError, TimedOut
from ..redaction import spellings
from ..text import unicode_text, visible

RETRYABLE_STATUS = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
MAX_RETRY_AFTER = 60  # seconds; if a server asks to wait longer, there is no automatic retry
_YEAR = 366 * 86_400.0  # seconds
_MAX_CHARS = 10_000  # of a server's message that are read
MORE_TIME = "raise idle_timeout: Chat(…, idle_timeout=600), in a notebook %config BackendMagics.idle_timeout = 600"
STATUS_HINTS = {
    401: "set NB_BACKEND_API_KEY to a key that it accepts",
    403: "set NB_BACKEND_API_KEY to a key that it accepts",
    404: "check the url and the model",
    405: "check the url",
    413: "send less: a shorter text, or smaller images",
    429: "ask again later",
}


def connection_error(error: Exception, url: str) -> BackendError:
    """Return the ``BackendError`` for an exception of aiohttp or asyncio."""
    if isinstance(error, BackendError):
        return error
    origin = URL(url).origin()
    if isinstance(error, TimeoutError):
        retryable = isinstance(error, aiohttp.ServerTimeoutError)  # while connecting: the request was not sent
        hint = "that the server runs" if retryable else f"the server, or {MORE_TIME}"
        return TimedOut(f"{origin} did not answer in time: check the url and {hint}", retryable=retryable)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return ConnectionFailed(f"{origin} has no trusted certificate: check the url, or set SSL_CERT_FILE")
    if isinstance(error, aiohttp.ClientSSLError):
        return ConnectionFailed(f"{origin} does not speak TLS: check whether its url starts with http://")
    if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        return ConnectionFailed(
            f"The proxy for {origin} refused the connection: check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = error.os_error.strerror or "no connection"
        return ConnectionFailed(
            f"Nobody answers at {origin} ({reason}): start the server there, or set another url", retryable=True
        )
    if isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError | OSError):
        return ConnectionFailed(f"The connection to {origin} broke: ask again", retryable=True)
    return ProtocolError(f"{origin} did not answer in valid HTTP: check the url, or ask again")


def not_an_answer(url: str, body: bytes, secrets: Iterable[str] = ()) -> ProtocolError:
    """Return the error for a body that is not an answer; its message quotes the start of the body."""
    start = one_line(body.decode("utf-8", "replace"), secrets, 60)
    sent = f"it sent {start!r}" if start else "it sent nothing"
    return ProtocolError(f"{URL(url).origin()} did not answer as a backend does ({sent}): check the url")


def status_error(
    url: str, status: int, headers: Mapping[str, str], body: bytes, secrets: Iterable[str] = ()
) -> BackendError:
    """Return the ``BackendError`` for an HTTP error status, with the server's message, code and ``Retry-After``."""
    server_message, code = _server_message(body, secrets)
    is_temporary = status >= 500 or status in RETRYABLE_STATUS
    hint = STATUS_HINTS.get(status) or ("ask again later" if is_temporary else "change the prompt or its options")
    wait = _retry_after(headers)
    if wait and is_temporary:
        hint = f"ask again in {f'{math.ceil(wait)} s' if wait <= 120 else f'{math.ceil(wait / 60)} minutes'}"
    message = f"{URL(url).origin()} answered {status}{f' ({server_message})' if server_message else ''}: {hint}"
    retryable = status in RETRYABLE_STATUS and (wait or 0) <= MAX_RETRY_AFTER
    return error_class(status)(message, retry_after=wait, retryable=retryable, code=code, status=status)


def error_class(status: int, name: str = "") -> type[BackendError]:
    """Choose the kind of error by an HTTP status (0: unknown) and by what the server calls the error."""
    flat = name.lower().replace("_", "")
    if status in (401, 403) or "auth" in flat or "invalidapikey" in flat:
        return AuthError
    if status == 429 or "ratelimit" in flat:
        return RateLimitError
    return ServerError


def _server_message(body: bytes, secrets: Iterable[str]) -> tuple[str, str]:
    """Return the message and the error code in the body of an error status; both are "" for an HTML page."""
    try:
        value: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body.decode("utf-8", "replace").strip()
        return ("" if text.startswith("<") else one_line(text, secrets)), ""
    code = ""
    for key in ("error", "message", "detail"):
        if isinstance(value, dict):
            code = one_line(value.get("code") or code, secrets, 60)
            value = value.get(key) or value
    return one_line(value, secrets), code


def one_line(value: Any, secrets: Iterable[str], limit: int = 300) -> str:
    """Return a server's text as one line of at most ``limit`` characters, safe for a terminal, with secrets masked."""
    text = ""
    with suppress(RecursionError):  # a value that is nested too deeply has no text
        text = str(value or "")
    text = _mask(text, secrets)
    text = " ".join(visible(unicode_text(text[:_MAX_CHARS])).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _mask(text: str, secrets: Iterable[str]) -> str:
    """Mask secrets in any spelling and case, and remove the start of a secret at the end: the body may be cut there.

    Stricter than ``redaction.mask``: also for keys of 4 to 7 characters, as servers repeat them in error messages.
    """
    for secret in secrets:
        if len(secret) > 3:
            longest_first = sorted(spellings(secret), key=len, reverse=True)
            text = re.sub("|".join(map(re.escape, longest_first)), "***", text, flags=re.IGNORECASE)
            cut = max((size for size in range(4, len(secret)) if text.endswith(secret[:size])), default=0)
            text = text[: len(text) - cut]
    return text


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of ``retry-after-ms`` or ``Retry-After`` (RFC 9110 10.2.3), at most a year; else ``None``."""
    try:
        if (milliseconds := headers.get("retry-after-ms", "")).strip().isdecimal():
            return min(float(milliseconds) / 1000, _YEAR)
        value = headers.get("Retry-After", "").strip()
        if value.replace(".", "", 1).isdecimal():
            return min(float(value), _YEAR)
        date = parsedate_to_datetime(value)
        date = date if date.tzinfo else date.replace(tzinfo=UTC)  # asctime's format has no time zone
        return min(max(0.0, date.timestamp() - time.time()), _YEAR)
    except Exception:  # the parser of dates raises many kinds
        return None
