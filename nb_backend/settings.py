"""Where the url, the key and the model come from. First found wins:

1. the argument of the call
2. what was set in this process: ``%config`` or ``%backend`` in a notebook, ``settings.current`` elsewhere
3. the environment: ``NB_BACKEND_URL``, ``NB_BACKEND_API_KEY`` (then ``G4F_API_KEY``), ``NB_BACKEND_MODEL``
4. the embedded backend, no key, the server's own default model

Where answers are kept to be replayed (``cache``) goes the same way; its environment is ``NB_BACKEND_CACHE``, a folder,
and ``NB_BACKEND_CACHE_ONLY``: no server is asked.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal, overload
from urllib.parse import urlsplit

DEFAULT_CACHE = "nb_backend_cache"


class Secret:
    """A key that shows itself nowhere: not in reprs, not in ``vars()``, and a pickle leaves it behind."""

    __slots__ = ("value",)

    def __init__(self, value: str | None = None) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "Secret(set)" if self.value else "Secret(none)"

    def __reduce__(self) -> tuple[type[Secret], tuple[()]]:
        return Secret, ()

    def __deepcopy__(self, memo: object) -> Secret:
        return self  # a copy stays in this process, a pickle does not


@dataclass
class Settings:
    """What was set in this process; ``None`` is not set. The key is in no repr."""

    url: str | None = None  # or several, separated by spaces
    api_key: str | None = field(default=None, repr=False)
    model: str | None = None
    aliases: dict[str, str] = field(default_factory=dict)  # short names of models
    max_image_side: int | None = 2048  # pixels; a larger image is scaled down before it is sent
    max_image_bytes: int | None = 8 * 2**20  # of its file
    cache: bool | str | None = None  # whether answers are kept, or the folder
    max_cache_bytes: int = 256 * 2**20  # of all answers in the folder


current = Settings()


def url(argument: str | Iterable[str] | None = None) -> str | None:
    """Give the server's base URL without a trailing slash, the first if there are several; ``None`` for the embedded
    backend. ``ValueError`` if it is no http(s) URL.
    """
    return next(iter(urls(argument)), None)


def urls(argument: str | Iterable[str] | None = None) -> list[str]:
    """Give the base URLs of all servers, to be tried in turn: separated by spaces or commas, or a list of them.

    None are the embedded backend. ``ValueError`` if one is no http(s) URL.
    """
    given = argument if argument is None or isinstance(argument, str) else " ".join(argument)
    found = given or current.url or os.environ.get("NB_BACKEND_URL")
    if not found:
        return []
    return [*_bases(found)]


@lru_cache(maxsize=64)
def _bases(found: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(_base, re.split(r"[\s,]+", found.strip()))))


def _base(found: str) -> str:
    if re.match(r"[^/?#]*//[^/?#]*@", found):
        raise ValueError("a url with a password in it is refused: set NB_BACKEND_API_KEY instead")
    if not _is_server(found):
        from .redaction import redact

        shown = redact(found.partition("?")[0])
        raise ValueError(f"{shown!r} is not a server's url: write it like http://localhost:8080 or https://host/v1")
    for call in ("/conversation", "/backend-api/v2", "/chat/completions"):
        found = found.rstrip("/").removesuffix(call)
    return found.rstrip("/")


def _is_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and not (parts.query or parts.fragment or re.search(r"\s", url))
        )
    except ValueError:  # a port that is none, brackets that do not match
        return False


def api_key(argument: str | None = None) -> str | None:
    """Give the key to send, if there is one. ``ValueError`` if it has a line end or the like within."""
    given, argument = Secret(argument), None  # no frame of a traceback shows it
    return secret(given).value


def secret(argument: Secret) -> Secret:
    """Give the key to send as a secret; ``ValueError`` if it has a line end or the like within."""
    found = argument.value or current.api_key or os.environ.get("NB_BACKEND_API_KEY") or os.environ.get("G4F_API_KEY")
    key, found = Secret((found or "").strip() or None), None
    if not (key.value or "").isprintable():
        raise ValueError("the key has a line end, or another character that none has, within: set it again")
    return key


def image_bounds() -> tuple[int, int]:
    """Give the most bytes, and the most pixels a side, that an image is sent with. ``ValueError`` if they are none."""
    bounds = current.max_image_bytes, current.max_image_side
    for name, bound in zip(("max_image_bytes", "max_image_side"), bounds, strict=True):
        if bound is not None and (not isinstance(bound, int) or bound < 1):
            raise ValueError(f"{name} is {bound!r}: it has to be a whole number from 1 up, or None for no bound")
    found_bytes, found_side = (sys.maxsize if bound is None else bound for bound in bounds)
    return found_bytes, found_side


def known_keys() -> list[str]:
    """Give every key that is set somewhere, to be kept out of what is shown."""
    keys = (current.api_key, os.environ.get("NB_BACKEND_API_KEY"), os.environ.get("G4F_API_KEY"))
    return [key.strip() for key in keys if key]


@overload
def cache(argument: Literal[True]) -> Path: ...
@overload
def cache(argument: bool | str | os.PathLike[str] | None = None) -> Path | None: ...
def cache(argument: bool | str | os.PathLike[str] | None = None) -> Path | None:
    """Give the folder in which answers are kept and looked for, ``None`` if they are not.

    ``True`` is the folder that is set, else ``nb_backend_cache`` in the working directory, the notebook's.
    """
    named = current.cache if isinstance(current.cache, str) else os.environ.get("NB_BACKEND_CACHE") or None
    chosen = next((one for one in (argument, current.cache) if one is not None), named)
    if chosen is None or isinstance(chosen, bool):
        if not (chosen or cache_only()):
            return None
        chosen = named or DEFAULT_CACHE
    return Path(os.path.expanduser(chosen)).absolute()


def cache_only() -> bool:
    """Whether no server is to be asked: what is not in the cache is an error."""
    return os.environ.get("NB_BACKEND_CACHE_ONLY", "").strip().lower() not in ("", "0", "false", "no", "off")


def model(argument: str | None = None) -> str:
    """Give the model's name; ``""`` leaves the choice to the server."""
    name = argument or current.model or os.environ.get("NB_BACKEND_MODEL") or ""
    if not isinstance(name, str):
        raise TypeError(f"the model is {name!r}: give one name")
    return current.aliases.get(name, name)
