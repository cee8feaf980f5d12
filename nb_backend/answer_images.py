"""The images of an answer that its server keeps: fetched while it is there, for it soon forgets them."""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable
from contextlib import suppress

from .markdown_data import MAX_IMAGE
from .media_types import BITMAPS, media_type

MAX_ANSWER = 32 * 2**20  # bytes of all images of an answer
MAX_COUNT = 64  # of them
MAX_SECONDS = 30.0  # for all of them


class OwnImages:
    """Fetches the images of one answer from the server that gave it; ``get`` refuses what is another's.

    ``get`` takes a url and how many bytes it may have at the most, ``server`` gives the url that was asked.
    """

    def __init__(self, server: Callable[[], Awaitable[str]], get: Callable[[str, int], Awaitable[bytes]]) -> None:
        self._ask = server
        self._get = get
        self._server: str | None = None
        self._bytes = MAX_ANSWER
        self._seconds = MAX_SECONDS
        self._fetched: set[str] = set()

    async def server(self) -> str:
        """Give the url that was asked, "" if there is none."""
        if self._server is None:
            self._server = ""
            with suppress(Exception):
                self._server = await self._ask()
        return self._server

    async def fetch(self, url: str) -> str | None:
        """Give an image as a data URI, once; None if it is not the server's, no bitmap, or cannot be had."""
        if url in self._fetched or len(self._fetched) >= MAX_COUNT or self._seconds <= 0 or self._bytes <= 0:
            return None
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._seconds):
                data = await self._get(url, min(MAX_IMAGE, self._bytes))
        except ValueError:  # another's
            return None
        except Exception:
            data = b""
        finally:
            self._seconds -= time.monotonic() - started
        self._fetched.add(url)
        self._bytes -= len(data)
        kind = media_type(data)
        return f"data:{kind};base64,{b64encode(data).decode()}" if kind in BITMAPS else None
