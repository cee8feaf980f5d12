"""HTTP. Nothing here knows of models.

- ``session``     send a request, follow redirects
- ``response``    read the body of a response, with a limit on the time without data
- ``compression``  a compressed body, decompressed as it arrives
- ``connection``  all that is used of aiohttp's internals, so that no received byte is lost
- ``routing``     TLS, proxies, redirects, addresses on the same origin
- ``pool``        connections and waits that concurrent calls share
- ``lines``       bytes to lines
- ``json_body``   the JSON body of a request
- ``errors``      HTTP failures as ``BackendError``
- ``error_body``  what a server says about an error, as a sentence
- ``refusal``     the ``BackendError`` for it, and whether a retry is worth it
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .response import StreamResponse as StreamResponse
    from .session import StreamSession as StreamSession

_HOMES = {"StreamResponse": "response", "StreamSession": "session"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
