"""A model that a server lists."""

from __future__ import annotations

from typing import Self

ABILITIES = ("vision", "audio", "image")  # names that g4f uses


class Model(str):
    """A model's id, with what the server reports about the model.

    ``label`` is the name to show, ``provider`` the service or the owner. ``vision`` (accepts images), ``audio``
    (handles audio) and ``image`` (makes images) are ``None`` if the server does not report them.
    """

    label: str
    provider: str
    vision: bool | None
    audio: bool | None
    image: bool | None

    @classmethod
    def of(cls, name: object, *, label: object = "", provider: object = "", **abilities: object) -> Self:
        """Build a model from a server's fields; those of the wrong type are ignored, but an id is a ``TypeError``."""
        if not isinstance(name, str):
            raise TypeError(f"a model's id must be a str, not {type(name).__name__}")
        model = cls(name)
        model.label = label if isinstance(label, str) and label else name
        model.provider = provider if isinstance(provider, str) else ""
        for ability in ABILITIES:
            value = abilities.get(ability)
            setattr(model, ability, value if isinstance(value, bool) else None)
        return model
