"""The table of dialects, and the provider class for a server."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

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

_FALLBACK = "g4f"  # for urls that no dialect accepts, and for the embedded backend


@lru_cache(maxsize=64)
def provider_for(*urls: str | None, api: str | None = None, **options: float | None) -> type[Provider]:
    """Return a provider class that asks these servers in turn; without a url, the embedded backend.

    ``api`` is the name of a dialect in ``DIALECTS``; if it is not given, the urls decide. ``options`` are attributes of
    the class, like ``idle_timeout``; ``None`` leaves the one of the dialect. The class reports its retries and how an
    answer ends, and leaves it to the caller to collect the text. ``ValueError`` if there is no dialect of that name, or
    if the urls belong to different dialects.
    """
    given = [url for url in urls if url]
    if api is not None:
        found = provider_named(api)
    else:
        check_same_dialect(given)
        found = _accepting(given[0]) if given else provider_named(_FALLBACK)
    attributes: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    bases = " ".join(map(found.base_url, given))
    attributes |= {"reports_retries": True, "reports_ending": True, "collects_partial": False}
    attributes |= {"url": bases} if bases else {}
    return type(found.__name__, (found,), attributes)


def check_same_dialect(urls: Iterable[str]) -> None:
    """Raise ``ValueError`` if the urls belong to different dialects."""
    if len({*map(_accepting, urls)}) > 1:
        raise ValueError(
            "several servers must speak the same dialect: name OpenAI-compatible ones only, or g4f backends only"
        )


def provider_named(name: str) -> type[Provider]:
    """Return the provider class of a dialect; ``ValueError`` if ``DIALECTS`` does not have it."""
    if name not in DIALECTS:
        raise ValueError(f"there is no dialect {name!r}: use one of {', '.join(DIALECTS)}")
    module, _, class_name = DIALECTS[name].rpartition(".")
    provider: type[Provider] = getattr(import_module(f".{module}", __package__), class_name)
    return provider


def _accepting(url: str) -> type[Provider]:
    """Return the provider class whose call the url is the address of, else the first one that accepts it."""
    providers = [*map(provider_named, DIALECTS)]
    address = url.partition("?")[0].rstrip("/")
    found = [provider for provider in providers if address.endswith((provider.path, *provider.other_paths))]
    found += [provider for provider in providers if provider.accepts(provider.base_url(url))]
    return found[0] if found else provider_named(_FALLBACK)


def all_dialects() -> list[str]:
    """Return what each provider class calls its dialect in cache keys."""
    return [provider_named(name).dialect for name in DIALECTS]
