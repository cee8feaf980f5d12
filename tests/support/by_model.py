"""A scripted engine that has a script for each model, and what a cell shows of several."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from html import unescape
from typing import Any

from nb_backend.local.engine import Body, Event, Step
from nb_backend.local.scripted import ScriptedEngine


class ByModel(ScriptedEngine):
    """Answers as ``scripts`` say for the model that is asked, else with its name: ``I am llama.``"""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: dict[str, tuple[Step, ...]] = {}

    def says(self, **scripts: tuple[Step, ...]) -> None:
        """Set the scripts; the model ``gpt-4o`` is written ``gpt_4o``."""
        self.scripts = {name.replace("_", "-"): steps for name, steps in scripts.items()}

    async def stream(self, body: Body) -> AsyncGenerator[Event | bytes, None]:
        self.enqueue(*self.scripts.get(body["model"], (f"I am {body['model']}.",)))
        async for event in super().stream(body):
            yield event

    def asked(self, model: str) -> list[dict[str, Any]]:
        """Give the messages that a model was sent last."""
        messages: list[dict[str, Any]] = [body for body in self.history if body["model"] == model][-1]["messages"]
        return messages


def columns(markdown: str) -> list[str]:
    """Give what stands in the columns of an output, each from the end of its name on: ``llama**…``."""
    start, *found = markdown.split("\n\n**")
    assert start.count("<div") == 2
    assert found[-1].endswith("</div>\n</div>")
    return [unescape(one) for one in found]
