"""HTTP failures as BackendError."""

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
MAX_RETRY_AFTER = 60  # seconds; a server that asks for more is not asked again unbidden
_YEAR = 366 * 86_400.0  # seconds
_MAX_CHARS = 10_000  # characters of what a server says that are looked at
_HINTS = {
    401: "set NB_BACKEND_API_KEY to a key that it accepts",
    403: "set NB_BACKEND_API_KEY to a key that it accepts",
    404: "check the url and the model",
    405: "check the url",
    413: "send less: a shorter text, or smaller images",
    429: "ask again later",
}


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
    return ProtocolError(f"{origin} does not speak HTTP as it should: check the url, or ask again")


def not_an_answer(url: str, body: bytes, secrets: Iterable[str] = ()) -> ProtocolError:
    """Say that what a server sent is no answer, and how it begins."""
    start = one_line(body.decode("utf-8", "replace"), secrets, 60)
    sent = f"it sent {start!r}" if start else "it sent nothing"
    return ProtocolError(f"{URL(url).origin()} did not answer as a backend does ({sent}): check the url")


def status_error(
    url: str, status: int, headers: Mapping[str, str], body: bytes, secrets: Iterable[str] = ()
) -> BackendError:
    """Say what an HTTP status means, with the words of the server."""
    said, code = _server_message(body, secrets)
    later = status >= 500 or status in RETRYABLE_STATUS
    hint = _HINTS.get(status) or ("ask again later" if later else "change the question or its options")
    wait = _retry_after(headers)
    if wait and later:
        hint = f"ask again in {f'{math.ceil(wait)} s' if wait <= 120 else f'{math.ceil(wait / 60)} minutes'}"
    message = f"{URL(url).origin()} answered {status}{f' ({said})' if said else ''}: {hint}"
    retryable = status in RETRYABLE_STATUS and (wait or 0) <= MAX_RETRY_AFTER
    return _kind(status, "")(message, retry_after=wait, retryable=retryable, code=code, status=status)


def _kind(status: int, name: str) -> type[BackendError]:
    flat = name.lower().replace("_", "")
    if status in (401, 403) or "auth" in flat or "invalidapikey" in flat:
        return AuthError
    if status == 429 or "ratelimit" in flat:
        return RateLimitError
    return ServerError


def _server_message(body: bytes, secrets: Iterable[str]) -> tuple[str, str]:
    """Find the message and the code in the body of an error status; a page that is not JSON says nothing to show."""
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
    """Make a server's words one short line that steers no terminal; secrets go first: half of one is no better."""
    text = ""
    with suppress(RecursionError):  # one that is nested too deeply says nothing
        text = str(value or "")
    for secret in secrets:
        if len(secret) > 3:
            spelt = "|".join(map(re.escape, sorted(spellings(secret), key=len, reverse=True)))
            text = re.sub(spelt, "***", text, flags=re.IGNORECASE)
            cut = max((size for size in range(4, len(secret)) if text.endswith(secret[:size])), default=0)
            text = text[: len(text) - cut]  # what is looked at may end within one
    text = " ".join(visible(unicode_text(text[:_MAX_CHARS])).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Read Retry-After (seconds or an HTTP date, RFC 9110 10.2.3) or retry-after-ms, in seconds: a year at the most."""
    try:
        if (milliseconds := headers.get("retry-after-ms", "")).strip().isdecimal():
            return min(float(milliseconds) / 1000, _YEAR)
        value = headers.get("Retry-After", "").strip()
        if value.replace(".", "", 1).isdecimal():
            return min(float(value), _YEAR)
        date = parsedate_to_datetime(value)
        date = date if date.tzinfo else date.replace(tzinfo=UTC)  # the old form of C's asctime names no zone
        return min(max(0.0, date.timestamp() - time.time()), _YEAR)
    except Exception:  # whatever reading a date raises
        return None
