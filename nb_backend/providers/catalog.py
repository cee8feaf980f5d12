"""The models of the servers: asked for, remembered for the next Tab, and whether one sees a question's images."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import settings
from ..background import Job
from ..errors import BackendError
from .registry import provider_for

if TYPE_CHECKING:
    from .base import Provider
    from .model import Model


MAX_PROVIDERS = 8  # asked for what their models can; g4f has dozens, and asking all takes minutes
VISION_TIMEOUT = 5.0  # seconds that a question with images waits for what is not known yet
CACHE_SECONDS = 300.0  # seconds; a server may load another model
RETRY_SECONDS = 30.0  # seconds after a server has been asked in vain
clock = time.monotonic


class CatalogKey(NamedTuple):
    """What is asked: a server (``None``: the embedded backend), one of its providers (``None``: all of them), and the
    key that it is asked with, as a hash: a server may tell each key of other models.
    """

    url: str | None
    provider: str | None
    key: int

    @classmethod
    def of(cls, url: str | None, provider: str | None, api_key: str | None = None) -> CatalogKey:
        """Make a place with this key, else with that of the settings; ``ValueError`` if it is none."""
        return cls(url, provider, hash(settings.api_key(api_key)))


_lists: dict[CatalogKey, tuple[float, list[Model]]] = {}  # when, and what
_pending: dict[CatalogKey, tuple[float, Job[list[Model]]]] = {}  # the last one in the background, and when it started
_lock = threading.Lock()  # those who ask at once (other threads, a kernel's subshells) start one fetch


async def listed_models(url: str | None) -> list[Model]:
    """Ask a server for its models, and remember them."""
    return await _fetch_models(provider_for(url), CatalogKey.of(url, None))


async def available_models() -> list[Model]:
    """Ask for the models; where there are few providers, for what each of their models can, too."""
    url = settings.url()
    models = await listed_models(url)
    providers = sorted({model.provider for model in models})
    if len(providers) > MAX_PROVIDERS or all(model.vision is not None for model in models):
        return models
    known: dict[tuple[str, str], Model] = {(model.provider, str(model)): model for model in models}
    for name in providers:
        with suppress(BackendError):
            known |= {
                (name, str(model)): model for model in await _fetch_models(provider_for(url), CatalogKey.of(url, name))
            }
    return list(known.values())


def known_models(seconds: float = 2.0) -> list[str]:
    """Give the names of the server's models, as far as they are known or come within so many seconds.

    For completion: it raises and prints nothing, and callable where an event loop runs. The names of a server that
    has told them are remembered. Otherwise they are asked for in the background, and nobody waits for longer than so
    many seconds after the start of this; a call after a failure asks again. The embedded backend is not started for it.
    """
    try:
        url = settings.url()
        place = CatalogKey.of(url, None)
    except ValueError:
        return []
    if url is not None and not _lists.get(place, (0, []))[1]:
        started, fetch = _fetch(provider_for(url), place)
        with suppress(TimeoutError, KeyboardInterrupt):  # an interrupt ends this wait, which no cell waits for
            fetch.future.exception(max(0, started + seconds - clock()))
    return list(dict.fromkeys(str(model) for model in _lists.get(place, (0, []))[1]))


async def sees_images(
    api: type[Provider], model: str, provider: str | None = None, *, api_key: str | None = None
) -> bool | None:
    """Whether a model sees images, by the server's ``vision`` flag; ``None`` if that is not known soon enough.

    ``""`` is the model of the server's choice, ``provider`` one of a g4f server's. What is not known is asked for in
    the background, where it goes on for the next question. Whatever fails of that is not known, and raises nothing.
    """
    try:
        async with asyncio.timeout(VISION_TIMEOUT):
            return await _sees(api, model, provider, api_key)
    except Exception:  # the question itself will tell what is wrong
        return None


def models_with_vision(api: type[Provider], provider: str | None = None, *, api_key: str | None = None) -> list[str]:
    """Give the names of the models that are known to see images, this provider's first; nothing is asked for it."""
    place = CatalogKey.of(settings.url(api.url), None, api_key)
    places = [told for told in list(_lists) if told._replace(provider=None) == place]
    found = [model for told in places for model in _remembered(told) if model.vision]
    found.sort(key=lambda model: model.provider != provider)
    return list(dict.fromkeys(str(model) for model in found if model.isprintable()))


async def _sees(api: type[Provider], model: str, provider: str | None, api_key: str | None) -> bool | None:
    url = settings.url(api.url)
    if url is None:
        model, provider = "", None  # whatever is named, its only one answers
    owners: set[str | None] = {provider}
    if api.lists_all_models:
        owners = {None}  # there is one list of all
    elif not provider:
        owners = {one.provider for one in await _models_of(api, url, None, api_key) if one == model or not model}
        if not 0 < len(owners) <= (MAX_PROVIDERS if model else 1):
            return None
    told = await asyncio.gather(*(_models_of(api, url, owner, api_key) for owner in owners))
    said: set[bool | None] = set()
    for models in told:
        said |= {one.vision for one in models if not model or one == model} or {None}
    return True if True in said else False if said == {False} else None


async def _models_of(api: type[Provider], url: str | None, provider: str | None, api_key: str | None) -> list[Model]:
    """Give the models of a place, once they are known; none if another question has waited for them in vain."""
    place = CatalogKey.of(url, provider, api_key)
    if not _remembered(place):
        started, fetch = _fetch(api, place, api_key, pause=RETRY_SECONDS)
        if clock() - started < VISION_TIMEOUT:
            await _wait_for(fetch)
    return _remembered(place)


def _remembered(place: CatalogKey) -> list[Model]:
    when, models = _lists.get(place, (0.0, []))
    return models if models and clock() - when < CACHE_SECONDS else []


def _fetch(
    api: type[Provider], place: CatalogKey, api_key: str | None = None, pause: float = 0
) -> tuple[float, Job[list[Model]]]:
    """Give the fetch for a place that is under way, or ended less than a pause after its start; or start one."""
    with _lock:
        now = clock()
        started, fetch = _pending.get(place, (now, None))
        if fetch is None or now - started >= (pause if fetch.future.done() else CACHE_SECONDS):
            fetch = Job(asyncio.wait_for(_fetch_models(api, place, api_key), CACHE_SECONDS))
            started, _ = _pending[place] = now, fetch
        return started, fetch


async def _fetch_models(api: type[Provider], place: CatalogKey, api_key: str | None = None) -> list[Model]:
    models = await api.get_models(place.provider, api_key=api_key)
    _lists[place] = clock(), models
    return models


async def _wait_for(job: Job[Any]) -> None:
    """Wait for a job's end, and leave it alone if that is cancelled (``asyncio.wrap_future`` would cancel it, too)."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def tell(_: object) -> None:
        with suppress(RuntimeError):  # the loop that waited is closed
            loop.call_soon_threadsafe(ended.set)

    job.future.add_done_callback(tell)
    await ended.wait()
