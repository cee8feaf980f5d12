"""What recent cells have shown, their images above all, noted as it goes out to the front end.

All that a kernel's cell shows is sent by one method of its session, from whichever thread, with the request that ran
the cell as its parent. So this sees what the front end sees: what ``%%capture`` keeps back is not there.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

MOST_CELLS: Final = 10
MOST_BYTES: Final = 32 * 2**20

_SHOW = ("display_data", "update_display_data", "execute_result")
_NOTED = frozenset({*_SHOW, "execute_input", "stream", "error", "clear_output", "status"})


class CellImages(NamedTuple):
    """What a cell shows, in its order; the cell's id, "" if the front end tells none, and the n of its ``In [n]``."""

    cell_id: str
    number: int
    images: tuple[bytes, ...]


class _Cell:
    def __init__(self, id: str, number: int) -> None:
        self.id = id
        self.number = number
        self.running = True
        self.clears = False  # what it has shown goes when it shows something else
        self.shown: dict[object, bytes] = {}  # by display_id, if it has one; b"" is no image
        self.outputs: set[str] = set()  # by display_id; "" is one without, or a text

    @property
    def images(self) -> tuple[bytes, ...]:
        return tuple(filter(None, self.shown.values()))


class OutputRecorder:
    """Notes what a session sends from ``open`` to ``close``, and sends it as before."""

    def __init__(self, shell: Any, session: Any) -> None:
        self._shell = shell
        self._session = session
        self._open = False
        self._cells: dict[str, _Cell] = {}  # by the requests that ran them, the oldest first
        self._lock = RLock()
        self._send = session.send

    def open(self) -> None:
        """Begin to note; a second time changes nothing."""
        if self._open:
            return
        self._open = True
        if self._session.send == self._send:  # else somebody has wrapped what is there still
            self._session.send = self.send
        with suppress(Exception):  # the cell that loads this has begun already, if it is one that does
            parent = self._shell.get_parent()
            if parent["header"]["msg_type"] == "execute_request" and not parent["content"].get("silent"):
                self._begin(parent["header"]["msg_id"], len(self._shell.history_manager.input_hist_parsed) - 1)

    def send(self, *args: Any, **options: Any) -> Any:
        """Send a message, in the session's place."""
        built = len(args) > 1 and isinstance(args[1], dict)  # as is what a cell shows
        if built:  # first, for the front end may answer with an interrupt
            self._look(args[1])
        message = self._send(*args, **options)
        if not built:
            self._look(message)
        return message

    def close(self) -> bool:
        """Note nothing more, and forget; tell whether the session is as it was, with nobody between who needs this."""
        with self._lock:
            self._open = False
            self._cells = {}
        if self._session.send == self.send:
            self._session.send = self._send
        return bool(self._session.send == self._send)

    def recent(self, running: bool = True) -> list[CellImages]:
        """Give what cells show, the newest first, with or without those that are running."""
        with self._lock:
            cells = [cell for cell in reversed(self._cells.values()) if cell.images and (running or not cell.running)]
            return [CellImages(cell.id, cell.number, cell.images) for cell in cells]

    def clear_if_only(self, display_ids: set[str]) -> bool:
        """Have all outputs of the running cell go with its next one, if they are these displays; say whether."""
        publisher = self._shell.display_pub
        for texts in (sys.stdout, sys.stderr):
            texts.flush()
        with self._lock:  # which whatever else is sent has to wait for
            cell = self._cells.get(publisher.parent_header["msg_id"]) if self._open else None
            if cell is None or cell.clears or cell.outputs != display_ids:
                return False
            publisher.clear_output(wait=True)
        return True

    def _look(self, message: Any) -> None:
        with suppress(Exception):  # whatever somebody publishes, it is no matter of the cell
            if message["header"]["msg_type"] in _NOTED:
                with self._lock:
                    if self._open:
                        request = message["parent_header"]["msg_id"]
                        self._note(message["header"]["msg_type"], request, message["content"])

    def _note(self, kind: str, request: str, content: dict[str, Any]) -> None:
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
            cell.clears = True
        else:
            if cell.clears or kind == "clear_output":
                cell.clears = False
                cell.shown.clear()
                cell.outputs.clear()
            if kind != "clear_output":
                cell.outputs.add(content.get("transient", {}).get("display_id") or "")
            if kind in _SHOW:
                self._show(cell, content)

    def _begin(self, request: str, number: int) -> None:
        """Begin a cell: what it had shown before is gone, as are cells that the front end has deleted."""
        told = self._shell.get_parent().get("metadata", {})
        cell_id = told.get("cellId") or ""
        gone = {cell_id, *(told.get("deletedCells") or ())} - {""}
        self._cells = {earlier: cell for earlier, cell in self._cells.items() if cell.id not in gone}
        self._cells[request] = _Cell(cell_id, number)

    def _show(self, cell: _Cell | None, content: dict[str, Any], update: bool = False) -> None:
        """Note what is shown in a cell; what is updated, wherever it is shown, else in the cell that updates it."""
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
        """Let go what is too much, the oldest first, and cells that have ended and show no image."""
        cells = [cell for cell in self._cells.values() if cell.images]
        for cell in cells[:-MOST_CELLS]:
            cell.shown.clear()
        excess = sum(len(image) for cell in cells for image in cell.shown.values()) - MOST_BYTES
        oldest = ((cell.shown, key) for cell in cells for key in list(cell.shown))
        while excess > 0:
            shown, key = next(oldest)
            excess -= len(shown.pop(key))
        self._cells = {request: cell for request, cell in self._cells.items() if cell.running or cell.images}


_recorders: dict[InteractiveShell, OutputRecorder] = {}


def register(shell: InteractiveShell) -> None:
    """Note from now on what a kernel's cells show; a second time changes nothing. In a terminal they show no images."""
    session = getattr(getattr(shell, "kernel", None), "session", None)
    if shell not in _recorders and hasattr(session, "send"):
        _recorders[shell] = OutputRecorder(shell, session)
    if shell in _recorders:
        _recorders[shell].open()


def unregister(shell: InteractiveShell) -> None:
    """Take away what ``register`` added, and what was noted."""
    if shell in _recorders and _recorders[shell].close():
        del _recorders[shell]


def recent_images(shell: InteractiveShell) -> list[CellImages]:
    """Give the images that the last cells show, of at most ten cells and 32 MB, the newest cell first.

    One that is running is there with what it shows so far.
    """
    return _recorders[shell].recent() if shell in _recorders else []


def last_images(shell: InteractiveShell) -> tuple[bytes, ...]:
    """Give the images of the last cell that shows any, the one that is running aside; without one, none."""
    found = _recorders[shell].recent(running=False) if shell in _recorders else []
    return found[0].images if found else ()


def clear_if_only(shell: InteractiveShell, display_ids: set[str]) -> bool:
    """Have all outputs of the running cell go with its next one, if they are nothing but these; say whether."""
    with suppress(Exception):  # of a shell that is no kernel's, or of another kind
        return shell in _recorders and _recorders[shell].clear_if_only(display_ids)
    return False


def _image_of(bundle: dict[str, Any]) -> bytes:
    """Give the best image of what is shown as one thing, b"" if there is none."""
    from ..media.probe import is_truncated
    from ..media.sniff import DISPLAY_TYPES, media_type, shown_bytes

    for kind in DISPLAY_TYPES:
        data = shown_bytes(bundle.get(kind))
        found = media_type(data) or ""
        if found.startswith("image/") and len(data) <= MOST_BYTES and not is_truncated(data, found):
            return data
    return b""
