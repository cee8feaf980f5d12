"""A server's list of models, in whatever shape it comes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from .model import ABILITIES, Model

_LISTS: Final = ("data", "models", "model_list", "result", "results", "items")
"""Keys whose value is the list. llama.cpp has ``models`` beside ``data``, Together and GitHub send the list alone."""
_IDS: Final = ("id", "model", "name", "model_name", "model_id", "slug", "key")
"""Keys of an entry's id, the best first."""


def read_models(document: Any, owner: str = "") -> list[Model]:
    """Return the models that a document lists; entries without an id are left out.

    Reads a list or ``{"data": list}`` and the like, of ids or of objects, and g4f's ``{service: list}``; ``owner`` is
    the service of a list that names none. ``TypeError`` if the document is not a list of models.
    """
    entries = [*_entries(document, owner)]
    models = [model for entry, of in entries if (model := _model(entry, of)) is not None]
    if entries and not models:
        raise TypeError("no entry of the list has an id")
    found: dict[tuple[str, str], Model] = {}
    for model in models:
        found.setdefault((model.provider, str(model)), model)
    return [*found.values()]


def _entries(document: Any, owner: str) -> Iterator[tuple[Any, str]]:
    """Yield the entries, and the service of each."""
    if isinstance(document, list):
        yield from ((entry, owner) for entry in document)
        return
    if not isinstance(document, dict):
        raise TypeError("not a list")
    named = [document[key] for key in _LISTS if key in document]
    if named:
        found = next((one for one in named if one), None)
        if found is not None:
            yield from _entries(found, owner)
        return
    if not all(isinstance(value, list | dict | None) for value in document.values()) or "error" in document:
        raise TypeError("not a list")
    for name, value in document.items():
        if value is None:
            continue
        if isinstance(value, dict) and not _holds_models(value):
            yield {**value, "id": _id(value) or name}, owner  # {id: {…}}
        else:
            yield from _entries(value, name)  # {service: […]}


def _holds_models(value: dict[str, Any]) -> bool:
    """Whether an object is a list of models, and not one model."""
    return any(isinstance(value.get(key), list) for key in _LISTS) or (
        bool(value) and not _id(value) and all(isinstance(item, dict) for item in value.values())
    )


def _model(entry: Any, owner: str) -> Model | None:
    if isinstance(entry, str):
        return Model.of(entry, provider=owner) if entry.strip() else None
    if not isinstance(entry, dict) or not (name := _id(entry)):
        return None
    by = next(
        (one for one in (owner, entry.get("owned_by"), entry.get("provider")) if isinstance(one, str) and one), ""
    )
    abilities = {ability: entry.get(ability) for ability in ABILITIES} | {"vision": _vision(entry)}
    return Model.of(name, label=entry.get("label") or entry.get("display_name"), provider=by, **abilities)


def _id(entry: dict[str, Any]) -> str:
    """Return the id of an entry, under which it is asked; ``""`` if it has none."""
    names = (value for key in _IDS if isinstance(value := entry.get(key), str))
    # models of Azure's catalog are asked by their name
    return next((name for name in names if name.strip() and not name.startswith("azureml://")), "")


def _vision(entry: dict[str, Any]) -> bool | None:
    """Return whether a model has vision, from the fields of g4f, Mistral, Anthropic or OpenRouter; else ``None``."""
    match entry:
        case {"vision": False, "provider": False}:  # g4f's /v1 sends this for every model
            return None
        case {"vision": bool(vision)} | {"capabilities": {"vision": bool(vision)}}:
            return vision
        case {"capabilities": {"image_input": {"supported": bool(vision)}}}:  # Anthropic
            return vision
        case {"architecture": {"input_modalities": [_, *_] as inputs}}:
            return "image" in inputs
    return None
