"""Fetch the images of an answer."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from ..markdown.data_uris import MAX_IMAGE_BYTES, is_bitmap
from ..media.sniff import data_uri, media_type

MAX_ANSWER = 32 * 2**20  # bytes of all images of an answer
MAX_COUNT = 64  # of them that are asked for
MAX_SECONDS = 30.0  # for all of them


class ImageUrl(str):
    """The address of an image in full; ``data_uri`` is the image itself, in base64, ``None`` if it is not at hand."""

    data_uri: str | None = None


class ImageFetcher:
    """Fetches the images of one answer from the server that gave it, one after the other.

    ``server`` gives the url that was asked, ``get`` takes a url and how many bytes it may have at the most.
    """

    def __init__(self, server: Callable[[], Awaitable[str]], get: Callable[[str, int], Awaitable[bytes]]) -> None:
        self._ask = server
        self._get = get
        self._server: str | None = None
        self._bytes = MAX_ANSWER
        self._seconds = MAX_SECONDS
        self._asked: set[str] = set()
        self._waiting: deque[ImageUrl] = deque()
        self._task: asyncio.Task[None] | None = None

    async def server(self) -> str:
        """Give the url that was asked, "" if there is none."""
        if self._server is None:
            self._server = ""
            with suppress(Exception):
                self._server = await self._ask()
        return self._server

    def fetch(self, images: Iterable[ImageUrl]) -> None:
        """Begin to fetch those that are the server's, each once: they get their ``data_uri`` as they come."""
        from ..transport.routing import same_origin_url

        for image in images:
            if len(self._asked) < MAX_COUNT and image not in self._asked and same_origin_url(self._server or "", image):
                self._asked.add(image)
                self._waiting.append(image)
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._fetch_waiting())

    async def wait(self) -> None:
        """Wait until nothing is fetched any more."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def cancel(self) -> None:
        """Fetch no more, from any thread."""
        self._waiting.clear()
        if self._task is not None and not self._task.done():
            with suppress(RuntimeError):  # its loop is closed
                self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    async def _fetch_waiting(self) -> None:
        while self._waiting and self._seconds > 0 and self._bytes > 0:
            image = self._waiting.popleft()
            image.data_uri = await self._data_uri(image)

    async def _data_uri(self, url: str) -> str | None:
        """Give an image; None if it is no bitmap, too large, or cannot be had."""
        started, data = time.monotonic(), b""
        try:
            with suppress(Exception):
                async with asyncio.timeout(self._seconds):
                    data = await self._get(url, min(MAX_IMAGE_BYTES, self._bytes))
        finally:
            self._seconds -= time.monotonic() - started
        self._bytes -= len(data)
        uri = data_uri(data, media_type(data) or "")
        return uri if is_bitmap(uri) else None
