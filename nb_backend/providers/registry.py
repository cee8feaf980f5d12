"""The table of dialects, and the provider class for a server."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .. import settings
from ..services import Service, misspelt_service, service_of_url, split_model
from .key_errors import needs_model

if TYPE_CHECKING:
    from .base import Provider

DIALECTS = {
    "gemini": "gemini_api.GeminiApi",
    "anthropic": "anthropic_api.AnthropicApi",
    "openai-chat": "openai_api.OpenAIApi",
    "openai-responses": "responses_api.ResponsesApi",
    "g4f": "backend_api.BackendApi",
}
"""Name of a dialect: module in this package and class. A url that is the address of a dialect's call names it; for
other urls the first one that accepts it is used."""

_MARKS = {
    "anthropic": ("anthropic", "/messages"),
    "gemini": ("googleapis", "generatecontent"),
    "openai-responses": ("/responses",),
}
"""Texts of which each url of a dialect has one, in lower case: for other urls its module is not loaded."""

_FALLBACK = "g4f"  # for urls that no dialect accepts, and for the embedded backend


def resolve(
    named: str, url: str | Iterable[str] | None = None, api: str | None = None, **options: float | None
) -> tuple[type[Provider], str]:
    """Return the provider class that asks a model, and the model's name on its server.

    ``named`` is the model, with its service before a colon or without one, ``url`` the server or the name of a service;
    ``None`` is that of the settings. A service before the colon is asked at its own url, unless ``url`` is the url of a
    server: the model is then asked there, as that service would be. ``api`` is the name of a dialect: without it the
    settings decide, for a service its table row, else the url. ``options`` are those of ``provider_for``.
    ``ValueError`` if no model follows the colon, or if a service was misspelt and no server is set.
    """
    has_url = bool(url) or bool(settings.url())
    service, model = split_model(named, has_url=has_url)
    if service is not None and not model:
        raise ValueError(needs_model(service))
    if not has_url and (meant := misspelt_service(named)):
        raise ValueError(f"there is no service {named.partition(':')[0].strip()!r}: did you mean {meant}?")
    if service is not None and (not url or settings.service(url) is not None):
        return provider_for(
            _with_model(service.base_url, model), api=api or service.api, service=service, **options
        ), model
    service = service or settings.service(url)
    set_urls = settings.urls(url)
    urls = [_with_model(one, model) for one in set_urls]
    api = api or (settings.api() if urls else None) or (service.api if service else None)
    return provider_for(*urls, api=api, service=service, named=tuple(set_urls), **options), model


def _with_model(url: str, model: str) -> str:
    """Return the url with the model in its place, for servers with a path for each model, like Azure's deployments."""
    if "{model}" in url and not model:
        raise ValueError("this server wants a model: name its deployment")
    return url.replace("{model}", quote(model, safe=""))


@lru_cache(maxsize=64)
def provider_for(
    *urls: str | None,
    api: str | None = None,
    service: Service | None = None,
    named: tuple[str, ...] = (),
    **options: float | None,
) -> type[Provider]:
    """Return a provider class that asks these servers in turn; without a url, the embedded backend.

    ``api`` is the name of a dialect in ``DIALECTS``; if it is not given, the urls decide. ``service`` is the row of the
    service; if it is not given, the host of the url decides. ``named`` are the urls as the user has set them, if they
    are others. ``options`` are attributes of the class, like ``idle_timeout``; ``None`` leaves the one of the dialect.
    The class reports its retries and how an answer ends, and leaves it to the caller to collect the text.
    ``ValueError`` if there is no dialect of that name, or if the urls belong to different dialects.
    """
    given = [url for url in urls if url]
    service = service or (service_of_url(given[0]) if len(given) == 1 else None)
    if api is not None:
        found = provider_named(api)
    else:
        check_same_dialect(given)
        found = _accepting(given[0]) if given else provider_named(_FALLBACK)
    attributes: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    bases = [*map(found.base_url, given)]
    attributes |= {"reports_retries": True, "reports_ending": True, "collects_partial": False}
    if bases:
        attributes |= {"url": " ".join(bases), "named_urls": dict(zip(bases, named or given, strict=True))}
    attributes |= {"service": service} if service else {}
    return type(found.__name__, (found,), attributes)


def check_same_dialect(urls: Iterable[str]) -> None:
    """Raise ``ValueError`` if the urls belong to different dialects."""
    if len({*map(_accepting, urls)}) > 1:
        raise ValueError(
            "several servers must speak the same dialect: name servers of one dialect only, or say which one it is"
        )


def provider_named(name: str) -> type[Provider]:
    """Return the provider class of a dialect; ``ValueError`` if ``DIALECTS`` does not have it."""
    if name not in DIALECTS:
        raise ValueError(f"there is no dialect {name!r}: use one of {', '.join(DIALECTS)}")
    module, _, class_name = DIALECTS[name].rpartition(".")
    provider: type[Provider] = getattr(import_module(f".{module}", __package__), class_name)
    return provider


def dialect_name(api: type[Provider]) -> str:
    """Return the name in ``DIALECTS`` of the dialect that a provider class speaks."""
    return next((name for name in DIALECTS if issubclass(api, provider_named(name))), api.dialect)


def _accepting(url: str) -> type[Provider]:
    """Return the provider class whose call the url is the address of, else the first one that accepts it."""
    names = (name for name in DIALECTS if any(mark in url.lower() for mark in _MARKS.get(name, ("",))))
    providers = [*map(provider_named, names)]
    address = url.partition("?")[0].rstrip("/")
    found = [provider for provider in providers if address.endswith((provider.path, *provider.other_paths))]
    found += [provider for provider in providers if provider.accepts(provider.base_url(url))]
    return found[0] if found else provider_named(_FALLBACK)


def all_dialects() -> list[str]:
    """Return what each provider class calls its dialect in cache keys."""
    return [provider_named(name).dialect for name in DIALECTS]
