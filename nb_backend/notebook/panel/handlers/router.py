"""Route a page's requests to their handlers."""

from __future__ import annotations

from typing import Any

from ..controller import PanelController
from ..error_text import reply_line
from . import attachments as attaching
from . import turns as asking
from .chats import Answering, draft, export, list_models, new, switch, tune
from .page_request import Request

_AFTER_THE_END = ("hello", "text", "picture", "transcript", "finish")  # what a finished panel still does


async def answer(host: PanelController, message: object, buffers: list[bytes]) -> None:
    """Do what a page asks and reply, whatever happens; a message without an id or a page is nobody's request."""
    if not isinstance(message, dict):
        return
    client, id = message.get("client"), message.get("id")
    if not isinstance(client, str) or not isinstance(id, str):
        return
    try:
        ask = REQUESTS.get(str(message.get("type")))
        if ask is None:
            raise ValueError(f"this kernel knows no request {str(message.get('type'))[:40]!r}: run the cell again")
        if host.closed or (host.lasting.finished and message["type"] not in _AFTER_THE_END):
            raise ValueError("this panel is finished: run its cell again")
        fields = await ask(host, Request(client, id, message, buffers)) or {}
    except Exception as error:
        host.outbox.reply(client, id, ok=False, error=reply_line(error, host.seen.keys))
    else:
        host.outbox.reply(client, id, ok=True, **fields)


async def hello(host: PanelController, request: Request) -> None:
    """Give the whole state to a page."""
    await host.send_full_state(request.client)


async def transcript(host: PanelController, request: Request) -> dict[str, Any]:
    """Give the transcript as it stands in the notebook, in pieces of UTF-8, to a page that has to write it there."""
    data = host.lasting.markdown.encode("utf-8", "replace")
    pieces = host.outbox.pieces(request.client, request.id, data)
    return {"version": host.lasting.version, "finished": host.lasting.finished, "pieces": pieces}


async def finish(host: PanelController, request: Request) -> None:
    """Let the transcript take the panel's place."""
    await host.finish()


REQUESTS: dict[str, Answering] = {
    "hello": hello,
    "send": asking.send,
    "stop": asking.stop,
    "retry": asking.retry,
    "edit": asking.edit,
    "delete": asking.delete,
    "clear": asking.clear,
    "text": asking.text,
    "export": export,
    "new": new,
    "switch": switch,
    "models": list_models,
    "set": tune,
    "upload": attaching.upload,
    "figures": attaching.list_figures,
    "attach": attaching.attach_figure,
    "remove": attaching.remove,
    "picture": attaching.picture,
    "transcript": transcript,
    "draft": draft,
    "finish": finish,
}
