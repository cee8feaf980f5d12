"""HTTP failures as ``BackendError``."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from ..errors import BackendError, ConnectionFailed, ProtocolError, TimedOut
from .error_body import ErrorBody, body_value, one_line, page_title
from .refusal import refusal

_TLS_PORTS = (443, 8443)  # where a server closes a connection that does not begin with TLS
_YEAR = 366 * 86_400.0  # seconds
MORE_TIME = "raise idle_timeout: Chat(…, idle_timeout=600), in a notebook %config BackendMagics.idle_timeout = 600"
START_SERVER = "start the server there, or set another url"
_MAX_CHARS = 10_000  # of a page that are searched
_CHALLENGED = "Cloudflare's check for browsers: use the url of the server's API, or ask from another network"
_CHALLENGE = re.compile(r"<title>\s*(?:Just a moment\.\.\.|Attention Required! \| Cloudflare)|cf-chl-|_cf_chl_opt")
_BLOCKED = re.compile(r"\s*error code: 1\d{3}\s*$")  # all that Cloudflare sends to a client that is not a browser
_LOGIN = re.compile(r"\b(?:log|sign)[ -]?(?:in|on)\b|\blogin|authenticat|single sign|\bsso\b", re.IGNORECASE)
_NEEDS_TLS = re.compile(
    r"HTTP request (?:was sent )?to (?:an )?HTTPS (?:port|server)|plain HTTP to an SSL|combination of host and port"
    r" requires TLS|(?:HTTPS|SSL) (?:is )?required|use the HTTPS scheme",
    re.IGNORECASE,
)
"""How nginx, Go, Apache, Tomcat and IIS refuse plain HTTP on a port for TLS."""


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
            f"The proxy for {origin} refused the connection: check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY"
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = error.os_error.strerror or "no connection"
        if reason.startswith("Connect call failed") and error.os_error.errno:  # of asyncio, with the address once more
            reason = os.strerror(error.os_error.errno)
        return ConnectionFailed(f"Nobody answers at {origin} ({reason}): {START_SERVER}", retryable=True)
    if isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError | OSError):
        is_for_tls = origin.scheme == "http" and origin.port in _TLS_PORTS
        hint = "write its url with https://" if is_for_tls else "ask again"
        return ConnectionFailed(f"The connection to {origin} broke: {hint}", retryable=True)
    return ProtocolError(f"{origin} did not answer in valid HTTP: check the url, or ask again")


def not_an_answer(url: str, body: bytes, secrets: Iterable[str] = ()) -> ProtocolError:
    """Return the error for a body that is not an answer; its message names the web page or quotes the start."""
    origin, text = URL(url).origin(), body.decode("utf-8", "replace")
    title = one_line(page_title(text), secrets, 60) if text.lstrip().startswith("<") else ""
    if _CHALLENGE.search(text):
        return ProtocolError(f"{origin} sent {_CHALLENGED}")
    if _LOGIN.search(title):
        return ProtocolError(
            f"{origin} did not answer as a backend does (it sent the login page {title!r}): log in with a browser if"
            " your network requires it, or check the url"
        )
    start = one_line(text, secrets, 60)
    sent = f"it sent the web page {title!r}" if title else f"it sent {start!r}" if start else "it sent nothing"
    return ProtocolError(f"{origin} did not answer as a backend does ({sent}): check the url", status=200)


def status_error(
    url: str, status: int, headers: Mapping[str, str], body: bytes, secrets: Iterable[str] = ()
) -> BackendError:
    """Return the ``BackendError`` for an HTTP error status, with the server's message, code and ``Retry-After``."""
    address = URL(url)
    path = f" for {one_line(address.path, secrets, 100)}" if status in (404, 405) else ""
    answered = f"{address.origin()} answered {status}{path}"
    if _is_challenge(status, headers, body):
        return ProtocolError(f"{answered} with {_CHALLENGED}", status=status)
    if status in (400, 403, 426, 497) and _NEEDS_TLS.search(body[:_MAX_CHARS].decode("utf-8", "replace")):
        return ConnectionFailed(f"{answered}, as it speaks TLS: write its url with https://", status=status)
    said = ErrorBody.of(body_value(body))
    message = one_line(said.message.removeprefix(f"{status} "), secrets)
    answered += f" ({message})" if message else ""
    return refusal(answered, said, status=status, wait=retry_after(headers), secrets=secrets)


def speaks_tls(url: str) -> ConnectionFailed:
    """Return the error for a server that answers plain HTTP with a TLS record."""
    return ConnectionFailed(f"{URL(url).origin()} speaks TLS: write its url with https://")


def _is_challenge(status: int, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether Cloudflare has answered with a check for browsers, or has blocked the request."""
    start = body[:_MAX_CHARS].decode("utf-8", "replace")
    is_page = start.lstrip().startswith("<")
    is_blocked = is_page and status in (403, 503) and headers.get("Server", "").lower() == "cloudflare"
    is_blocked |= status in (403, 503) and _BLOCKED.match(start) is not None
    return is_blocked or headers.get("cf-mitigated") == "challenge" or bool(is_page and _CHALLENGE.search(start))


def retry_after(headers: Mapping[str, str]) -> float | None:
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
