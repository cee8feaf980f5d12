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
from .error_body import one_line


def default_ssl() -> ssl.SSLContext | bool:
    """Return the TLS context for ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``; ``True`` (aiohttp's) if neither is set.

    aiohttp reads the two variables at its import, but a notebook may set them later.
    """
    paths = os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", "")
    if not any(paths):
        return True
    return _context_for(*paths, *(os.path.getmtime(path) if os.path.exists(path) else 0 for path in paths))


@lru_cache(maxsize=4)
def _context_for(file: str, folder: str, *modified: float) -> ssl.SSLContext:
    context = ssl.create_default_context()  # reads the two variables
    context.set_alpn_protocols(["http/1.1"])
    return context


def proxy_for(url: URL) -> str | None:
    """Return the proxy that the environment sets for a url; ``None`` for urls of this machine.

    ``ALL_PROXY`` counts if there is none for the url's scheme. Raises ``ConnectionFailed`` for a proxy that is not
    asked over HTTP, like a SOCKS proxy: the request must not go around it.
    """
    host = url.host or ""
    if _is_this_machine(host) or urllib.request.proxy_bypass(f"{host}:{url.port}"):
        return None
    proxies = urllib.request.getproxies()
    name = url.scheme if proxies.get(url.scheme) else "all"
    proxy = proxies.get(name)
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    variable, kind = f"{name.upper()}_PROXY", proxy.partition("://")[0].lower()
    instead = f"set {variable} to an http:// proxy, or NO_PROXY={host} to connect without one"
    if kind not in ("http", "https"):
        named = "a SOCKS proxy" if kind.startswith("socks") else f"a proxy of the kind {one_line(kind, (), 20)!r}"
        raise ConnectionFailed(f"{variable} names {named}, which is not supported, so nothing was sent: {instead}")
    try:
        is_valid = URL(proxy).host is not None
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ConnectionFailed(f"{variable} is not the url of a proxy, so nothing was sent: {instead}")
    return proxy


@lru_cache(maxsize=64)
def _is_this_machine(host: str) -> bool:
    name = host.rstrip(".").lower()
    try:
        address = ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def redirected(url: URL, location: str, secrets: Iterable[str]) -> URL | ConnectionFailed:
    """Return the target of a redirect, or an error if it is not on the same origin."""
    try:
        target = url.join(URL(location))
        origin = target.origin()
    except ValueError:
        return ConnectionFailed(f"{url.origin()} redirects to an invalid url: check the url")
    if target.user is not None or target.password is not None:
        return ConnectionFailed(f"{url.origin()} redirects to a url with a password in it: check the url")
    if origin != url.origin():
        return ConnectionFailed(
            f"{url.origin()} redirects to another server, {one_line(origin, secrets)}, which is not followed: if it is"
            " the right one, set its url"
        )
    return target


def same_origin_url(server: str, address: str) -> str | None:
    """Return the absolute url of an address on a server; ``None`` if the address is on another origin.

    Addresses that another library, a browser or a person may read differently are refused too.
    """
    if re.search(r"[\s\\\x00-\x20\x7f]|^//|^(?!https?://[^/?#])[^/?#]*:|^$", address, re.IGNORECASE):
        return None
    try:
        here, there = URL(server), URL(server).join(URL(address))
        same = here.host and (there.scheme, there.host, there.port) == (here.scheme, here.host, here.port)
    except ValueError:
        return None
    return str(there) if same and there.user is None and there.password is None else None
