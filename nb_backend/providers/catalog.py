"""Model lists of servers, cached, and whether a model has vision."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import settings
from ..background import Job
from ..errors import AuthError, BackendError, ConnectionFailed
from ..services import SERVICES, Service
from .probe import answering
from .registry import provider_named, resolve

if TYPE_CHECKING:
    from .base import Provider
    from .model import Model


MAX_PROVIDERS = 8  # services whose lists are fetched; g4f has dozens, and all of them take minutes
VISION_TIMEOUT = 5.0  # seconds that a prompt with images waits for a model list
NAMES_TIMEOUT = 3.0  # seconds that a prompt for several models waits for a model list
CACHE_SECONDS = 300.0  # how long a list is used, as a server may load another model; also the limit of a fetch
RETRY_SECONDS = 30.0  # between the starts of two fetches if the first one failed
clock = time.monotonic


_NO_LIST = frozenset({200, 404, 405, 410, 501})  # 200: of another document, like a web page


def does_not_list(failure: BackendError) -> bool:
    """Whether a server that was asked for its models has answered that it has no list; it may answer prompts."""
    return failure.status in _NO_LIST


class CatalogKey(NamedTuple):
    """Identifies a list of models: the server (``None``: the embedded backend), the service that it routes to
    (``None``: all), and a hash of the key, as a server may list other models for another key.
    """

    url: str | None
    provider: str | None
    key: int

    @classmethod
    def of(cls, api: type[Provider], provider: str | None, api_key: str | None = None) -> CatalogKey:
        """Build the key of a server's list for this API key, else for the key that the server gets.

        ``ValueError`` if the key is invalid.
        """
        wrapped, api_key = settings.Secret(api_key), None
        return cls(settings.url(api.url), provider, hash(api.key(wrapped).value))


_lists: dict[CatalogKey, tuple[float, list[Model]]] = {}  # when it was fetched, and the list
_pending: dict[CatalogKey, tuple[float, Job[list[Model]]]] = {}  # when the last fetch started, and the fetch
_lock = threading.Lock()  # concurrent callers (threads, a kernel's subshells) start only one fetch


async def listed_models(url: str | None) -> list[Model]:
    """Fetch the models of a server, and cache them; ``url`` may be the name of a service, ``None`` is the settings'."""
    api, _ = resolve("", url)
    return await models_of(api)


async def models_of(api: type[Provider]) -> list[Model]:
    """Fetch the models of the server that a provider class asks, and cache them."""
    await api.find_key(settings.Secret())  # the list is cached by it
    return await _fetch_models(api, CatalogKey.of(api, None))


async def available_models(url: str | None = None) -> list[Model]:
    """Fetch the models of a server; if it routes to few services, with the abilities of each model.

    ``url`` may be the name of a service; ``None`` is the server of the settings.
    """
    api, _ = resolve("", url)
    models = await models_of(api)
    providers = sorted({model.provider for model in models} - {""})
    if api.lists_all_models or len(providers) > MAX_PROVIDERS or all(model.vision is not None for model in models):
        return models
    known: dict[tuple[str, str], Model] = {(model.provider, str(model)): model for model in models}
    for name in providers:
        with suppress(BackendError):
            key = CatalogKey.of(api, name)
            known |= {(name, str(model)): model for model in await _fetch_models(api, key)}
    return list(known.values())


async def models_of_services(without: str | None = None) -> tuple[list[tuple[Service, Model]], list[str]]:
    """Return the models of the services at hand, each with its service, and in words which services failed.

    At hand are the services on the internet whose key is set, and those on this machine that answer now, except the one
    at the url ``without`` and those whose list has other names than they take. One that has not answered after
    ``NAMES_TIMEOUT`` seconds has failed; its list is there the next time.
    """
    here = await answering(one for one in SERVICES.values() if one.is_local and one.base_url != without)
    services = [one for one in SERVICES.values() if one.name in here or (not one.is_local and _has_key(one))]
    services = [one for one in services if one.lists_its_models and one.base_url != without]
    lists = await asyncio.gather(*map(_models_of_service, services))
    found = [
        (one, model)
        for one, models in zip(services, lists, strict=True)
        if isinstance(models, list)
        for model in models
    ]
    failures = [f"{one.title}: {why}" for one, why in zip(services, lists, strict=True) if isinstance(why, str)]
    return found, failures


def _has_key(service: Service) -> bool:
    with suppress(ValueError):
        return bool(settings.service_key(service).value and service.base_url)
    return False


async def _models_of_service(service: Service) -> list[Model] | str:
    """Return the models of a service, or why they cannot be had."""
    api, _ = resolve("", service.name)
    try:
        key = CatalogKey.of(api, None)
        if cached := _cached(key):
            return cached
        _, fetch = _fetch(api, key)
        async with asyncio.timeout(NAMES_TIMEOUT):
            await _wait_for(fetch)
        return fetch.future.result()
    except TimeoutError:
        return "its list of models takes long"
    except (BackendError, CancelledError) as error:
        if isinstance(error, BackendError) and does_not_list(error):
            return f"it does not list its models: type {service.name}:MODEL"
        return str(error) or "its list of models could not be fetched"


def forget_models(url: str | None) -> None:
    """Forget the cached lists of a server that has other models now."""
    with _lock:
        for key in [key for key in [*_lists, *_pending] if key.url == url]:
            _lists.pop(key, None)
            _pending.pop(key, None)


def known_models(seconds: float = 2.0, url: str | None = None) -> list[str]:
    """Return the names of a server's models that are cached, or that arrive within these seconds.

    ``url`` may be the name of a service; ``None`` is the server of the settings.
    For Tab completion: it raises and prints nothing, and works where an event loop runs. If no list is cached, one is
    fetched in the background; the seconds count from the start of that fetch. A call after a failed fetch starts
    another. The embedded backend is not started.
    """
    try:
        api, _ = resolve("", url)
        key = CatalogKey.of(api, None)
    except ValueError:
        return []
    if key.url is not None and not _lists.get(key, (0, []))[1]:
        started, fetch = _fetch(api, key)
        with suppress(TimeoutError, KeyboardInterrupt):  # an interrupt ends only this wait
            fetch.future.exception(max(0, started + seconds - clock()))
    return list(dict.fromkeys(str(model) for model in _lists.get(key, (0, []))[1]))


async def sees_images(
    api: type[Provider], model: str, provider: str | None = None, *, api_key: str | None = None
) -> bool | None:
    """Whether a model has vision, by the server's ``vision`` flag; ``None`` if that is unknown.

    ``model`` may be ``""``, the model that the server chooses; ``provider`` is the name of a service. A missing list is
    fetched in the background. After ``VISION_TIMEOUT`` seconds the result is ``None``, and the fetch goes on for the
    next prompt. Failures are not raised.
    """
    try:
        async with asyncio.timeout(VISION_TIMEOUT):
            return await _has_vision(api, model, provider, api_key)
    except Exception:  # the prompt will be sent anyway, and fail with the same reason
        return None


async def names_listed(
    api: type[Provider], provider: str | None = None, *, api_key: str | None = None, fresh: bool = False
) -> list[str]:
    """Return the names of the models that a server lists, or that a service of it has.

    The list is empty if the server lists none, if that fails, or if it takes longer than ``NAMES_TIMEOUT`` seconds; the
    fetch then goes on for the next prompt. ``fresh`` fetches a list that is cached once more, and raises
    ``ConnectionFailed`` or ``AuthError`` if nobody answers or the key is wrong.
    """
    given, api_key = settings.Secret(api_key), None  # a traceback must not show the key
    failure: BaseException | None = None
    try:
        async with asyncio.timeout(NAMES_TIMEOUT):
            owner = None if api.lists_all_models else provider
            if fresh:
                _, fetch = _fetch(api, CatalogKey.of(api, owner, given.value), given.value)
                await _wait_for(fetch)
                failure = None if fetch.future.cancelled() else fetch.future.exception()
            if not isinstance(failure, ConnectionFailed | AuthError):
                return [str(model) for model in await _models_of(api, owner, given.value)]
    except Exception:  # the prompt will be sent anyway, and fail with the same reason
        return []
    raise failure.with_traceback(None)


async def openai_url(url: str, api_key: str | None = None) -> str | None:
    """Return the url with ``/v1`` if the server lists its models there, or wants another key for that; else ``None``.

    ``None`` also if the url is that of an OpenAI-compatible server already. Only this server is asked, for at most
    ``NAMES_TIMEOUT`` seconds, and only once in ``RETRY_SECONDS``.
    """
    api = provider_named("openai-chat")
    if api.accepts(url):
        return None
    other = api.at(api.address(url, "/v1"))
    _, fetch = _fetch(other, CatalogKey.of(other, None, api_key), api_key, pause=RETRY_SECONDS)
    with suppress(TimeoutError):
        async with asyncio.timeout(NAMES_TIMEOUT):
            await _wait_for(fetch)
    if not fetch.future.done() or fetch.future.cancelled():
        return None
    failure = fetch.future.exception()
    answers = isinstance(failure, AuthError) or (failure is None and fetch.future.result())
    return other.url if answers else None


def url_hint(url: str) -> str:
    """Return the advice for a url that ``openai_url`` has found."""
    return f"its /v1 answers, so write %backend url {url}, or set NB_BACKEND_URL to that"


def models_with_vision(api: type[Provider], provider: str | None = None, *, api_key: str | None = None) -> list[str]:
    """Return the names of the cached models that have vision, those of this service first; nothing is fetched."""
    key = CatalogKey.of(api, None, api_key)
    keys = [listed for listed in list(_lists) if listed._replace(provider=None) == key]
    found = [model for listed in keys for model in _cached(listed) if model.vision]
    found.sort(key=lambda model: model.provider != provider)
    return list(dict.fromkeys(str(model) for model in found if model.isprintable()))


async def _has_vision(api: type[Provider], model: str, provider: str | None, api_key: str | None) -> bool | None:
    url = settings.url(api.url)
    if url is None:
        model, provider = "", None  # the embedded backend has one model, which answers whatever name is sent
    owners: set[str | None] = {provider}
    if api.lists_all_models:
        owners = {None}
    elif not provider:
        owners = {one.provider for one in await _models_of(api, None, api_key) if one == model or not model}
        if not 0 < len(owners) <= (MAX_PROVIDERS if model else 1):
            return None
    lists = await asyncio.gather(*(_models_of(api, owner, api_key) for owner in owners))
    flags: set[bool | None] = set()
    for models in lists:
        flags |= {one.vision for one in models if not model or one == model} or {None}
    return True if True in flags else False if flags == {False} else None


async def _models_of(api: type[Provider], provider: str | None, api_key: str | None) -> list[Model]:
    """Return a list of models when it is there; an empty list if an earlier prompt has waited for it in vain."""
    key = CatalogKey.of(api, provider, api_key)
    if not _cached(key):
        started, fetch = _fetch(api, key, api_key, pause=RETRY_SECONDS)
        if clock() - started < VISION_TIMEOUT:
            await _wait_for(fetch)
    return _cached(key)


def _cached(key: CatalogKey) -> list[Model]:
    when, models = _lists.get(key, (0.0, []))
    return models if models and clock() - when < CACHE_SECONDS else []


def _fetch(
    api: type[Provider], key: CatalogKey, api_key: str | None = None, pause: float = 0
) -> tuple[float, Job[list[Model]]]:
    """Return when the last fetch of a list started, and the fetch; one that has ended is repeated after ``pause``."""
    with _lock:
        now = clock()
        started, fetch = _pending.get(key, (now, None))
        if fetch is None or now - started >= (pause if fetch.future.done() else CACHE_SECONDS):
            fetch = Job(asyncio.wait_for(_fetch_models(api, key, api_key), CACHE_SECONDS))
            started, _ = _pending[key] = now, fetch
        return started, fetch


async def _fetch_models(api: type[Provider], key: CatalogKey, api_key: str | None = None) -> list[Model]:
    models = await api.get_models(key.provider, api_key=api_key)
    _lists[key] = clock(), models
    return models


async def _wait_for(job: Job[Any]) -> None:
    """Wait until a job ends. Cancelling the wait does not cancel the job, as with ``asyncio.wrap_future``."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def notify(_: object) -> None:
        with suppress(RuntimeError):  # the waiting loop is closed
            loop.call_soon_threadsafe(ended.set)

    job.future.add_done_callback(notify)
    await ended.wait()
