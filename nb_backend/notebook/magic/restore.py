"""``%backend restore``: put the conversation of a saved notebook's cells back into the chats. No cell runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from IPython.core.getipython import get_ipython

from ...chat.answer import Answer
from ...chat.messages import Message, describe_length
from ...chat.named_chats import chats
from ...chat.saved_rounds import are_rounds, restored_text
from ...chat.tool_rounds import rounds_of
from ...chat.transcript import expanded
from ...text import shorten
from ...typing import Messages
from ..notebook_file import mark_of, notebook_path, outputs_of, read_notebook
from ..report import Report
from ..status_line import status_text
from .options import Options, parse

_MAGIC = "%%backend"


def restore_cells(name: str) -> Report:
    """Restore the turns of the asking cells; without a name, from the file of this kernel's notebook.

    Raises ``ValueError`` if there is no such notebook, or if nobody tells where it is.
    """
    path = expanded(name) if name else notebook_path(get_ipython())
    if path is None:
        raise ValueError("this front end does not say where the notebook is: write %backend restore NOTEBOOK.ipynb")
    found = turns_in(read_notebook(path))
    added: Messages = []
    for chat, messages in found.items():
        added += chats[chat].restore(messages, removed=True)
    saved = time.strftime("%Y-%m-%d %H:%M", time.localtime(path.stat().st_mtime))
    where = f"{shorten(path.name)}, saved {saved}"
    if added:
        return Report(f"{describe_length(added)} restored from {where}")
    asked = any(found.values())
    return Report(f"nothing to restore from {where}: {'all its turns are here' if asked else 'no cell has an answer'}")


def turns_in(cells: Sequence[dict[str, Any]]) -> dict[str, Messages]:
    """Return the messages of each chat, by name, that the cells of a notebook have asked and shown.

    A cell that asks several models, or whose answer failed, has no turn.
    """
    found: dict[str, Messages] = {}
    for cell in cells:
        line, _, prompt = _text(cell.get("source")).partition("\n")
        answers = [(mark, text) for mark, text in _answers_in(cell) if not mark.get("failed")]
        if cell.get("cell_type") != "code" or line.split(None, 1)[:1] != [_MAGIC] or not answers:
            continue
        options = Options()
        with suppress(ValueError):
            options = parse(line.strip()[len(_MAGIC) :])
        if options.once or options.dry_run:
            continue
        if options.new:
            found[options.chat] = []
        for mark, text in answers:
            sent = mark.get("prompt")
            question = {"role": "user", "content": sent if isinstance(sent, str) else prompt.removesuffix("\n")}
            if isinstance(id := cell.get("id"), str):
                question["cell"] = id
            about = {key: value for key, value in mark.items() if key != "prompt"}
            found.setdefault(options.chat, []).extend([Message(question, {}), _reply(text, about)])
    return found


def _answers_in(cell: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the metadata and the text of each answer that a cell shows: two, if the first did not fit a schema.

    A long answer has several outputs, of which the last one has the metadata.
    """
    texts: list[str] = []
    for output in outputs_of(cell):
        mark, data = mark_of(output), output.get("data") if isinstance(output, dict) else None
        if not isinstance(data, dict) or "text/plain" not in data or mark.get("attached"):
            continue
        texts.append(_text(data["text/plain"]))
        if "complete" in mark:
            is_text = "text/html" in data
            yield mark, texts[-1].rpartition("\n\n[")[0] if is_text else "\n\n".join(filter(None, texts))
            texts = []


def _reply(text: str, about: dict[str, Any]) -> Message:
    rounds = about.pop("rounds", None)
    message = Message({"role": "assistant", "content": text}, about)
    answer = Answer.of(message)
    why = " · ".join(answer.shortcomings)
    message["content"] = text.removesuffix(status_text(answer, why)).rstrip() if why else text
    if rounds and are_rounds(rounds, lambda picture: False):  # it has none: the output shows them
        message["rounds"] = rounds
        message["content"] = restored_text(message["content"], rounds_of(message))
    if about.get("stopped") is True:
        message["stopped"] = True
    return message


def _text(value: object) -> str:
    """Return a text of a notebook's file, which may be a list of lines."""
    lines = value if isinstance(value, list) else [value]
    return "".join(line for line in lines if isinstance(line, str))
