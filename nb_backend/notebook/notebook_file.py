"""The file of the notebook that this kernel belongs to, as it was saved last. It is only read, never executed."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

MAX_SIZE = 256 * 2**20  # bytes of a file that is read
WIDGET = "application/vnd.jupyter.widget-view+json"


def notebook_path(shell: Any) -> Path | None:
    """Return the path of the notebook's file, as VS Code or Jupyter tell it to the kernel; None if nobody does."""
    names = getattr(shell, "user_ns", {}).get("__vsc_ipynb_file__"), os.environ.get("JPY_SESSION_NAME")
    paths = [Path(name) for name in names if isinstance(name, str) and name.endswith(".ipynb")]
    return next((path for path in paths if path.is_file()), None)


def read_notebook(path: Path) -> list[dict[str, Any]]:
    """Return the cells of a notebook. Raises ``ValueError`` if the file is not one, else ``OSError``."""
    if not path.is_file():  # reading a pipe or a device might never end
        raise ValueError(f"there is no notebook {str(path)!r}")
    if path.stat().st_size > MAX_SIZE:
        raise ValueError(f"{str(path)!r} is larger than {MAX_SIZE >> 20} MB")
    try:
        notebook = json.loads(path.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError):
        raise ValueError(f"{str(path)!r} is not a notebook: it is not JSON") from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise ValueError(f"{str(path)!r} is not a notebook: it has no cells")
    return [cell for cell in cells if isinstance(cell, dict)]


def mark_of(thing: Any) -> dict[str, Any]:
    """Return what nb_backend has left in the metadata of a cell or an output; {} if there is nothing."""
    metadata = thing.get("metadata") if isinstance(thing, dict) else None
    found = metadata.get("nb_backend") if isinstance(metadata, dict) else None
    return found if isinstance(found, dict) else {}


def outputs_of(cell: dict[str, Any]) -> list[Any]:
    """Return the outputs of a cell."""
    outputs = cell.get("outputs")
    return outputs if isinstance(outputs, list) else []


def panel_records(cells: list[dict[str, Any]], chat: str) -> Iterator[dict[str, Any]]:
    """Yield the records of panels that have shown this chat (see ``panel.record``)."""
    for cell in cells:
        for found in (mark_of(cell), *(mark_of(output).get("record") for output in outputs_of(cell))):
            names = found.get("chats") if isinstance(found, dict) else None
            if isinstance(found, dict) and isinstance(names, dict) and (chat in names or found.get("opened") == chat):
                yield found


def panel_transcript(cells: list[dict[str, Any]], shown_in: Collection[str], *, unread: bool = False) -> str:
    """Return the Markdown of the transcript that a panel has left without a record, "" if there is none.

    It is that of the cells with the ids ``shown_in``; if the file does not have these cells, of its only such panel.
    ``unread``: also if there is a record.
    """
    texts = [(cell.get("id"), text) for cell in cells if (text := _transcript_of(cell, unread))]
    if any(cell.get("id") in shown_in for cell in cells):
        return "\n\n".join(text for id, text in texts if id in shown_in)
    return texts[0][1] if len(texts) == 1 else ""


def _transcript_of(cell: dict[str, Any], unread: bool) -> str:
    texts = []
    for output in outputs_of(cell):
        mark, data = mark_of(output), output.get("data") if isinstance(output, dict) else None
        if not isinstance(data, dict) or not (unread or not (mark.get("record") or mark_of(cell).get("chats"))):
            continue
        text = data.get("text/markdown")
        text = "".join(line for line in text if isinstance(line, str)) if isinstance(text, list) else text
        is_finished = mark.get("output") == "panel" and WIDGET not in data
        if isinstance(text, str) and (mark.get("output") == "transcript" or is_finished):
            texts.append(text)
    return "\n\n".join(texts)
