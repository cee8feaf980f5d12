"""A scripted engine with a script for each model, and the columns that a cell shows for several models."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from html import unescape
from typing import Any

from nb_backend.local.engine import Body, Event, Step
from nb_backend.local.scripted import ScriptedEngine


class ByModel(ScriptedEngine):
    """Engine that plays the script of the model that is asked; without one, it answers ``I am llama.``

    ``listed`` are the models that its server lists.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scripts: dict[str, tuple[Step, ...]] = {}
        self.listed = ["a", "b", "c", "d", "llama", "gpt-4o"]

    def says(self, **scripts: tuple[Step, ...]) -> None:
        """Set the scripts by model; write ``gpt_4o`` for the model ``gpt-4o``."""
        self.scripts = {name.replace("_", "-"): steps for name, steps in scripts.items()}

    async def stream(self, body: Body) -> AsyncGenerator[Event | bytes, None]:
        self.enqueue(*self.scripts.get(body.get("model", ""), (f"I am {body.get('model')}.",)))
        async for event in super().stream(body):
            yield event

    def asked(self, model: str) -> list[dict[str, Any]]:
        """Return the messages of the last request to a model."""
        messages: list[dict[str, Any]] = [body for body in self.history if body["model"] == model][-1]["messages"]
        return messages


def columns(markdown: str) -> list[str]:
    """Return the columns of an output as text, each from its model's name on: ``llama**…``."""
    start, *found = markdown.split("\n\n**")
    assert start.count("<div") == 2
    assert found[-1].endswith("</div>\n</div>")
    return [unescape(one) for one in found]
