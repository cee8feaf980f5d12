"""Requests about images: upload, attach and remove them, and show those of the chat."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from ....media.attachment import unique_name
from ....media.convert import attach
from ...outputs import recent_images
from ..controller import PanelController
from ..uploads import MAX_IMAGES, MAX_TOTAL_BYTES
from .figures import describe_figures, find_figure
from .page_request import Request


async def upload(panel: PanelController, request: Request) -> dict[str, Any] | None:
    """Add a chunk of an upload; attach the image after the last one."""
    name, number = request.text("upload", 200), request.count("piece")
    file_name = request.text("name", 1000) or "image"
    if len(request.buffers) != 1:
        raise ValueError("a chunk of an image must have exactly one buffer")
    if number == 0 and not panel.uploads.is_started(request.client, name):
        images = panel.draft.images
        attached_bytes = sum(len(one.uri) * 3 // 4 for one in images.values())
        size, chunks = request.count("size"), request.count("pieces")
        panel.uploads.begin(request.client, name, file_name, size, chunks, len(images), attached_bytes)
    data = panel.uploads.add_chunk(request.client, name, number, request.buffers[0])
    return None if data is None else await _attach(panel, data, file_name)


async def list_figures(panel: PanelController, request: Request) -> dict[str, Any]:
    """Return the images that recent cells show, the newest first."""
    return {"figures": await asyncio.to_thread(describe_figures, recent_images(panel.shell))}


async def attach_figure(panel: PanelController, request: Request) -> dict[str, Any]:
    """Attach an image that a cell shows."""
    key = request.text("figure", 100)
    name, data = await asyncio.to_thread(find_figure, recent_images(panel.shell), key)
    return await _attach(panel, data, name)


async def remove(panel: PanelController, request: Request) -> None:
    """Remove an image from the draft."""
    if panel.draft.images.pop(request.text("image", 100), None) is not None:
        await _tell_other_pages(panel)


async def picture(panel: PanelController, request: Request) -> dict[str, Any]:
    """Send an image of an item, in chunks."""
    data, media_type = await asyncio.to_thread(panel.pages.images.data, request.text("key", 200))
    return {"media_type": media_type, "pieces": panel.pages.outbox.pieces(request.client, request.id, data)}


async def _attach(panel: PanelController, data: bytes, name: str) -> dict[str, Any]:
    image = await asyncio.to_thread(attach, data, name)
    if not image.media_type.startswith("image/"):
        raise ValueError(f"{name[:80]} does not contain an image")
    others = panel.draft.images.values()
    total = sum(len(one.uri) for one in others) + len(image.uri)  # characters of base64
    if len(others) >= MAX_IMAGES or total > MAX_TOTAL_BYTES * 4 // 3:
        raise ValueError(
            f"{image.name[:80]} is not attached: at most {MAX_IMAGES} images of "
            f"{MAX_TOTAL_BYTES >> 20} MB can be sent together"
        )
    image = replace(image, name=unique_name(image.name, [one.name for one in others]))
    id = panel.add_image(image)
    reply = {"image": await panel.attached_image(id, image)}
    await _tell_other_pages(panel)
    return reply


async def _tell_other_pages(panel: PanelController) -> None:
    if len(panel.pages.clients) > 1:
        panel.pages.send_settings(images=await panel.attached())
