"""The request ``restore``: a page has found the records of earlier panels in the notebook, or nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from weakref import WeakKeyDictionary

from ...notebook_file import notebook_path, panel_records, panel_transcript, read_notebook
from ..controller import PanelController, cells_of
from ..earlier import safe_transcript
from ..outbox import CHUNK_SIZE
from ..record import DAMAGED, Record, Restored
from .chat_list import show_chat
from .page_request import Request

_MAX_CHUNKS = 64
_chunks: WeakKeyDictionary[PanelController, dict[str, list[bytes]]] = WeakKeyDictionary()  # by page


async def restore_transcript(panel: PanelController, request: Request) -> dict[str, Any]:
    """Put the records, which arrive in chunks of JSON, into the chats, and return what came back from them.

    If the page has found none, they are read from the notebook's file. ``unread`` in the reply is true if the page does
    not reach the notebook, and there is no file. A record that is damaged, or of a newer version, is refused.

    A transcript that the panel's cell had in the file, and that no record continues, is shown again. ``earlier`` in the
    reply says so. ``own`` in the request is whether a record is that of the panel's cell.
    """
    expected, chunks = request.count("pieces"), _chunks.setdefault(panel, {})
    received = chunks.setdefault(request.client, [])
    received += [data for data in request.buffers if len(data) <= CHUNK_SIZE]
    if len(received) < expected <= _MAX_CHUNKS:
        return {}
    del chunks[request.client]
    is_first, panel.is_restored = not panel.is_restored, True
    is_own = request.fields.get("own") is True
    cells = await asyncio.to_thread(_cells_in_file, panel) if is_first and not is_own else None
    try:
        records: object = await asyncio.to_thread(_parsed, b"".join(received)) if expected else []
        is_found = bool(records) or cells is not None
        if not records and cells is not None:
            records = [*panel_records(cells, panel.watcher.name)]
        read = await asyncio.to_thread(_read, records)
    except ValueError as error:
        if await _show_earlier(panel, await asyncio.to_thread(_cells_in_file, panel), unread=True):
            raise ValueError(f"{error}; it is kept below") from None
        raise
    restored = Restored()
    for record in read:
        panel.watcher.note_shown(record.restore(panel.watcher.unnamed, restored))
        panel.transcript.earlier = record.earlier or panel.transcript.earlier
        if restored.turns and record.opened == panel.watcher.name and record.shown in panel.watcher.listed():
            await show_chat(panel, record.shown)
    if restored.turns:
        panel.notify_settings_changed()
    is_earlier = await _show_earlier(panel, cells)
    is_unread = not (is_found or panel.transcript.page_has_notebook or panel.chat.messages)
    if panel.transcript.earlier:
        panel.request_update(True)
    counts = {"turns": restored.turns, "time": int(restored.time * 1000), "lost": restored.lost}
    return {**counts, "unread": is_unread, "earlier": is_earlier}


def _parsed(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError(DAMAGED) from None


def _cells_in_file(panel: PanelController) -> list[dict[str, Any]] | None:
    """Return the cells of the notebook's file, or None if there is no such file."""
    path = notebook_path(panel.shell)
    try:
        return None if path is None else read_notebook(path)
    except (OSError, ValueError):
        return None


async def _show_earlier(panel: PanelController, cells: list[dict[str, Any]] | None, *, unread: bool = False) -> bool:
    """Show the transcript in the file that no record continues; return whether there is one."""
    found = panel_transcript(cells or [], cells_of(panel), unread=unread)
    if not found or panel.transcript.earlier:
        return False
    panel.transcript.earlier = await asyncio.to_thread(lambda: safe_transcript(panel.watcher.mask(found)))
    panel.request_update(True)
    return bool(panel.transcript.earlier)


def _read(records: object) -> list[Record]:
    if not isinstance(records, list):
        raise ValueError(DAMAGED)
    return [*map(Record.read, records)]
