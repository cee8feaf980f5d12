"""The models of the server: asked for, and their names remembered for the next Tab."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from .. import settings
from ..background import Job
from ..errors import BackendError

if TYPE_CHECKING:
    from ..providers.base import Model

MAX_PROVIDERS = 8  # asked for what their models can; g4f has dozens, and asking all takes minutes

_names: dict[str | None, list[str]] = {}  # of the models, by the server's url
_fetches: dict[str, Job[list[Model]]] = {}  # the last one that a Tab started, by the server's url
_lock = threading.Lock()  # two threads that complete at once (a kernel's subshells) start one fetch


async def available_models() -> list[Model]:
    """Ask for the models; where there are few providers, for what each of their models can, too."""
    from ..chat import provider_for

    url = settings.url()
    models = await listed_models(url)
    providers = sorted({model.provider for model in models})
    if len(providers) > MAX_PROVIDERS or all(model.vision is not None for model in models):
        return models
    known: dict[tuple[str, str], Model] = {(model.provider, str(model)): model for model in models}
    for name in providers:
        with suppress(BackendError):
            known |= {(name, str(model)): model for model in await provider_for(url).get_models(name)}
    return list(known.values())


def known_models(seconds: float = 2.0) -> list[str]:
    """Give the names of the server's models, as far as they are known or come within so many seconds.

    For completion: it raises and prints nothing, and callable where an event loop runs. The names of a server that
    has told them are remembered. Otherwise they are asked for in the background; only the call that starts this waits
    for it, and one after a failure asks again. The embedded backend is not started for it.
    """
    try:
        url = settings.url()
    except ValueError:
        return []
    if url is not None and url not in _names and (fetch := _start(url)):
        with suppress(TimeoutError, KeyboardInterrupt):  # an interrupt ends this wait, which no cell waits for
            fetch.future.exception(seconds)
    return list(_names.get(url, []))


def _start(url: str) -> Job[list[Model]] | None:
    """Start to ask a server for its models, unless that is under way."""
    with _lock:
        running = _fetches.get(url)
        if running is not None and not running.future.done():
            return None
        fetch = _fetches[url] = Job(listed_models(url))
        return fetch


async def listed_models(url: str | None) -> list[Model]:
    """Ask a server for its models, and remember their names."""
    from ..chat import provider_for

    models = await provider_for(url).get_models()
    if models:
        _names[url] = list(dict.fromkeys(str(model) for model in models))
    return models
