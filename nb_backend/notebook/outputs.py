"""Record what recent cells and ``ipywidgets.Output``s show, as it is sent to the front end: their images above all.

All outputs of a kernel's cells go through one method of its session, whatever thread sends them, with the request that
ran the cell as their parent. That method is wrapped here, so the recorder sees what the front end sees, and not what
``%%capture`` keeps back. (Hooks of ipykernel's display publisher see neither results, updates from other threads nor
the begin and end of cells.) The state of each ``Output`` goes the same way, and says whose outputs it takes.
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
_COMM_TYPES = ("comm_open", "comm_msg", "comm_close")
_SHOWN_TYPES = frozenset({*_DISPLAY_TYPES, "stream", "error", "clear_output"})
_RECORDED_TYPES = frozenset({*_SHOWN_TYPES, *_COMM_TYPES, "execute_input", "status"})


class CellImages(NamedTuple):
    """The images that a cell shows, in order; ``cell_id`` is "" if unknown, ``number`` is the n of ``In [n]``."""

    cell_id: str
    number: int
    images: tuple[bytes, ...]


class _Area:
    """The outputs of a cell, or of an ``ipywidgets.Output``."""

    def __init__(self) -> None:
        self.clears_on_next_output = False  # after clear_output(wait=True)
        self.clears = 0  # how often it was cleared at once
        self.display_ids: set[str] = set()  # of its outputs; "" for an output without one, and for text

    def note(self, kind: str, content: dict[str, Any]) -> bool:
        """Note a message for this area; return whether it is cleared."""
        if kind == "clear_output" and content["wait"]:
            self.clears_on_next_output = True
            return False
        cleared = self.clears_on_next_output or kind == "clear_output"
        if cleared:
            self.clears_on_next_output = False
            self.clears += kind == "clear_output"
            self.display_ids.clear()
        if kind != "clear_output":
            self.display_ids.add(content.get("transient", {}).get("display_id") or "")
        return cleared


class _Widget(_Area):
    """An ``ipywidgets.Output``, which takes the outputs of the request that its ``msg_id`` names."""

    def __init__(self, state: dict[str, Any]) -> None:
        super().__init__()
        self.request = ""
        self.update(state)

    def update(self, state: dict[str, Any]) -> None:
        """Note a new state of the widget."""
        if "msg_id" in state:
            self.request = state["msg_id"]
        if "outputs" in state:  # set by code, which replaces them
            self.display_ids = {""} if state["outputs"] else set()
            self.clears += 1


class _Cell(_Area):
    def __init__(self, id: str, number: int) -> None:
        super().__init__()
        self.id = id
        self.number = number
        self.running = True
        self.shown: dict[object, bytes] = {}  # images by display_id; b"" for an output that is not an image

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
        self._widgets: dict[str, _Widget] = {}  # by the id of the comm; the newest taker is last
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
            self._cells, self._widgets = {}, {}
        if self._session.send == self.send:
            self._session.send = self._send
        return bool(self._session.send == self._send)

    def recent(self, running: bool = True) -> list[CellImages]:
        """Return the images of the cells, newest first, with or without those of running cells."""
        with self._lock:
            cells = [cell for cell in reversed(self._cells.values()) if cell.images and (running or not cell.running)]
            return [CellImages(cell.id, cell.number, cell.images) for cell in cells]

    def clear_if_only(self, display_ids: set[str]) -> bool:
        """Clear the running cell, or the widget that takes its outputs, at the next output, if it has only these.

        Return whether it does.
        """
        publisher = self._shell.display_pub
        for texts in (sys.stdout, sys.stderr):
            texts.flush()
        with self._lock:  # so that nothing else is sent meanwhile
            area = self._area(publisher.parent_header["msg_id"]) if self._open else None
            if area is None or area.clears_on_next_output or area.display_ids != display_ids:
                return False
            publisher.clear_output(wait=True)
        return True

    def is_empty_widget(self) -> bool:
        """Whether a widget takes the outputs, and is known to have no others, or to lose them with the next one."""
        for texts in (sys.stdout, sys.stderr):
            texts.flush()
        with self._lock:
            widget = self._taker(self._shell.display_pub.parent_header["msg_id"])
            return widget is not None and (widget.clears_on_next_output or not widget.display_ids)

    def place(self) -> object:
        """Return what identifies where outputs go now; it changes when that is cleared."""
        with self._lock:
            area = self._area(self._shell.display_pub.parent_header["msg_id"])
            return None if area is None else (id(area), area.clears)

    def _area(self, request: str) -> _Area | None:
        """Return where the outputs of a request go; ``None`` if that is unknown."""
        return self._taker(request) or self._cells.get(request)

    def _taker(self, request: str) -> _Widget | None:
        return next((one for one in reversed(self._widgets.values()) if one.request == request), None)

    def _record(self, message: Any) -> None:
        with suppress(Exception):  # a strange message of other code must not fail the cell
            kind = message["header"]["msg_type"]
            if kind in _RECORDED_TYPES:
                with self._lock:
                    if self._open and kind in _COMM_TYPES:
                        self._update_widget(kind, message["content"])
                    elif self._open:
                        self._update(kind, message["parent_header"]["msg_id"], message["content"])

    def _update_widget(self, kind: str, content: dict[str, Any]) -> None:
        """Note what a message says of an ``ipywidgets.Output``; other comms are not noted."""
        comm, state = content["comm_id"], content["data"].get("state") or {}
        if kind == "comm_open":
            if "msg_id" in state and "outputs" in state:
                self._widgets[comm] = _Widget(state)
        elif kind == "comm_close":
            self._widgets.pop(comm, None)
        elif content["data"].get("method") != "update":  # an echo of what the front end has noted itself
            return
        elif comm in self._widgets or "msg_id" in state:
            # what a widget from before ``open`` shows is not known
            widget = self._widgets.get(comm) or _Widget({"outputs": ["unknown"]})
            widget.update(state)
            if state.get("msg_id"):  # several may take the outputs of one request: the last one does
                self._widgets.pop(comm, None)
            self._widgets[comm] = widget

    def _update(self, kind: str, request: str, content: dict[str, Any]) -> None:
        cell, taker = self._cells.get(request), self._taker(request)
        if kind == "execute_input":
            self._begin(request, content["execution_count"])
        elif kind == "update_display_data":
            self._show(cell, content, update=True)
        elif taker is not None and kind in _SHOWN_TYPES:
            taker.note(kind, content)
            if cell is not None and kind in _DISPLAY_TYPES:
                self._show(cell, content)
        elif cell is None:
            return
        elif kind == "status":
            if content["execution_state"] == "idle":
                cell.running = False
                self._trim()
        else:
            if cell.note(kind, content):
                cell.shown.clear()
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
    """Clear the outputs of the running cell, or of the ``ipywidgets.Output`` that takes them, at the next output.

    This is done only if there are no others than these; return whether it is.
    """
    with suppress(Exception):  # the shell may not be a kernel's
        return shell in _recorders and _recorders[shell].clear_if_only(display_ids)
    return False


def is_empty_widget(shell: InteractiveShell) -> bool:
    """Whether an ``ipywidgets.Output`` takes what is shown now, and is known to have nothing else to show."""
    with suppress(Exception):  # the shell may not be a kernel's
        return shell in _recorders and _recorders[shell].is_empty_widget()
    return False


def place(shell: InteractiveShell) -> object:
    """Return what identifies where outputs go now; it changes when that is cleared. ``None`` if it is unknown."""
    with suppress(Exception):  # the shell may not be a kernel's
        return _recorders[shell].place() if shell in _recorders else None
    return None


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
