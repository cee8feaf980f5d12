"""Record the images that recent cells show, as they are sent to the front end.

All outputs of a kernel's cells go through one method of its session, whatever thread sends them, with the request that
ran the cell as their parent. That method is wrapped here, so the recorder sees what the front end sees, and not what
``%%capture`` keeps back. (Hooks of ipykernel's display publisher see neither results, updates from other threads nor
the begin and end of cells.)
"""

from __future__ import annotations

import sys
from contextlib import suppress
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

MAX_CELLS: Final = 10
MAX_BYTES: Final = 32 * 2**20

_DISPLAY_TYPES = ("display_data", "update_display_data", "execute_result")
_RECORDED_TYPES = frozenset({*_DISPLAY_TYPES, "execute_input", "stream", "error", "clear_output", "status"})


class CellImages(NamedTuple):
    """The images that a cell shows, in order; ``cell_id`` is "" if unknown, ``number`` is the n of ``In [n]``."""

    cell_id: str
    number: int
    images: tuple[bytes, ...]


class _Cell:
    def __init__(self, id: str, number: int) -> None:
        self.id = id
        self.number = number
        self.running = True
        self.clears_on_next_output = False  # after clear_output(wait=True)
        self.shown: dict[object, bytes] = {}  # images by display_id; b"" for an output that is not an image
        self.display_ids: set[str] = set()  # of its outputs; "" for an output without one, and for text

    @property
    def images(self) -> tuple[bytes, ...]:
        return tuple(filter(None, self.shown.values()))


class OutputRecorder:
    """Records what a session sends, from ``open`` to ``close``."""

    def __init__(self, shell: Any, session: Any) -> None:
        self._shell = shell
        self._session = session
        self._open = False
        self._cells: dict[str, _Cell] = {}  # by the id of the request that ran the cell, oldest first
        self._lock = RLock()
        self._send = session.send

    def open(self) -> None:
        """Start recording; a second call changes nothing."""
        if self._open:
            return
        self._open = True
        if self._session.send == self._send:  # otherwise someone has wrapped our wrapper, which is still in place
            self._session.send = self.send
        with suppress(Exception):  # a cell that loads the extension has begun already
            parent = self._shell.get_parent()
            if parent["header"]["msg_type"] == "execute_request" and not parent["content"].get("silent"):
                self._begin(parent["header"]["msg_id"], len(self._shell.history_manager.input_hist_parsed) - 1)

    def send(self, *args: Any, **options: Any) -> Any:
        """Send a message in place of the session, and record it."""
        is_built = len(args) > 1 and isinstance(args[1], dict)  # outputs of cells are built before they are sent
        if is_built:  # recorded first, as the front end may react with an interrupt
            self._record(args[1])
        message = self._send(*args, **options)
        if not is_built:
            self._record(message)
        return message

    def close(self) -> bool:
        """Stop recording and forget all; return whether the session has its own ``send`` again, without a wrapper."""
        with self._lock:
            self._open = False
            self._cells = {}
        if self._session.send == self.send:
            self._session.send = self._send
        return bool(self._session.send == self._send)

    def recent(self, running: bool = True) -> list[CellImages]:
        """Return the images of the cells, newest first, with or without those of running cells."""
        with self._lock:
            cells = [cell for cell in reversed(self._cells.values()) if cell.images and (running or not cell.running)]
            return [CellImages(cell.id, cell.number, cell.images) for cell in cells]

    def clear_if_only(self, display_ids: set[str]) -> bool:
        """Clear the outputs of the running cell at its next output, if it has only these; return whether it does."""
        publisher = self._shell.display_pub
        for texts in (sys.stdout, sys.stderr):
            texts.flush()
        with self._lock:  # so that nothing else is sent meanwhile
            cell = self._cells.get(publisher.parent_header["msg_id"]) if self._open else None
            if cell is None or cell.clears_on_next_output or cell.display_ids != display_ids:
                return False
            publisher.clear_output(wait=True)
        return True

    def _record(self, message: Any) -> None:
        with suppress(Exception):  # a strange message of other code must not fail the cell
            if message["header"]["msg_type"] in _RECORDED_TYPES:
                with self._lock:
                    if self._open:
                        request = message["parent_header"]["msg_id"]
                        self._update(message["header"]["msg_type"], request, message["content"])

    def _update(self, kind: str, request: str, content: dict[str, Any]) -> None:
        cell = self._cells.get(request)
        if kind == "execute_input":
            self._begin(request, content["execution_count"])
        elif kind == "update_display_data":
            self._show(cell, content, update=True)
        elif cell is None:
            return
        elif kind == "status":
            if content["execution_state"] == "idle":
                cell.running = False
                self._trim()
        elif kind == "clear_output" and content["wait"]:
            cell.clears_on_next_output = True
        else:
            if cell.clears_on_next_output or kind == "clear_output":
                cell.clears_on_next_output = False
                cell.shown.clear()
                cell.display_ids.clear()
            if kind != "clear_output":
                cell.display_ids.add(content.get("transient", {}).get("display_id") or "")
            if kind in _DISPLAY_TYPES:
                self._show(cell, content)

    def _begin(self, request: str, number: int) -> None:
        """Begin a cell: forget its earlier outputs, and the cells that the front end has deleted."""
        metadata = self._shell.get_parent().get("metadata", {})
        cell_id = metadata.get("cellId") or ""
        gone = {cell_id, *(metadata.get("deletedCells") or ())} - {""}
        self._cells = {earlier: cell for earlier, cell in self._cells.items() if cell.id not in gone}
        self._cells[request] = _Cell(cell_id, number)

    def _show(self, cell: _Cell | None, content: dict[str, Any], update: bool = False) -> None:
        """Record a display; an update goes to every cell with that display, else to the cell that sends it."""
        display_id = content.get("transient", {}).get("display_id")
        image = _image_of(content["data"])
        cells = [shows for shows in self._cells.values() if update and display_id in shows.shown]
        if cell is not None and not cells and (image or display_id):
            cells = [cell]
        for shows in cells:
            shows.shown[display_id or object()] = image
        if image:
            self._trim()

    def _trim(self) -> None:
        """Drop the oldest images above the limits, and the cells that have ended without an image."""
        cells = [cell for cell in self._cells.values() if cell.images]
        for cell in cells[:-MAX_CELLS]:
            cell.shown.clear()
        excess = sum(len(image) for cell in cells for image in cell.shown.values()) - MAX_BYTES
        oldest = ((cell.shown, key) for cell in cells for key in list(cell.shown))
        while excess > 0:
            shown, key = next(oldest)
            excess -= len(shown.pop(key))
        self._cells = {request: cell for request, cell in self._cells.items() if cell.running or cell.images}


_recorders: dict[InteractiveShell, OutputRecorder] = {}


def register(shell: InteractiveShell) -> None:
    """Record from now on what the cells of a kernel show; a second call, or a shell of no kernel, changes nothing."""
    session = getattr(getattr(shell, "kernel", None), "session", None)
    if shell not in _recorders and hasattr(session, "send"):
        _recorders[shell] = OutputRecorder(shell, session)
    if shell in _recorders:
        _recorders[shell].open()


def unregister(shell: InteractiveShell) -> None:
    """Stop recording, and forget what was recorded."""
    if shell in _recorders and _recorders[shell].close():
        del _recorders[shell]


def recent_images(shell: InteractiveShell) -> list[CellImages]:
    """Return the images of the last cells: of at most ten cells and 32 MB, the newest cell first.

    A running cell is included with what it shows so far.
    """
    return _recorders[shell].recent() if shell in _recorders else []


def last_images(shell: InteractiveShell) -> tuple[bytes, ...]:
    """Return the images of the last cell that shows any; a running cell does not count."""
    found = _recorders[shell].recent(running=False) if shell in _recorders else []
    return found[0].images if found else ()


def clear_if_only(shell: InteractiveShell, display_ids: set[str]) -> bool:
    """Clear the outputs of the running cell at its next output, if it has only these; return whether it does."""
    with suppress(Exception):  # the shell may not be a kernel's
        return shell in _recorders and _recorders[shell].clear_if_only(display_ids)
    return False


def _image_of(bundle: dict[str, Any]) -> bytes:
    """Return the best image of a MIME bundle, or b"" if it has none."""
    from ..media.probe import is_truncated
    from ..media.sniff import DISPLAY_TYPES, media_type, shown_bytes

    for kind in DISPLAY_TYPES:
        data = shown_bytes(bundle.get(kind))
        found = media_type(data) or ""
        if found.startswith("image/") and len(data) <= MAX_BYTES and not is_truncated(data, found):
            return data
    return b""
