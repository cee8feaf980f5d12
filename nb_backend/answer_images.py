"""The images of an answer: those that its server keeps are fetched while it is there, for it soon forgets them."""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress

from .markdown_data import MAX_IMAGE, is_bitmap, is_shown, live
from .media.sniff import data_uri, media_type

MAX_ANSWER = 32 * 2**20  # bytes of all images of an answer
MAX_COUNT = 64  # of them that are asked for
MAX_SECONDS = 30.0  # for all of them

_linked = re.compile(r"!\[[^\[\]]*\]\(\s*<?([^\s()<>]++)[^()]*+\)\]\(\s*<?([^\s()<>]++)")


class ImageUrl(str):
    """The address of an image in full; ``data_uri`` is the image itself, in base64, ``None`` if it is not at hand."""

    data_uri: str | None = None


class OwnImages:
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
        from .addresses import own_url

        for image in images:
            if len(self._asked) < MAX_COUNT and image not in self._asked and own_url(self._server or "", image):
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
                    data = await self._get(url, min(MAX_IMAGE, self._bytes))
        finally:
            self._seconds -= time.monotonic() - started
        self._bytes -= len(data)
        uri = data_uri(data, media_type(data) or "")
        return uri if is_bitmap(uri) else None


def answer_markdown(text: str, addresses: Mapping[str, str], alts: Mapping[str, str], most: int | None = None) -> str:
    """Give the text of an answer as Markdown that is safe to show, and behind it those of its images not seen in it.

    ``addresses`` is what ``safe_markdown`` takes, ``alts`` has the words for each image that came beside the text;
    those of more than ``most`` bytes, if it is given, are a word or a link.
    """
    return AnswerMarkdown(addresses, alts, most).last(text)


def markdown_pieces(texts: list[str], addresses: Mapping[str, str], alts: Mapping[str, str]) -> list[str]:
    """Give the same for a text in pieces, one for each."""
    written = AnswerMarkdown(addresses, alts)
    if len(texts) > 1 and any("]:" in text for text in texts):  # what a label stands for may be said further below
        from .markdown import markdown_and_images

        for text in texts:
            markdown_and_images(text, addresses, written.references)
    return [*map(written.piece, texts[:-1]), written.last(texts[-1])]


class AnswerMarkdown:
    """Writes the pieces of an answer, one after the other, behind those of ``before``.

    The other arguments are those of ``answer_markdown``. ``references`` is what the labels in the pieces stand for.
    """

    def __init__(
        self,
        addresses: Mapping[str, str],
        alts: Mapping[str, str],
        most: int | None = None,
        before: AnswerMarkdown | None = None,
    ) -> None:
        self.references: dict[str, str] = {**before.references} if before else {}
        self._seen: set[str] = {*before._seen} if before else set()
        self._addresses = {
            address: target for address, target in addresses.items() if most is None or is_shown(target, most)
        }
        self._alts = alts
        self._most = most

    def piece(self, text: str) -> str:
        """Give a piece that another one follows."""
        from .markdown import markdown_and_images

        if self._most is not None:
            text = live(text, self._most)
        shown, inside = markdown_and_images(text, self._addresses, self.references)
        self._seen |= {self._in_full(address) for address in inside}
        if self._alts:  # what a picture of the text is a link to, is that picture: as g4f writes them
            links = _linked.finditer(text)
            self._seen |= {self._in_full(link[2]) for link in links if self._in_full(link[1]) in self._seen}
        for address in inside:  # it may be long: the next time it is a link
            for one in (address, self._addresses.get(address, "")):
                if is_bitmap(self._addresses.get(one, "")):
                    del self._addresses[one]
        return shown

    def last(self, text: str) -> str:
        """Give the last piece, and behind it the images that came beside the text and were not seen in any."""
        addresses = {**self._addresses}
        shown = self.piece(text)
        beside = {self._in_full(url): f"![{_words(alt) or 'image'}](<{url}>)" for url, alt in self._alts.items()}
        pictures = "\n\n".join(picture for url, picture in beside.items() if url not in self._seen)
        if not pictures:
            return shown
        from .markdown import safe_markdown

        if self._most is not None:
            pictures = live(pictures, self._most)
        return "\n\n".join(part for part in (shown, safe_markdown(pictures, addresses)) if part)

    def _in_full(self, address: str) -> str:
        target = self._addresses.get(address, address)
        return address if target.startswith("data:") else target


def _words(text: str) -> str:
    """Give the words of a text, as the text of an image."""
    return " ".join(re.sub(r"[\[\]\\`<>&$]", " ", text).split())
