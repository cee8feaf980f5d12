"""What a page may ask of images: to attach and remove some, and to see those of the conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ....media.attachment import Attachment, unique_name
from ....media.convert import attach
from ...outputs import recent_images
from ..controller import PanelController
from ..uploads import MOST_BYTES, MOST_IMAGES
from .figures import figure, figures
from .page_request import Request


async def upload(host: PanelController, request: Request) -> dict[str, Any] | None:
    """Take a piece of an image."""
    name, piece = request.text("upload", 200), request.count("piece")
    file_name = request.text("name", 1000) or "image"
    if len(request.buffers) != 1:
        raise ValueError("a piece of an image has one buffer")
    if piece == 0 and not host.uploads.is_started(request.client, name):
        have = host.draft.images
        taken = sum(len(one.uri) * 3 // 4 for one in have.values())
        size, pieces = request.count("size"), request.count("pieces")
        host.uploads.begin(request.client, name, file_name, size, pieces, len(have), taken)
    data = host.uploads.add_chunk(request.client, name, piece, request.buffers[0])
    return None if data is None else await _attach(host, data, file_name)


async def list_figures(host: PanelController, request: Request) -> dict[str, Any]:
    """Give the images that recent cells show, the newest first."""
    return {"figures": await asyncio.to_thread(figures, recent_images(host.shell))}


async def attach_figure(host: PanelController, request: Request) -> dict[str, Any]:
    """Attach an image that a cell shows."""
    name, data = await asyncio.to_thread(figure, recent_images(host.shell), request.text("figure", 100))
    return await _attach(host, data, name)


async def remove(host: PanelController, request: Request) -> None:
    """Take back what was attached."""
    if host.draft.images.pop(request.text("image", 100), None) is not None and len(host.clients) > 1:
        host.tell_settings(images=await host.attached())


async def picture(host: PanelController, request: Request) -> dict[str, Any]:
    """Give a picture of an item, in pieces."""
    data, kind = await asyncio.to_thread(host.gallery.data, request.text("key", 200))
    return {"media_type": kind, "pieces": host.outbox.pieces(request.client, request.id, data)}


async def _attach(host: PanelController, data: bytes, name: str) -> dict[str, Any]:
    one = await asyncio.to_thread(attach, data, name)
    if not one.media_type.startswith("image/"):
        raise ValueError(f"{name[:80]} is no image by its content")
    have = host.draft.images
    if len(have) >= MOST_IMAGES or sum(len(other.uri) for other in have.values()) + len(one.uri) > MOST_BYTES * 4 // 3:
        raise ValueError(f"{MOST_IMAGES} images are the most that go along: {one.name[:80]} is left out")
    one = replace(one, name=unique_name(one.name, [other.name for other in have.values()]))
    id = host.keep_image(one)
    image = await host.image(id, one)
    if len(host.clients) > 1:
        host.tell_settings(images=await host.attached())
    return {"image": image}


def with_unique_names(images: Sequence[Attachment]) -> list[Attachment]:
    """Give images each under a name of its own."""
    found: list[Attachment] = []
    for one in images:
        found.append(replace(one, name=unique_name(one.name, [other.name for other in found])))
    return found
