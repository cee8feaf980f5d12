"""What a page may ask of the kernel: one function for each type of request, which gives the fields of its reply."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from typing import Any

from .... import settings
from ....chat.chat import Chat
from ....chat.named_chats import chats
from ....media.attachment import unique_name
from ....providers import catalog as models
from ....providers.registry import provider_for
from .. import chat_settings as tuning
from ..controller import PanelController
from ..watcher import UNNAMED, own_key
from .page_request import Request

Answering = Callable[[PanelController, Request], Awaitable[dict[str, Any] | None]]


async def export(host: PanelController, request: Request) -> dict[str, Any]:
    """Write the conversation to a file beside the notebook, a new one."""
    format = request.text("format", 10)
    if format not in ("md", "ipynb"):
        raise ValueError("a conversation is exported as md or ipynb")
    stem = re.sub(r"[^\w. -]+", "", host.seen.name if host.seen.name != UNNAMED else "chat").strip(". ") or "chat"
    return {"path": await asyncio.to_thread(_export, host.chat, f"{stem}.{format}")}


async def new(host: PanelController, request: Request) -> dict[str, Any]:
    """Begin a conversation that is asked as this one is."""
    chat, numbers = host.chat, range(2, 10_000)
    name = next(name for number in numbers if (name := f"chat {number}") not in chats)
    key = own_key(chat)
    chats[name] = Chat(chat.model, url=chat.url, api_key=key, provider=chat.provider, system=chat.system, **chat.params)
    return await _switch(host, name)


async def switch(host: PanelController, request: Request) -> dict[str, Any]:
    """Show another conversation."""
    return await _switch(host, request.text("chat", 64))


async def _switch(host: PanelController, name: str) -> dict[str, Any]:
    host.switch(name)
    host.tell_settings(images=await host.attached(), draft=host.draft.text)
    return {"chat": name}


async def list_models(host: PanelController, request: Request) -> dict[str, Any]:
    """Give the models of the server, remembered until they are asked for anew."""
    url = settings.url(host.chat.url)
    place = (url, host.chat.provider)
    if host.models is None or host.models[0] != place or request.fields.get("refresh"):
        if host.chat.url is None:
            found = await models.available_models()
        else:
            key = own_key(host.chat)
            found = await provider_for(url).get_models(host.chat.provider, api_key=key)
        hide = host.seen.hide
        host.models = (
            place,
            [
                {"name": hide(str(one)), "provider": hide(one.provider), "label": hide(one.label), "vision": one.vision}
                for one in found
            ],
        )
    return {"models": host.models[1]}


async def tune(host: PanelController, request: Request) -> None:
    """Set how the conversation is asked."""
    enter_sends = request.fields.get("enter_sends", host.enter_sends)
    if not isinstance(enter_sends, bool):
        raise ValueError("enter_sends is true or false")
    tuning.apply_settings(host.chat, request.fields)
    host.enter_sends = enter_sends
    host.notify_settings_changed()


async def draft(host: PanelController, request: Request) -> None:
    """Keep what a person is writing."""
    host.draft.text = request.text("text")


def _export(chat: Chat, name: str) -> str:
    while True:
        name = unique_name(name, os.listdir())
        try:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL, 0o600))  # so that nobody else takes the name meanwhile
            break
        except FileExistsError:
            continue
    try:
        chat.export(name)
    except BaseException:
        os.unlink(name)
        raise
    return name
