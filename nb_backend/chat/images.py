"""Fetching the images of an answer from the server that gave it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from ..markdown.data_uris import MAX_IMAGE_BYTES, is_bitmap
from ..media.sniff import data_uri, media_type

MAX_TOTAL_BYTES = 32 * 2**20  # of all images of one answer
MAX_FETCHES = 64  # images of one answer that are fetched
MAX_SECONDS = 30.0  # for all images of one answer


class ImageUrl(str):
    """Full address of an image. ``data_uri`` is the image itself in base64, or ``None`` if it was not fetched."""

    data_uri: str | None = None


class ImageFetcher:
    """Fetches the images of one answer from the server that gave it, one after the other.

    ``server`` returns the base url of the server; ``get`` takes the url of an image and the most bytes it may have.
    """

    def __init__(self, server: Callable[[], Awaitable[str]], get: Callable[[str, int], Awaitable[bytes]]) -> None:
        self._find_server = server
        self._get = get
        self._server: str | None = None
        self._bytes_left = MAX_TOTAL_BYTES
        self._seconds_left = MAX_SECONDS
        self._requested: set[str] = set()
        self._waiting: deque[ImageUrl] = deque()
        self._task: asyncio.Task[None] | None = None

    async def server(self) -> str:
        """Return the base url of the server, ``""`` if there is none."""
        if self._server is None:
            self._server = ""
            with suppress(Exception):
                self._server = await self._find_server()
        return self._server

    def fetch(self, images: Iterable[ImageUrl]) -> None:
        """Start fetching the images that are on the server, each once. Their ``data_uri`` is set as they arrive."""
        from ..transport.routing import same_origin_url

        for image in images:
            is_new = image not in self._requested and len(self._requested) < MAX_FETCHES
            if is_new and same_origin_url(self._server or "", image):
                self._requested.add(image)
                self._waiting.append(image)
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._fetch_waiting())

    async def wait(self) -> None:
        """Wait until all images have arrived or failed."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def cancel(self) -> None:
        """Stop fetching, from any thread."""
        self._waiting.clear()
        if self._task is not None and not self._task.done():
            with suppress(RuntimeError):  # its loop is closed
                self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    async def _fetch_waiting(self) -> None:
        while self._waiting and self._seconds_left > 0 and self._bytes_left > 0:
            image = self._waiting.popleft()
            image.data_uri = await self._data_uri(image)

    async def _data_uri(self, url: str) -> str | None:
        """Return an image as a data URI; ``None`` if it is not a bitmap, too large or cannot be fetched."""
        started, data = time.monotonic(), b""
        try:
            with suppress(Exception):
                async with asyncio.timeout(self._seconds_left):
                    data = await self._get(url, min(MAX_IMAGE_BYTES, self._bytes_left))
        finally:
            self._seconds_left -= time.monotonic() - started
        self._bytes_left -= len(data)
        uri = data_uri(data, media_type(data) or "")
        return uri if is_bitmap(uri) else None
