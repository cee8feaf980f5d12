"""What a page may ask of the turns: to send, stop, retry, edit, delete and clear."""

from __future__ import annotations

from typing import Any

from ....media.attachment import Attachment
from ....media.message_parts import text_of
from .. import panel_state as kept
from ..controller import PanelController
from ..items.items import RenderedItem
from .attachments import with_unique_names
from .page_request import Request


async def send(host: PanelController, request: Request) -> None:
    """Ask a question."""
    text, names = request.text("text"), _names(request)
    if any(name not in host.draft.images for name in names):
        raise ValueError("an image is no longer attached: attach it again")
    images = [host.draft.images[name] for name in names]
    _check_question(text, images)
    host.ask(text, with_unique_names(images))
    for name in names:
        host.draft.images.pop(name, None)
    host.draft.text = ""
    host.tell_settings(images=await host.attached(), draft="")


async def stop(host: PanelController, request: Request) -> None:
    """Stop every answer of the conversation."""
    await host.stop()


async def retry(host: PanelController, request: Request) -> None:
    """Ask a question again."""
    host.check_free()
    entry = host.view.find(request.fields.get("item"))
    question, instead, media = _question(entry)
    host.ask(text_of(question), media, instead)
    host.seen.drop(entry.thing.failed)


async def edit(host: PanelController, request: Request) -> None:
    """Ask something else in the place of a question."""
    host.check_free()
    entry = host.view.find(request.fields.get("item"))
    _, instead, _ = _question(entry)
    text, names = request.text("text"), _names(request)
    images = [host.draft.images.get(name) or host.gallery.attachment(name) for name in names]
    _check_question(text, images)
    host.ask(text, with_unique_names(images), instead)
    host.seen.drop(entry.thing.failed)
    for name in names:
        host.draft.images.pop(name, None)
    host.tell_settings(images=await host.attached())


async def delete(host: PanelController, request: Request) -> None:
    """Forget a question and what was said to it."""
    entry = host.view.find(request.fields.get("item"))
    if host.seen.drop(entry.thing.failed):
        host.call_soon(True)
        return
    thing = entry.thing
    if thing.turn is not None and not thing.turn.ended:
        raise ValueError("this is still being answered: stop it first")
    if (message := thing.question or thing.message) is not None:
        host.chat.delete(message)  # type: ignore[arg-type]


async def clear(host: PanelController, request: Request) -> None:
    """Forget all turns."""
    await host.stop()
    kept.failed(host.chat).clear()
    host.chat.reset()


async def text(host: PanelController, request: Request) -> dict[str, Any]:
    """Give what an item says, as it was written."""
    thing = host.view.find(request.fields.get("item")).thing
    if thing.message is not None:
        return {"text": text_of(thing.message)}
    return {"text": host.seen.content_of(thing).text}


def _names(request: Request) -> list[str]:
    names = request.fields.get("images") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("images is a list of the ids of what was attached")
    return names


def _check_question(text: str, images: list[Attachment]) -> None:
    if not text.strip() and not images:
        raise ValueError("there is nothing to ask: write something first")


def _question(entry: RenderedItem) -> tuple[dict[str, Any], dict[str, Any] | None, list[Attachment]]:
    """Give the question of an item, the message that asking it anew takes the place of, and what went along."""
    thing = entry.thing
    if thing.turn is not None:
        request = thing.turn.request
        if not thing.turn.ended:
            raise ValueError("this is still being answered: stop it first")
        return request.question, request.instead, request.media
    question = thing.question or thing.message
    if question is None or question.get("role") != "user":
        raise ValueError("there is no question before this")
    media = [one for one in question.get("media", ()) if isinstance(one, Attachment)]
    return question, question, media  # type: ignore[return-value]
