"""A prompt of a page with the values of its ``{{ expressions }}``, as ``%%backend`` fills in those of a cell."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ...media.attachment import Attachment
from ..prompt.expression import expressions
from ..prompt.interpolate import Prompt, add_named_image, fill_in
from ..prompt.scope import prompt_names
from .between_cells import ONLY_IN_CELLS, BetweenCells

_AS_TYPED = "or put \\ before the braces to send them as typed"


@dataclass
class FilledPrompt:
    """A prompt as it is sent.

    ``about`` is kept beside the message: ``typed``, the text with its expressions, ``filled``, how many of the first
    images are values of expressions, and ``remarks``. It is empty for a prompt without expressions.
    """

    text: str
    images: list[Attachment]
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def remarks(self) -> list[str]:
        """What was left out of the values."""
        return [*self.about.get("remarks", ())]


def has_expressions(text: str) -> bool:
    """Whether a prompt has expressions, escaped ones too."""
    return "{{" in text and any(True for _ in expressions(text))


async def filled_prompt(text: str, images: list[Attachment], shell: Any, cells: BetweenCells) -> FilledPrompt:
    """Evaluate the expressions of a prompt on the kernel's main thread, once no cell runs.

    ``PromptError`` in one line if that fails, and ``ValueError`` if it is interrupted.
    """
    if not has_expressions(text):
        return FilledPrompt(text, images)
    if not cells.is_available:
        raise ValueError(f"{ONLY_IN_CELLS}, or remove the braces")

    def evaluate() -> Prompt:
        with _no_new_figures():
            return fill_in(text, prompt_names(shell), otherwise=_AS_TYPED)

    prompt = await cells.run(evaluate)
    named = {**prompt.images}
    for image in images:
        add_named_image(named, image, image.name)
    about = {"typed": text, "filled": len(prompt.images), "remarks": prompt.remarks}
    return FilledPrompt(prompt.text, [*named.values()], about)


def about_prompt(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``FilledPrompt.about`` from the metadata of a message, which may come from a file: only what is valid."""
    typed, filled, remarks = (metadata.get(name) for name in ("typed", "filled", "remarks"))
    if not isinstance(typed, str):
        return {}
    is_count = isinstance(filled, int) and not isinstance(filled, bool) and filled >= 0
    texts = [one for one in remarks if isinstance(one, str)] if isinstance(remarks, list) else []
    return {"typed": typed, "filled": filled if is_count else 0, "remarks": texts}


@contextmanager
def _no_new_figures() -> Iterator[None]:
    """Close the figures that an expression draws: matplotlib would show them below the next cell."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    before = {*pyplot.get_fignums()} if pyplot is not None else set()
    try:
        yield
    finally:
        if (pyplot := sys.modules.get("matplotlib.pyplot")) is not None:
            for number in {*pyplot.get_fignums()} - before:
                pyplot.close(number)
