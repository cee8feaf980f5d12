"""Requests about the chat that is shown: export, models, settings, draft."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from .... import settings
from ....chat.chat import Chat
from ....errors import BackendError
from ....media.attachment import unique_name
from ....providers import catalog
from ....providers.model import Model
from ....providers.registry import resolve
from ....services import Service
from ....text import safe_terminal, truncate
from ..chat_settings import apply_settings, is_model_name, server_name
from ..controller import PanelController
from ..items.content import Mask
from ..watcher import UNNAMED, own_key
from .page_request import Request

Handler = Callable[[PanelController, Request], Awaitable[dict[str, Any] | None]]
"""Handles one type of request and returns the fields of the reply. Its exception becomes the reply's error."""
_MAX_LABEL = 120  # characters of what a server calls a model


async def export(panel: PanelController, request: Request) -> dict[str, Any]:
    """Write the chat to a new file in the current directory."""
    format = request.text("format", 10)
    if format not in ("md", "ipynb"):
        raise ValueError("the format of an export must be md or ipynb")
    name = panel.watcher.name
    stem = re.sub(r"[^\w. -]+", "", name if name != UNNAMED else "chat").strip(". ") or "chat"
    return {"path": await asyncio.to_thread(_export, panel.chat, f"{stem}.{format}")}


async def list_models(panel: PanelController, request: Request) -> dict[str, Any]:
    """Return the models of the chat's server, those of the services with a key, and why a list is missing.

    The lists are kept until the page asks to refresh them.
    """
    chat, mask = panel.chat, panel.watcher.mask
    server = settings.url(chat.url), chat.provider
    if panel.models is None or panel.models[0] != server or request.fields.get("refresh"):
        own, (of_services, failures) = await asyncio.gather(_own_models(chat), _models_of_services(chat))
        if isinstance(own, BackendError):
            if not of_services:
                raise own
            failures, own = [f"{server_name(chat)}: {own}", *failures], []
        listed = model_choices([*((None, one) for one in own), *of_services], mask)
        panel.models = server, {"models": listed, "notes": [mask(one) for one in failures]}
    return panel.models[1]


def model_choices(models: Iterable[tuple[Service | None, Model]], mask: Mask) -> list[dict[str, Any]]:
    """Return models as a page lists them, without those whose names cannot be chosen; no service: the chat's server."""
    return [
        {
            "name": name,
            "provider": _in_list(mask(one.provider)) if service is None else "",
            "label": _in_list(mask(one.label)),
            "vision": one.vision,
            "service": service.title if service else "",
        }
        for service, one in models
        if is_model_name(name := mask(f"{service.name}:{one}" if service else str(one)))
    ]


def _in_list(text: str) -> str:
    """Return what a server calls a model or its owner, in one short line without invisible characters."""
    return truncate(" ".join(safe_terminal(text).split()), _MAX_LABEL)


async def _own_models(chat: Chat) -> list[Model] | BackendError:
    """Return the models of the chat's own server, none if it does not list them, or why they cannot be had."""
    try:
        if chat.url is None:
            return await catalog.available_models()
        return await resolve("", chat.url, chat.api)[0].get_models(chat.provider, api_key=own_key(chat))
    except BackendError as error:
        return [] if catalog.does_not_list(error) else error


async def _models_of_services(chat: Chat) -> tuple[list[tuple[Service, Model]], list[str]]:
    """Return the models of the services at hand; none if the chat has a url, at which it asks for every model."""
    if chat.url is not None and settings.service(chat.url) is None:
        return [], []
    return await catalog.models_of_services(settings.url(chat.url))


async def set_settings(panel: PanelController, request: Request) -> None:
    """Change the settings of the chat, and whether Enter sends."""
    enter_sends = request.fields.get("enter_sends", panel.enter_sends)
    if not isinstance(enter_sends, bool):
        raise ValueError("enter_sends must be true or false")
    apply_settings(panel.chat, request.fields)
    panel.enter_sends = enter_sends
    panel.notify_settings_changed()


async def set_key(panel: PanelController, request: Request) -> None:
    """Use a key for the chat's server. The page sends it once, and nothing shows or stores it."""
    key = settings.Secret(request.text("key", 10_000).strip())
    request.fields["key"] = ""
    if not key.value:
        raise ValueError("the key is empty: enter the one that the server accepts")
    panel.set_key(key)


async def draft(panel: PanelController, request: Request) -> None:
    """Store the text that the user is writing."""
    panel.draft.text = request.text("text")


def _export(chat: Chat, name: str) -> str:
    while True:
        name = unique_name(name, os.listdir())
        try:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL, 0o600))  # reserves the name until the file is written
            break
        except FileExistsError:
            continue
    try:
        chat.export(name)
    except BaseException:
        os.unlink(name)
        raise
    return name
