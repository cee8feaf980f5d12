"""Addresses of the web: which of them lead to the server that was asked."""

from __future__ import annotations

import re

from yarl import URL


def own_url(server: str, address: str) -> str | None:
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
