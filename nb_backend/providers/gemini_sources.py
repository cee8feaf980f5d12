"""The sources in a candidate of Gemini's: pages it searched or read, documents, places, and texts that it cites."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .content_parts import dicts


def sources_of(candidate: dict[str, Any]) -> list[dict[str, str]]:
    """Return the sources as objects with ``url``, ``title`` and ``text``; a document may have no address."""
    found: list[dict[str, str]] = []
    for chunk in _items(candidate.get("groundingMetadata"), "groundingChunks"):
        found += _of_chunk(chunk)
    for page in _items(candidate.get("urlContextMetadata"), "urlMetadata"):
        if str(page.get("urlRetrievalStatus", "SUCCESS")).endswith("SUCCESS"):
            found += _source(page, url=("retrievedUrl",))
    for key in ("citationSources", "citations"):  # of the Gemini API and of Vertex
        for citation in _items(candidate.get("citationMetadata"), key):
            found += _source(citation, title=("title",))
    return found


def _of_chunk(chunk: dict[str, Any]) -> Iterator[dict[str, str]]:
    for kind in ("web", "maps"):
        if isinstance(page := chunk.get(kind), dict):
            yield from _source(page, title=("title", "domain"), text=("text",))
    if isinstance(image := chunk.get("image"), dict):
        yield from _source(image, url=("sourceUri", "imageUri"), title=("title", "domain"))
    if isinstance(document := chunk.get("retrievedContext"), dict):
        named = ("title", "documentName", "fileSearchStore")
        yield from _source(document, title=named, text=("text",), needs_url=False)


def _source(
    fields: dict[str, Any],
    *,
    url: tuple[str, ...] = ("uri",),
    title: tuple[str, ...] = (),
    text: tuple[str, ...] = (),
    needs_url: bool = True,
) -> Iterator[dict[str, str]]:
    found = {"url": _first(fields, url), "title": _first(fields, title), "text": _first(fields, text)}
    if found["url"] or (not needs_url and any(found.values())):
        yield found


def _first(fields: dict[str, Any], keys: tuple[str, ...]) -> str:
    return next((text for key in keys if isinstance(text := fields.get(key), str) and text.strip()), "")


def _items(holder: Any, key: str) -> list[dict[str, Any]]:
    return dicts(holder.get(key)) if isinstance(holder, dict) else []
