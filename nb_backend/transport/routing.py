"""TLS, proxies, redirects and origins."""

from __future__ import annotations

import os
import re
import ssl
import urllib.request
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address

from yarl import URL

from ..errors import ConnectionFailed
from .errors import one_line


def default_ssl() -> ssl.SSLContext | bool:
    """Give what servers are verified by: ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` as they are set now, else aiohttp's.

    aiohttp reads them when it is imported, and a notebook may set them later.
    """
    named = os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", "")
    if not any(named):
        return True
    return _trusting(*named, *(os.path.getmtime(one) if os.path.exists(one) else 0 for one in named))


@lru_cache(maxsize=4)
def _trusting(file: str, folder: str, *changed: float) -> ssl.SSLContext:
    context = ssl.create_default_context()  # which reads the two
    context.set_alpn_protocols(["http/1.1"])
    return context


def proxy_for(url: URL) -> str | None:
    """Choose the proxy that the environment names for a URL; this machine never has one."""
    host = url.host or ""
    if _is_here(host) or urllib.request.proxy_bypass(f"{host}:{url.port}"):
        return None
    proxy = urllib.request.getproxies().get(url.scheme)
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


@lru_cache(maxsize=64)
def _is_here(host: str) -> bool:
    name = host.rstrip(".").lower()
    try:
        address = ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def redirected(url: URL, location: str, secrets: Iterable[str]) -> URL | ConnectionFailed:
    """Give where a redirect leads, on the same server, or an error if it leads to another one."""
    try:
        target = url.join(URL(location))
        origin = target.origin()
    except ValueError:
        return ConnectionFailed(f"{url.origin()} redirects to no proper url: check the url")
    if target.user is not None or target.password is not None:
        return ConnectionFailed(f"{url.origin()} redirects to a url with a password in it: check the url")
    if origin != url.origin():
        return ConnectionFailed(
            f"{url.origin()} sends on to {one_line(origin, secrets)}, and nothing is sent to another server unasked:"
            " if that is right, set the url to it"
        )
    return target


def same_origin_url(server: str, address: str) -> str | None:
    """Give an address on a server in full, be it written as a url or relative to the server's; None if on another one.

    Nothing is read into what is written in a way that a browser, a person or another library might read otherwise.
    """
    if re.search(r"[\s\\\x00-\x20\x7f]|^//|^(?!https?://[^/?#])[^/?#]*:|^$", address, re.IGNORECASE):
        return None
    try:
        here, there = URL(server), URL(server).join(URL(address))
        same = here.host and (there.scheme, there.host, there.port) == (here.scheme, here.host, here.port)
    except ValueError:
        return None
    return str(there) if same and there.user is None and there.password is None else None
