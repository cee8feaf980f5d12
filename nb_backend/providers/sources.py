"""Sources of an answer: pages that the model or its server has read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

MAX_SOURCES = 1000  # more in one answer are ignored

_URL_KEYS = ("url", "uri", "link", "href", "source_url")
_TITLE_KEYS = ("title", "name")
_TEXT_KEYS = ("content", "text", "snippet", "cited_text", "description", "summary")
_NESTED_KEYS = (
    *("url_citation", "web", "document", "search_results", "results", "sources", "citations", "annotations"),
    *("groundingChunks", "grounding_chunks", "source", "metadata"),
)
_OWN_KEYS = {"url", "title", "text"}  # of ``Source`` as JSON data


@dataclass(frozen=True)
class Source:
    """A page that an answer is based on: its address, its title and the passage that was read; ``""`` if unknown.

    A document of the user's has a title and no address.
    """

    url: str
    title: str = ""
    text: str = ""


class SourceList:
    """Sources in the order of first mention, each address once."""

    def __init__(self) -> None:
        self._sources: dict[str, Source] = {}  # by address, or by title and passage if there is none

    def add(self, value: Any) -> list[dict[str, str]]:
        """Add all sources in a JSON value; return those that are new or say more, as JSON data."""
        changed = {}
        for found in sources_in(value):
            name = found.url or f"{found.title}\n{found.text}"
            known = self._sources.get(name)
            if known is None and len(self._sources) >= MAX_SOURCES:
                continue
            merged = (
                found
                if known is None
                else replace(known, title=known.title or found.title, text=known.text or found.text)
            )
            if merged != known:
                self._sources[name] = changed[name] = merged
        return [asdict(source) for source in changed.values()]

    def as_json(self) -> list[dict[str, str]]:
        """Return all sources as JSON data, as ``add`` takes it."""
        return [*map(asdict, self)]

    def __bool__(self) -> bool:
        return bool(self._sources)

    def __iter__(self) -> Iterator[Source]:
        return iter(self._sources.values())


def sources_in(value: Any) -> Iterator[Source]:
    """Yield the sources in a JSON value.

    It may be a list of addresses (``citations`` of Perplexity and xAI), objects with an address (``search_results`` of
    Perplexity, ``web_search`` of Zhipu, ``tool_reference`` of Mistral, ``references`` of Volcengine), or objects that
    hold such (``url_citation`` of OpenAI and OpenRouter, ``executed_tools`` of Groq, ``context`` of Azure,
    ``groundingMetadata`` of Gemini, ``sources`` of Open WebUI). An object of ``url``, ``title`` and ``text`` alone may
    have no address.
    """
    if isinstance(value, str):
        if value.startswith(("http://", "https://")):
            yield Source(value)
    elif isinstance(value, list):
        for item in value:
            yield from sources_in(item)
    elif isinstance(value, dict):
        if value.keys() == _OWN_KEYS and not value["url"]:
            yield from _without_address(value)
            return
        named = value.get("source")  # an address, or the name of a search engine
        is_address = isinstance(named, str) and named.startswith(("http://", "https://"))
        if url := _first_text(value, _URL_KEYS) or (named if is_address else ""):
            yield Source(url, " ".join(_first_text(value, _TITLE_KEYS).split()), _first_text(value, _TEXT_KEYS))
        for key in _NESTED_KEYS:
            if isinstance(value.get(key), dict | list):
                yield from sources_in(value[key])


def _without_address(value: dict[str, Any]) -> Iterator[Source]:
    source = Source("", " ".join(_first_text(value, ("title",)).split()), _first_text(value, ("text",)))
    if source.title or source.text:
        yield source


def _first_text(value: dict[str, Any], keys: Iterable[str]) -> str:
    return next((text.strip() for key in keys if isinstance(text := value.get(key), str) and text.strip()), "")
