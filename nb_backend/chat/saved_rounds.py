"""The rounds of an answer in the metadata of a notebook's output, and those of somebody else's file, checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import settings
from ..text import counted
from .jsonable import plain
from .tool_rounds import BREAK, ToolRound

_SIGN = "⚙ "  # with which the line of a step begins in the text of an output


def notebook_rounds(rounds: Sequence[ToolRound]) -> list[dict[str, Any]]:
    """Return rounds as JSON data without keys, without their state, and with a note in place of each picture.

    The output itself shows the pictures.
    """
    data = [one.to_json("") for one in rounds]
    for one in data:
        one.pop("state", None)
        for step in one["steps"]:
            if pictures := step.pop("images", None):
                note = f"[{counted(len(pictures), 'picture')}, not kept]"
                step["result"] = "\n".join(filter(None, [step["result"], note]))
    masked: list[dict[str, Any]] = plain(data, settings.known_keys())
    return masked


def restored_text(shown: str, rounds: Sequence[ToolRound]) -> str:
    """Return the text of an answer, given the text that an output shows, which has a line for each step."""
    from .shown_steps import step_line

    at = 0
    for line in (step_line(step) for one in rounds for step in one.steps):
        found = shown.find(line, at)
        if found < 0:  # another version wrote it
            lines = shown.split("\n")
            signs = [number for number, text in enumerate(lines) if text.startswith(_SIGN)]
            at = sum(len(text) + 1 for text in lines[: signs[-1] + 1]) if signs else 0
            break
        at = found + len(line)
    return BREAK.join(filter(None, [*(one.text for one in rounds), shown[at:].strip("\n")]))


def are_rounds(value: Any, is_attachment: Callable[[Any], bool]) -> bool:
    """Whether this is a list of rounds as a message keeps them, with these attachments as pictures."""
    return isinstance(value, list) and all(_is_round(one, is_attachment) for one in value)


def _is_round(one: Any, is_attachment: Callable[[Any], bool]) -> bool:
    if not isinstance(one, dict) or not isinstance(one.get("text", ""), str):
        return False
    state, steps = one.get("state", {}), one.get("steps")
    if not isinstance(state, dict) or not isinstance(state.get("items", []), list):
        return False
    return isinstance(steps, list) and all(_is_step(step, is_attachment) for step in steps)


def _is_step(step: Any, is_attachment: Callable[[Any], bool]) -> bool:
    if not isinstance(step, dict) or not isinstance(images := step.get("images", []), list):
        return False
    texts = all(isinstance(step.get(name, ""), str) for name in ("id", "name", "arguments", "result"))
    return texts and isinstance(step.get("error"), str | None) and all(map(is_attachment, images))
