"""The file of the notebook that this kernel belongs to, as it was saved last. It is only read, never executed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAX_SIZE = 256 * 2**20  # bytes of a file that is read


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
            if isinstance(found, dict) and isinstance(names, dict) and chat in names:
                yield found
