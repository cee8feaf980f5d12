"""A chat as Markdown to read, and as a notebook that asks it again."""

from __future__ import annotations

import json
import os
import re
from itertools import chain
from typing import Any

from ..markdown.data_uris import is_bitmap, shorten_data_uris
from ..markdown.elements import code_span, escape_line, join_blocks
from ..markdown.images import answer_markdown, piece_markdown
from ..media.attachment import Attachment
from ..media.message_parts import text_of
from ..providers.sources import SourceList
from ..text import safe_terminal
from .answer import Answer
from .atomic_files import write as write_file
from .messages import Message, without_turns
from .saved_rounds import notebook_rounds
from .shown_steps import rounds_text, steps_markdown, steps_text
from .source_list import sources_markdown
from .speech import describe_sound, player, spoken
from .tool_rounds import rounds_of
from .transcript import Transcript, expanded
from .versions import forks_from_data, version_numbers

_MAX_SHOWN = 200_000  # bytes of an image in the Markdown that shows a chat in a cell
SPEAKERS = {"user": "You", "assistant": "Answer", "system": "Instructions", "developer": "Instructions"}
"""Headings of messages, by role."""

_PLAIN_MODEL_NAME = re.compile(r"[\w.:/@+][\w.:/@+-]*", re.ASCII)  # needs no quotes in ``%%backend MODEL``


def write(transcript: Transcript, path: str | os.PathLike[str]) -> None:
    """Write a transcript in the format of the suffix. Raises ``ValueError`` for a suffix other than .md and .ipynb."""
    where = expanded(path)
    writers = {".md": to_markdown, ".ipynb": to_notebook}
    writer = writers.get(where.suffix.lower())
    if writer is None:
        raise ValueError(f"{where.name!r} must end in {' or '.join(writers)}, which is the format to write")
    write_file(where, writer(transcript).encode("utf-8"))


def to_markdown(transcript: Transcript, level: int = 1, *, folded: bool = True) -> str:
    """Return a Markdown document whose title has this heading level; headings inside messages go below those of roles.

    With a level above 1, the text is part of something else, and large images are shortened to a word or a link.
    Steps of tools are folded blocks; with ``folded=False`` they are lines of text, for a terminal.
    """
    max_bytes = _MAX_SHOWN if level > 1 else None
    heading = "#" * (level + 1)
    parts = [f"{heading[1:]} Conversation"]
    if transcript.model:
        parts.append(f"Model: {_span(transcript.model)}")
    if transcript.system:
        parts += [f"{heading} Instructions", _safe(transcript.system, level + 1)]
    versions = _versions(transcript)
    for message, about in transcript.described_messages():
        role = message["role"]
        remark = _remark(message, about, versions.get(id(message)))
        if message.get("system"):
            parts += [f"{heading} Instructions", _safe(message["system"], level + 1)]
        name = SPEAKERS.get(role) or _span(role)
        text = _content(message, level + 1, max_bytes, folded=folded)
        attached = [Attachment(*one)._repr_markdown_() for one in message.get("media", ())]
        parts += [f"{heading} {name}", text, _sources(about), *attached, remark and f"*({remark})*"]
    return "\n\n".join(part for part in parts if part) + "\n"


def to_notebook(transcript: Transcript) -> str:
    """Return a notebook (nbformat 4.5) whose cells ask the prompts again, with the answers as their outputs."""
    model = transcript.model or ""
    plain_model = model if _PLAIN_MODEL_NAME.fullmatch(model) else ""
    cells = [_code(_setup(transcript, with_model=model != plain_model))]
    versions = _versions(transcript)
    for message, about in transcript.described_messages():
        text = text_of(message)
        if message["role"] == "user":
            if "system" in message:
                cells.append(_code(f'chats["main"].system = {message["system"]!r}'))
            media = message.get("media", ())
            if media:
                calls = [f"    attach({uri!r}, {name!r}),\n" for uri, name, *_ in media]
                cells.append(_code(f"from nb_backend import attach\n\nattached = [\n{''.join(calls)}]"))
            cells.append(_code(_prompt_cell(text, plain_model, with_media=bool(media))))
        elif message["role"] == "assistant" and cells[-1]["source"][0].startswith("%%backend"):
            cells[-1]["outputs"].append(_output(message, about, text, versions.get(id(message))))
            cells[-1]["outputs"] += _sound_output(message)
        else:
            name = SPEAKERS.get(message["role"]) or _span(message["role"])
            cells.append({"cell_type": "markdown", "metadata": {}, "source": _lines(f"**{name}**\n\n{_safe(text)}")})
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
    """Return the first cell, which sets up the same chat."""
    values: dict[str, Any] = {"model": with_model and transcript.model, "provider": transcript.provider}
    values |= {"system": transcript.system, "params": transcript.params}
    sets_system = any("system" in message for message in transcript.messages)  # a second "Run all" has to reset it
    lines = [
        f'chats["main"].{name} = {value!r}'
        for name, value in values.items()
        if value or (name == "system" and sets_system)
    ]
    imports = ["from nb_backend import chats"] if lines else []
    return "\n".join(["%load_ext nb_backend", *imports, *([""] if lines else []), *lines])


def _prompt_cell(prompt: str, model: str, *, with_media: bool) -> str:
    """Return the cell that sends exactly this prompt, ``{{ }}`` included."""
    words = ["%%backend", *([model] if model else []), *(["--raw"] if "{{" in prompt else [])]
    words += ["-i attached"] if with_media else []
    end = "\n" if prompt.endswith("\n") else ""  # the magic removes the last line end
    return f"{' '.join(words)}\n{prompt}{end}"


def _output(
    message: dict[str, Any], about: dict[str, Any], text: str, version: tuple[int, int] | None
) -> dict[str, Any]:
    remark = _remark(message, about, version)
    answer = Answer.of(Message(message, about)).to_markdown() if message.get("rounds") else ""
    answer = answer or _safe_with_images(text, message.get("images"))
    shown = "\n\n".join(part for part in (answer, _sources(about), remark and f"<small>{remark}</small>") if part)
    metadata = {key: message[key] for key in ("stopped", "trimmed") if message.get(key)}
    metadata |= {"complete": about["complete"]} if isinstance(about.get("complete"), bool) else {}
    if rounds := rounds_of(message):
        metadata["rounds"] = notebook_rounds(rounds)
        text = rounds_text(Answer.of(message).rounds)
    return {
        "output_type": "display_data",
        "data": {"text/markdown": _lines(shown), "text/plain": _lines(safe_terminal(shorten_data_uris(text)))},
        "metadata": {"nb_backend": metadata},
    }


def _sound_output(message: dict[str, Any]) -> list[dict[str, Any]]:
    audio = spoken(message.get("speech"))
    return [{"output_type": "display_data", "data": player(audio), "metadata": {}}] if audio else []


def _sources(about: dict[str, Any]) -> str:
    sources = SourceList()
    sources.add(about.get("sources"))
    return sources_markdown([*sources])


def _versions(transcript: Transcript) -> dict[int, tuple[int, int]]:
    return version_numbers(forks_from_data(transcript.versions, transcript.messages), transcript.messages)


def _remark(message: dict[str, Any], about: dict[str, Any], version: tuple[int, int] | None = None) -> str:
    """Return in words how an answer was stopped or its request trimmed, why it is incomplete, and its version."""
    remarks = ["stopped early"] if message.get("stopped") else []
    if message["role"] == "assistant" and (why := Answer.of(Message(message, about)).shortcomings):
        remarks.append(f"incomplete: {escape_line(', '.join(why))}")
    if audio := spoken(message.get("speech")):
        remarks.append(describe_sound(audio))
    if count := message.get("trimmed"):
        remarks.append(f"sent {without_turns(count)}")
    if message["role"] == "assistant":
        remarks += map(escape_line, Answer.of(Message(message, about)).remarks)
    remarks += ["version {} of {}; the others are not shown".format(*version)] if version is not None else []
    return "; ".join(remarks)


def _content(message: dict[str, Any], below: int, max_bytes: int | None, *, folded: bool) -> str:
    """Return what a message says as safe Markdown with its headings below this level, and its steps at their place."""
    images = message.get("images") or {}
    if not message.get("rounds"):
        return _safe(text_of(message), below, images, max_bytes)
    rounds = Answer.of(message).rounds
    texts = piece_markdown([text for text, _ in rounds], images, _alts(images), max_bytes)
    write = steps_markdown if folded else steps_text
    written = [write(steps) for _, steps in rounds]
    return join_blocks(*chain(*zip((_lowered(text, below) for text in texts), written, strict=True)))


def _safe_with_images(text: str, images: dict[str, str] | None, max_bytes: int | None = None) -> str:
    """Return the text as safe Markdown, followed by the images that came beside it."""
    return answer_markdown(text, images or {}, _alts(images or {}), max_bytes)


def _alts(images: dict[str, str]) -> dict[str, str]:
    return {address: "" for address, target in images.items() if is_bitmap(target)}


def _safe(text: str, below: int = 2, images: dict[str, str] | None = None, max_bytes: int | None = None) -> str:
    """Return the text as safe Markdown with its headings below this level."""
    return _lowered(_safe_with_images(text, images, max_bytes), below)


def _lowered(markdown: str, below: int) -> str:
    """Return safe Markdown with its headings below this level."""
    lines, fence = [], ""
    for line in markdown.split("\n"):
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
