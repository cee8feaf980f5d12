"""The request ``restore``: a page has found the records of earlier panels in the notebook, or nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from weakref import WeakKeyDictionary

from ...notebook_file import notebook_path, panel_records, read_notebook
from ..controller import PanelController
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
    """
    expected, chunks = request.count("pieces"), _chunks.setdefault(panel, {})
    received = chunks.setdefault(request.client, [])
    received += [data for data in request.buffers if len(data) <= CHUNK_SIZE]
    if len(received) < expected <= _MAX_CHUNKS:
        return {}
    del chunks[request.client]
    records: object = await asyncio.to_thread(_parsed, b"".join(received)) if expected else []
    is_found = bool(records)
    if not records and not panel.is_restored:
        records, is_found = await asyncio.to_thread(_from_file, panel)
    panel.is_restored = True
    restored = Restored()
    for record in await asyncio.to_thread(_read, records):
        panel.watcher.note_shown(record.restore(panel.watcher.unnamed, restored))
        if restored.turns and record.opened == panel.watcher.name and record.shown in panel.watcher.listed():
            await show_chat(panel, record.shown)
    if restored.turns:
        panel.notify_settings_changed()
    is_unread = not (is_found or panel.transcript.page_has_notebook or panel.chat.messages)
    return {"turns": restored.turns, "time": int(restored.time * 1000), "lost": restored.lost, "unread": is_unread}


def _parsed(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError(DAMAGED) from None


def _from_file(panel: PanelController) -> tuple[object, bool]:
    """Return the records in the notebook's file, and whether there is such a file."""
    path = notebook_path(panel.shell)
    if path is None:
        return [], False
    try:
        return [*panel_records(read_notebook(path), panel.watcher.name)], True
    except (OSError, ValueError):
        return [], False


def _read(records: object) -> list[Record]:
    if not isinstance(records, list):
        raise ValueError(DAMAGED)
    return [*map(Record.read, records)]
