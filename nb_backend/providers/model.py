"""A model that a server lists."""

from __future__ import annotations

from typing import Self

ABILITIES = ("vision", "audio", "image")  # of models, as g4f names them


class Model(str):
    """A model's id, with what the server says of it: ``label``, ``provider``, and whether it sees images (``vision``),
    has to do with ``audio``, or makes an ``image``; ``None`` is not said.
    """

    label: str
    provider: str
    vision: bool | None
    audio: bool | None
    image: bool | None

    @classmethod
    def of(cls, name: object, *, label: object = "", provider: object = "", **abilities: object) -> Self:
        """Make a model of its id and what the server says of it; what is said oddly is not said."""
        if not isinstance(name, str):
            raise TypeError(f"a model's id is a text, not {type(name).__name__}")
        model = cls(name)
        model.label = label if isinstance(label, str) and label else name
        model.provider = provider if isinstance(provider, str) else ""
        for ability in ABILITIES:
            can = abilities.get(ability)
            setattr(model, ability, can if isinstance(can, bool) else None)
        return model
