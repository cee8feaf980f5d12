"""The url, the API key, the model and the cache that a call uses. The first of these that is set wins:

1. the argument of the call
2. what was set in this process: by ``%config`` or ``%backend`` in a notebook, by ``settings.current`` elsewhere
3. the environment: ``NB_BACKEND_URL``, ``NB_BACKEND_API`` (the dialect), ``NB_BACKEND_API_KEY`` (then
   ``G4F_API_KEY``), ``NB_BACKEND_MODEL``, and ``NB_BACKEND_CACHE``, a folder; for the key of a service its own
   variable, then the system keyring, if ``keyring`` is installed
4. the embedded backend, no key, the server's own default model, no cache

Where a url is expected, the name of a service stands for its url (``services.SERVICES``).

``NB_BACKEND_CACHE_ONLY`` forbids all requests: what is not in the cache is an error. ``NB_BACKEND_TOOLS=0`` forbids all
tools, also if code of a notebook changes the variable.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Literal, SupportsFloat, overload
from urllib.parse import parse_qsl, urlsplit

from .services import SERVICES, Service, closest_services, find_service, service_of_url

DEFAULT_CACHE = "nb_backend_cache"
KEYRING_SERVICE = "nb_backend"  # under which the system keyring has keys; the user is the name of the service
TYPED = "%backend key"  # as the origin of a key
KEPT = "the system keyring"
_OFF = ("0", "false", "no", "off")  # of an environment variable
_tools_at_start = os.environ.get("NB_BACKEND_TOOLS", "")  # which code of a notebook cannot change


class Secret:
    """An API key that never shows: it is not in reprs or ``vars()``, and a pickle drops it."""

    __slots__ = ("value",)

    def __init__(self, value: str | None = None) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "Secret(set)" if self.value else "Secret(none)"

    def __reduce__(self) -> tuple[type[Secret], tuple[()]]:
        return Secret, ()

    def __deepcopy__(self, memo: object) -> Secret:
        return self  # unlike a pickle, a copy stays in this process


@dataclass
class Settings:
    """What was set in this process; ``None`` means not set."""

    url: str | None = None  # several are separated by spaces; or the name of a service
    api: str | None = None  # the dialect of the url
    api_key: str | None = field(default=None, repr=False)  # of the url
    keys: dict[str, Secret] = field(default_factory=dict)  # of services, by name
    kept_keys: dict[str, Secret] = field(default_factory=dict)  # what the keyring has, or has not, for a service
    model: str | None = None
    aliases: dict[str, str] = field(default_factory=dict)  # short names for models
    max_image_side: int | None = 2048  # pixels; a larger image is scaled down before it is sent
    max_image_bytes: int | None = 8 * 2**20  # of an image's file
    cache: bool | str | None = None  # whether answers are stored, or the folder
    max_cache_bytes: int = 256 * 2**20  # of all answers in the folder together
    connect_timeout: float | None = None  # seconds until a connection is open; None: 10
    idle_timeout: float | None = None  # seconds without data after which an answer fails; None: 120
    tools: bool = True  # whether models may call tools


current = Settings()


def url(argument: str | Iterable[str] | None = None) -> str | None:
    """Return the server's base URL without a trailing slash, the first one if there are several.

    ``None`` stands for the embedded backend. ``ValueError`` if it is not an http(s) URL.
    """
    return next(iter(urls(argument)), None)


def urls(argument: str | Iterable[str] | None = None) -> list[str]:
    """Return the base URLs of all servers, to be tried in turn.

    The argument is a list, or a text with spaces or commas between the URLs. An empty list stands for the embedded
    backend. ``ValueError`` if one is not an http(s) URL.
    """
    found = _named_urls(argument)
    if not found:
        return []
    if service := find_service(found):
        return [service.base_url]
    return [*_parse_urls(found)]


def _named_urls(argument: str | Iterable[str] | None) -> str:
    text = argument if argument is None or isinstance(argument, str) else " ".join(argument)
    return text or current.url or os.environ.get("NB_BACKEND_URL") or ""


def service(argument: str | Iterable[str] | None = None) -> Service | None:
    """Return the service that is named where a url may stand; ``None`` if it is a url, or none is set."""
    return find_service(_named_urls(argument))


def api(argument: str | None = None) -> str | None:
    """Return the name of the dialect that is set for the url, ``None`` if the service or the url decides."""
    return argument or current.api or os.environ.get("NB_BACKEND_API", "").strip() or None


@lru_cache(maxsize=64)
def _parse_urls(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(_parse_url, re.split(r"[\s,]+", text.strip()))))


def _parse_url(url: str) -> str:
    if re.match(r"[^/?#]*//[^/?#]*@", url):
        raise ValueError("a url with a password in it is refused: set NB_BACKEND_API_KEY, or run %backend key, instead")
    if not _is_server_url(url):
        from .redaction import redact

        if find_service(url):
            raise ValueError(f"{url} is a service, which stands alone: name its url beside others")
        if close := closest_services(url):
            raise ValueError(f"there is no service {url!r}: did you mean {' or '.join(close)}?")
        shown = redact(url.partition("?")[0])
        raise ValueError(f"{shown!r} is not a server's url: write it like http://localhost:8080 or https://host/v1")
    base, mark, query = url.partition("?")
    if _has_secret(query):
        raise ValueError("a url with a key in it is refused: set NB_BACKEND_API_KEY, or run %backend key, instead")
    for call in ("/conversation", "/backend-api/v2"):
        base = base.rstrip("/").removesuffix(call)
    # where the rest does not end in /v1, the address of the call says which dialect the server speaks
    base = re.sub(r"(/v\d+\w*)/(?:chat/completions|completions|models)$", r"\1", base.rstrip("/"))
    return f"{base}{mark}{query}"


def _has_secret(query: str) -> bool:
    if not query:
        return False
    from .redaction import has_key, is_secret_name

    names = [name for name, _ in parse_qsl(query, keep_blank_values=True)]
    return any(is_secret_name(name) or name in ("sig", "signature", "code") for name in names) or has_key(query)


def _is_server_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and not (parts.fragment or re.search(r"\s", url))
            and (not parts.query or len(parts.path) > 1)  # Azure's ?api-version=… follows a path
        )
    except ValueError:  # the port is not a number, or the brackets of an IPv6 address do not match
        return False


def api_key(argument: str | None = None) -> str | None:
    """Return the API key for the url of the settings, if there is one.

    ``ValueError`` if it has a line end or the like in it.
    """
    wrapped, argument = Secret(argument), None  # a traceback that shows local variables must not show the key
    if wrapped.value is None and (named := service()) is not None and (key := service_key(named)).value:
        return key.value
    return secret(Secret(wrapped.value or current.api_key or _environment_key())).value


def secret(given: Secret, variable: str = "") -> Secret:
    """Return the key without space around it; ``ValueError`` if it has a line end or the like in it."""
    key = Secret((given.value or "").strip() or None)
    if not (key.value or "").isprintable():
        name = variable or "the key"
        raise ValueError(f"{name} contains a line end or another character that is not printable: set it again")
    return key


def find_key(argument: Secret, url: str | None, service: Service | None) -> tuple[Secret, str]:
    """Return the key for a server, and where it is from.

    That is the argument, else the key of its service, else that of the settings if it is their server. ``url`` may be
    several, separated by spaces; ``None`` is the url of the settings. The key of the environment is for
    ``NB_BACKEND_URL``; if that is not set, for the url that was set in this process. It precedes the key of a service
    if ``NB_BACKEND_URL`` is that url and not the name of a service. Where it is from is the name of an environment
    variable, ``TYPED``, ``KEPT``, ``api_key`` for the argument, or ``""`` if there is no key. ``ValueError`` as for
    ``secret``.
    """
    if argument.value:
        return secret(argument), "api_key"
    asked = {*urls(url)}
    named = os.environ.get("NB_BACKEND_URL") or ""
    of_environment = Secret(_environment_key())
    if service is not None and all(map(service.has_url, asked)):
        found, origin = find_service_key(service)
        if of_environment.value and origin != TYPED and not find_service(named) and asked == {*_parsed(named)}:
            return secret(of_environment), _environment_variable()
        if found.value:
            return found, origin
    if not (own := _parsed(_named_urls(None))):
        return Secret(), ""
    if current.api_key and asked <= {*own}:
        return secret(Secret(current.api_key)), TYPED
    if of_environment.value and asked <= {*(_parsed(named) or own)}:
        return secret(of_environment), _environment_variable()
    return Secret(), ""


def service_key(service: Service) -> Secret:
    """Return the key of a service: what ``%backend key SERVICE`` has set, else that of the environment or keyring.

    The keyring is not asked here: see ``ask_keyring``.
    """
    return find_service_key(service)[0]


def find_service_key(service: Service) -> tuple[Secret, str]:
    """Return the key of a service, and where it is from, as ``find_key`` does."""
    if (found := current.keys.get(service.name)) is not None and found.value:
        return secret(found), TYPED
    if (found := secret(Secret(os.environ.get(service.key_variable)), service.key_variable)).value:
        return found, service.key_variable
    found = secret(current.kept_keys.get(service.name) or Secret())
    return found, KEPT if found.value else ""


def wants_keyring(service: Service) -> bool:
    """Whether the system keyring has to be asked for the key of a service, as nothing else has it."""
    given = current.keys.get(service.name) or Secret(os.environ.get(service.key_variable))
    return not given.value and service.name not in current.kept_keys and bool(service.keys) and has_keyring()


def ask_keyring(service: Service) -> None:
    """Get the key of a service from the system keyring, if it is wanted, once in a process; no error is raised.

    This may wait for the user to unlock it, so it is done when a service is asked, and not for a list.
    """
    with _keyring_lock:  # two threads would ask the user twice
        if wants_keyring(service):
            current.kept_keys[service.name] = _look_up(service.name)


def has_keyring() -> bool:
    """Whether the package ``keyring`` is installed."""
    return sys.modules.get("keyring") is not None or find_spec("keyring") is not None


def _look_up(name: str) -> Secret:
    try:
        import keyring

        return Secret(keyring.get_password(KEYRING_SERVICE, name))
    except Exception:  # there is no keyring on this machine, or it stays locked
        return Secret()


_keyring_lock = Lock()


def _parsed(text: str) -> list[str]:
    try:
        return urls(text) if text else []
    except ValueError:
        return []


def _environment_key() -> str | None:
    return os.environ.get(_environment_variable())


def _environment_variable() -> str:
    return next(filter(os.environ.get, ("NB_BACKEND_API_KEY", "G4F_API_KEY")), "")


def change_url(text: str | None, dialect: str | None = None) -> bool:
    """Ask another server from now on, ``None`` for that of the environment, in this dialect; both have to be valid.

    A key that was typed for the server before is forgotten if the server is another one; return whether it was.
    """
    before = _origins()
    current.url, current.api = text, dialect
    after = _origins()
    if not (current.api_key and before) or (after and after <= before):
        return False
    current.api_key = None
    return True


def service_of_settings() -> Service | None:
    """Return the service whose key the url of the settings gets, or ``None``."""
    named = _parsed(_named_urls(None))
    return service() or (service_of_url(named[0]) if len(named) == 1 else None)


def set_key(key: Secret, service: Service | None) -> None:
    """Use a key for a service in this process, or without one for the url of the settings; ``None`` in it removes it.

    ``key`` is as ``secret`` returns it.
    """
    if service is None:
        current.api_key = key.value
    elif key.value:
        current.keys[service.name] = key
    else:
        current.keys.pop(service.name, None)


def _origins() -> set[tuple[str, str]]:
    """Return the scheme and the host of each server of the settings."""
    return {(parts.scheme, parts.netloc) for parts in map(urlsplit, _parsed(_named_urls(None)))}


def image_bounds() -> tuple[int, int]:
    """Return how large an image may be sent: the bytes of its file, and the pixels of its longer side.

    ``ValueError`` if a setting is not a positive whole number or ``None``, which stands for no limit.
    """
    bounds = current.max_image_bytes, current.max_image_side
    for name, bound in zip(("max_image_bytes", "max_image_side"), bounds, strict=True):
        if bound is not None and (not isinstance(bound, int) or bound < 1):
            raise ValueError(f"{name} is {bound!r}: it has to be a whole number of at least 1, or None for no limit")
    found_bytes, found_side = (sys.maxsize if bound is None else bound for bound in bounds)
    return found_bytes, found_side


def seconds(name: str, argument: float | None = None) -> float | None:
    """Return a time-out in seconds, ``connect_timeout`` or ``idle_timeout``; ``None`` if it is not set.

    ``ValueError`` or ``TypeError`` if it is not a number above 0.
    """
    found = argument if argument is not None else getattr(current, name)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, SupportsFloat):
        raise TypeError(f"{name} has to be a number of seconds, not {type(found).__name__}")
    if not 0 < float(found) < math.inf:
        raise ValueError(f"{name} is {found}: it has to be a number of seconds above 0")
    return float(found)


def known_keys() -> list[str]:
    """Return every API key that is set anywhere, so that it can be masked in what is shown."""
    variables = ("NB_BACKEND_API_KEY", "G4F_API_KEY", *(name for one in SERVICES.values() for name in one.keys))
    typed = (secret.value for secret in (*current.keys.values(), *current.kept_keys.values()))
    keys = (current.api_key, *typed, *(os.environ.get(name) for name in variables))
    return [*dict.fromkeys(key.strip() for key in keys if key and key.strip())]


@overload
def cache(argument: Literal[True]) -> Path: ...
@overload
def cache(argument: bool | str | os.PathLike[str] | None = None) -> Path | None: ...
def cache(argument: bool | str | os.PathLike[str] | None = None) -> Path | None:
    """Return the absolute path of the folder that stores answers, or ``None`` if there is no cache.

    ``True`` stands for the folder that is set, or else for ``nb_backend_cache`` in the working directory, which is the
    notebook's folder.
    """
    named = current.cache if isinstance(current.cache, str) else os.environ.get("NB_BACKEND_CACHE") or None
    chosen = next((one for one in (argument, current.cache) if one is not None), named)
    if chosen is None or isinstance(chosen, bool):
        if not (chosen or cache_only()):
            return None
        chosen = named or DEFAULT_CACHE
    return Path(os.path.expanduser(chosen)).absolute()


def cache_only() -> bool:
    """Whether ``NB_BACKEND_CACHE_ONLY`` forbids all requests."""
    return os.environ.get("NB_BACKEND_CACHE_ONLY", "").strip().lower() not in ("", *_OFF)


def tools_off() -> str:
    """Return what turns tools off, "" if they are on."""
    if any(text.strip().lower() in _OFF for text in (_tools_at_start, os.environ.get("NB_BACKEND_TOOLS", ""))):
        return "NB_BACKEND_TOOLS=0"
    return "" if current.tools else "%config BackendMagics.tools = False"


def model(argument: str | None = None) -> str:
    """Return the model's name, with aliases resolved; ``""`` leaves the choice to the server."""
    name = argument or current.model or os.environ.get("NB_BACKEND_MODEL") or ""
    if not isinstance(name, str):
        raise TypeError(f"model is {name!r}: it has to be one name")
    return current.aliases.get(name, name)
