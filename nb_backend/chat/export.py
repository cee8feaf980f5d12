"""A conversation as text for people, and as a notebook that asks it again."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from ..files import write as write_file
from ..markdown.data_uris import is_bitmap, shorten_data_uris
from ..markdown.elements import code_span
from ..markdown.images import answer_markdown
from ..media.attachment import Attachment
from ..media.message_parts import text_of
from ..text import safe_terminal
from .transcript import Transcript, expanded

_MAX_SHOWN = 200_000  # bytes of a picture that is shown each time the conversation is
_SPEAKERS = {"user": "You", "assistant": "Answer", "system": "Instructions", "developer": "Instructions"}
_MODEL_ON_A_LINE = re.compile(r"[\w.:/@+][\w.:/@+-]*", re.ASCII)  # as ``%%backend MODEL`` takes it without quotes


def write(transcript: Transcript, path: str | os.PathLike[str]) -> None:
    """Write a transcript in the format that the suffix names; ``ValueError`` says which there are."""
    where = expanded(path)
    writers = {".md": to_markdown, ".ipynb": to_notebook}
    writer = writers.get(where.suffix.lower())
    if writer is None:
        raise ValueError(f"{where.name!r} has to end in {' or '.join(writers)}: the suffix chooses the format")
    write_file(where, writer(transcript).encode("utf-8"))


def to_markdown(transcript: Transcript, level: int = 1) -> str:
    """Give a Markdown document: headings, from this level on, say who speaks; those in what was said are below them.

    Below the first level it is to be shown among other things: large pictures of answers are a word or a link in it.
    """
    most = _MAX_SHOWN if level > 1 else None
    speaker = "#" * (level + 1)
    parts = [f"{speaker[1:]} Conversation"]
    if transcript.model:
        parts.append(f"Model: {_span(transcript.model)}")
    if transcript.system:
        parts += [f"{speaker} Instructions", _safe(transcript.system, level + 1)]
    for message in transcript.messages:
        role = message["role"]
        remark = _remark(message)
        if message.get("system"):
            parts += [f"{speaker} Instructions", _safe(message["system"], level + 1)]
        name, said = _SPEAKERS.get(role) or _span(role), _safe(text_of(message), level + 1, message.get("images"), most)
        shown = [Attachment(*one)._repr_markdown_() for one in message.get("media", ())]
        parts += [f"{speaker} {name}", said, *shown, remark and f"*({remark})*"]
    return "\n\n".join(part for part in parts if part) + "\n"


def to_notebook(transcript: Transcript) -> str:
    """Give a notebook (nbformat 4.5) whose cells ask the questions, with the answers as their outputs."""
    model = transcript.model or ""
    on_line = model if _MODEL_ON_A_LINE.fullmatch(model) else ""
    cells = [_code(_setup(transcript, with_model=model != on_line))]
    for message in transcript.messages:
        text = text_of(message)
        if message["role"] == "user":
            if "system" in message:
                cells.append(_code(f'chats["main"].system = {message["system"]!r}'))
            media = message.get("media", ())
            if media:
                made = [f"    attach({uri!r}, {name!r}),\n" for uri, name, *_ in media]
                cells.append(_code(f"from nb_backend import attach\n\nattached = [\n{''.join(made)}]"))
            cells.append(_code(_question(text, on_line, with_media=bool(media))))
        elif message["role"] == "assistant" and cells[-1]["source"][0].startswith("%%backend"):
            cells[-1]["outputs"].append(_output(message, text))
        else:
            who = _SPEAKERS.get(message["role"]) or _span(message["role"])
            cells.append({"cell_type": "markdown", "metadata": {}, "source": _lines(f"**{who}**\n\n{_safe(text)}")})
    notebook = {
        "cells": [{"id": f"cell-{number}", **cell} for number, cell in enumerate(cells)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _setup(transcript: Transcript, *, with_model: bool) -> str:
    """Give the first cell: how to ask as this was asked."""
    given: dict[str, Any] = {"model": with_model and transcript.model, "provider": transcript.provider}
    given |= {"system": transcript.system, "params": transcript.params}
    sets_system = any("system" in message for message in transcript.messages)  # and has it not set at the beginning
    lines = [
        f'chats["main"].{name} = {value!r}'
        for name, value in given.items()
        if value or (name == "system" and sets_system)
    ]
    imports = ["from nb_backend import chats"] if lines else []
    return "\n".join(["%load_ext nb_backend", *imports, *([""] if lines else []), *lines])


def _question(prompt: str, model: str, *, with_media: bool) -> str:
    """Give the cell that asks exactly this: nothing in it is taken for an expression to evaluate."""
    words = ["%%backend", *([model] if model else []), *(["--raw"] if "{{" in prompt else [])]
    words += ["-i attached"] if with_media else []
    end = "\n" if prompt.endswith("\n") else ""  # the magic takes the last line end off
    return f"{' '.join(words)}\n{prompt}{end}"


def _output(message: dict[str, Any], text: str) -> dict[str, Any]:
    remark = _remark(message)
    said = _answered(text, message.get("images"))
    shown = "\n\n".join(part for part in (said, remark and f"<small>{remark}</small>") if part)
    record = {key: message[key] for key in ("stopped", "trimmed") if message.get(key)}
    return {
        "output_type": "display_data",
        "data": {"text/markdown": _lines(shown), "text/plain": _lines(safe_terminal(shorten_data_uris(text)))},
        "metadata": {"nb_backend": record},
    }


def _remark(message: dict[str, Any]) -> str:
    """Say what the marks of a message mean."""
    remarks = ["stopped before its end"] if message.get("stopped") else []
    if count := message.get("trimmed"):
        remarks.append(f"asked without the {f'{count} oldest turns' if count > 1 else 'oldest turn'}")
    return "; ".join(remarks)


def _answered(text: str, images: dict[str, str] | None, most: int | None = None) -> str:
    """Make a text harmless, and put the images behind it that came beside it."""
    at_hand = {address: "" for address, stands_for in (images or {}).items() if is_bitmap(stands_for)}
    return answer_markdown(text, images or {}, at_hand, most)


def _safe(text: str, below: int = 2, images: dict[str, str] | None = None, most: int | None = None) -> str:
    """Make a text harmless, with its headings below those of this level."""
    lines, fence = [], ""
    for line in _answered(text, images, most).split("\n"):
        if fence:
            fence = "" if line == fence else fence
        elif found := re.match("`{3,}", line):
            fence = found[0]
        elif found := re.match("#{1,6}(?= |$)", line):
            line = "#" * min(6, len(found[0]) + below) + line[len(found[0]) :]
        lines.append(line)
    return "\n".join(lines)


def _span(text: str) -> str:
    return code_span(" ".join(text.split())[:200])


def _code(source: str) -> dict[str, Any]:
    return {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": _lines(source)}


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)
