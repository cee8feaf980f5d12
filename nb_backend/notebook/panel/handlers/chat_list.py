"""Requests about the list of chats: find, switch, new, rename, delete, and take back the deletion."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

from .... import redaction
from ....chat.chat import MAX_TITLE, Chat
from ....chat.messages import describe_length, time_of
from ....chat.named_chats import chats
from ....media.message_parts import text_of
from ....text import safe_terminal
from ..controller import PanelController
from ..watcher import own_key, own_keys
from .page_request import Request

_MAX_QUERY = 200  # characters
_MAX_LISTED = 200  # chats in one reply
_CONTEXT = 24, 60  # characters that are shown before and after the place where a text was found


async def find(panel: PanelController, request: Request) -> dict[str, Any]:
    """Return the chats whose title, name, questions or answers contain a text, the last used first.

    Each has ``found``: the text before the first match, the match, and the text after it; None for the title.
    """
    query = [re.escape(word) for word in request.text("query", _MAX_QUERY).split()]
    pattern = re.compile(r"\s+".join(query), re.IGNORECASE) if query else None
    keys = panel.watcher.keys
    listed = [(name, chat, _masking([*keys, *own_keys(chat)])) for name, chat in panel.watcher.listed().items()]
    found = await asyncio.to_thread(lambda: [entry for one in listed if (entry := _entry(*one, pattern))])
    found.sort(key=lambda entry: entry["time"] or float("inf"), reverse=True)
    return {"chats": found[:_MAX_LISTED], "more": max(0, len(found) - _MAX_LISTED)}


async def new(panel: PanelController, request: Request) -> dict[str, Any]:
    """Create a chat with the settings of this one and show it."""
    chat, name = panel.chat, _free_name()
    key = own_key(chat)
    chats[name] = Chat(
        chat.model,
        url=chat.url,
        api_key=key,
        provider=chat.provider,
        system=chat.system,
        connect_timeout=chat.connect_timeout,
        idle_timeout=chat.idle_timeout,
        **chat.params,
    )
    return await show_chat(panel, name)


async def switch(panel: PanelController, request: Request) -> dict[str, Any]:
    """Show another chat."""
    return await show_chat(panel, request.text("chat", 64))


async def rename(panel: PanelController, request: Request) -> None:
    """Set the title of a chat; an empty one means the first question. Its name in ``chats`` stays."""
    panel.watcher.named(request.text("chat", 64)).title = request.text("title", MAX_TITLE)
    panel.request_update(True)  # the notebook holds the titles


async def delete(panel: PanelController, request: Request) -> dict[str, Any]:
    """Remove a chat from ``chats``; if it is shown, show the last used one of the others."""
    name = request.text("chat", 64)
    chat = panel.watcher.named(name)
    if chats.get(name) is not chat:
        raise ValueError(f"{name!r} is not in chats, so there is nothing to delete")
    shown = name == panel.watcher.name
    if shown:
        await panel.stop()
        others = [other for other in chats if other != name]
        if others:
            await show_chat(panel, max(others, key=lambda other: _time(chats[other]) or 0.0))
    panel.deleted = name, chat
    del chats[name]
    if shown and panel.watcher.name == name != "main":
        chats["main"]  # is created
        await show_chat(panel, "main")
    panel.request_update(True)  # the notebook holds the chats that were shown
    return {"chat": name}


async def undelete(panel: PanelController, request: Request) -> dict[str, Any]:
    """Put the chat that was deleted last back into ``chats`` and show it, under its name if that is still free."""
    if panel.deleted is None:
        raise ValueError("no chat was deleted in this panel")
    (name, chat), panel.deleted = panel.deleted, None
    if name in chats and chats[name].messages:
        name = _free_name()
    chats[name] = chat
    return await show_chat(panel, name)


async def show_chat(panel: PanelController, name: str) -> dict[str, Any]:
    """Show another chat with its draft."""
    panel.switch(name)
    panel.pages.send_settings(images=await panel.attached(), draft=panel.draft.text)
    return {"chat": name}


def _free_name() -> str:
    return next(name for number in range(2, 10_000) if (name := f"chat {number}") not in chats)


def _masking(keys: list[str]) -> Callable[[str], str]:
    return lambda text: safe_terminal(redaction.mask(text, keys))


def _time(chat: Chat) -> float | None:
    """Return when the last message was written, as a Unix time; None if it is not known."""
    return time_of(messages[-1]) if (messages := [*chat.messages]) else None


def _entry(name: str, chat: Chat, mask: Callable[[str], str], pattern: re.Pattern[str] | None) -> dict[str, Any] | None:
    """Return a chat as the page lists it; None if it does not contain what is looked for."""
    messages = [*chat.messages]
    time, title = _time(chat), mask(chat.title) or name
    entry = {
        "name": name,
        "title": title,
        "length": describe_length(messages),
        "time": time and int(time * 1000),
        "found": None,
    }
    if pattern is None or pattern.search(title) or pattern.search(name):
        return entry
    for message in messages:
        if message.get("role") in ("user", "assistant") and pattern.search(text := text_of(message)):
            text = mask(text)
            if match := pattern.search(text):
                return {**entry, "found": _excerpt(text, *match.span())}
    return None


def _excerpt(text: str, start: int, end: int) -> list[str]:
    """Return a part of a text in three pieces, each in one line: before, from ``start`` to ``end``, and after."""
    before, after = _CONTEXT
    first, last = max(0, start - before), end + after
    pieces = [text[first:start], text[start:end], text[end:last]]
    pieces = [re.sub(r"\s+", " ", piece) for piece in pieces]
    return [("…" if first else "") + pieces[0], pieces[1], pieces[2] + ("…" if last < len(text) else "")]
