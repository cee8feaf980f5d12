"""What a user may give as a prompt, a system prompt or a title: a text, or an answer, which stands for its text."""

from __future__ import annotations

from .answer import Answer


def prompt_text(prompt: object, name: str = "the prompt") -> str:
    """Return the text of a prompt, a ``str`` or an ``Answer``; ``TypeError`` for anything else, before it is sent."""
    if isinstance(prompt, Answer):
        return prompt.text
    if not isinstance(prompt, str):
        kind = "None" if prompt is None else f"of type {type(prompt).__name__}"
        raise TypeError(f"{name} is {kind}, not a text: make it one, with str(…) or an f-string")
    return prompt


def system_text(system: object) -> str | None:
    """Return the text of a system prompt, or ``None``; ``TypeError`` as for ``prompt_text``."""
    return None if system is None else prompt_text(system, "the system prompt")
