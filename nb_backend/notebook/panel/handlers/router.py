"""Find the handler of a page's request, call it, and send the reply."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from ...prompt.interpolate import PromptError
from ..controller import PanelController
from ..error_text import reply_line
from . import attachments, chat_list, tools, turns
from .chats import Handler, draft, export, list_models, set_key, set_settings
from .page_request import Request
from .restore import restore_transcript

_ALLOWED_WHEN_FINISHED = ("hello", "text", "picture", "transcript", "record", "restore", "finish")


async def answer(panel: PanelController, message: object, buffers: list[bytes]) -> None:
    """Handle a message of a page and reply, whatever happens. A message without page or id is ignored."""
    if not isinstance(message, dict):
        return
    client, id = message.get("client"), message.get("id")
    if not isinstance(client, str) or not isinstance(id, str):
        return
    outbox = panel.pages.outbox
    try:
        handler = REQUESTS.get(str(message.get("type")))
        if handler is None:
            type = str(message.get("type"))[:40]
            raise ValueError(f"this kernel does not know the request {type!r}: run the cell again")
        if panel.closed or (panel.transcript.finished and message["type"] not in _ALLOWED_WHEN_FINISHED):
            raise ValueError("this panel is finished: run its cell again")
        fields = await handler(panel, Request(client, id, message, buffers)) or {}
    except Exception as error:
        as_typed = isinstance(error, PromptError)  # then the page offers to send the braces as typed
        outbox.reply(client, id, ok=False, error=reply_line(error, panel.watcher.keys), as_typed=as_typed)
    else:
        outbox.reply(client, id, ok=True, **fields)


async def hello(panel: PanelController, request: Request) -> None:
    """Send the whole state to a new page, which says whether it reaches the notebook."""
    if request.fields.get("notebook") is True:
        panel.transcript.page_has_notebook = True
    await panel.send_full_state(request.client)


async def transcript(panel: PanelController, request: Request) -> dict[str, Any]:
    """Send the transcript, in chunks of UTF-8, to a page that must write it into the notebook."""
    data = panel.transcript.markdown.encode("utf-8", "replace")
    pieces = panel.pages.outbox.pieces(request.client, request.id, data)
    return {"version": panel.transcript.version, "finished": panel.transcript.finished, "pieces": pieces}


async def record(panel: PanelController, request: Request) -> dict[str, Any]:
    """Send the record of the chats, in chunks of JSON, to a page that must write it into the notebook."""
    await asyncio.to_thread(panel.transcript.render)
    version, found = panel.transcript.record_version, panel.transcript.record
    data = await asyncio.to_thread(orjson.dumps, found)
    return {"version": version, "pieces": panel.pages.outbox.pieces(request.client, request.id, data)}


async def finish(panel: PanelController, request: Request) -> None:
    """Replace the panel by its transcript."""
    await panel.finish()


REQUESTS: dict[str, Handler] = {
    "hello": hello,
    "send": turns.send,
    "queue": turns.queue,
    "unqueue": turns.unqueue,
    "resume": turns.resume,
    "stop": turns.stop,
    "retry": turns.retry,
    "edit": turns.edit,
    "continue": turns.continue_answer,
    "delete": turns.delete,
    "clear": turns.clear,
    "undo": turns.undo,
    "version": turns.version,
    "text": turns.text,
    "export": export,
    "chats": chat_list.find,
    "new": chat_list.new,
    "switch": chat_list.switch,
    "rename": chat_list.rename,
    "delete_chat": chat_list.delete,
    "undelete_chat": chat_list.undelete,
    "models": list_models,
    "set": set_settings,
    "key": set_key,
    "tools": tools.list_tools,
    "tool": tools.switch,
    "consent": tools.consent,
    "upload": attachments.upload,
    "figures": attachments.list_figures,
    "attach": attachments.attach_figure,
    "remove": attachments.remove,
    "picture": attachments.picture,
    "transcript": transcript,
    "record": record,
    "restore": restore_transcript,
    "draft": draft,
    "finish": finish,
}
