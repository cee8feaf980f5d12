"""Write an answer's Markdown together with its images, those in the text and those beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .data_uris import is_at_most, is_bitmap, shorten_images
from .links import full_address

_linked_image = re.compile(r"!\[[^\[\]]*\]\(\s*<?([^\s()<>]++)[^()]*+\)\]\(\s*<?([^\s()<>]++)")


def answer_markdown(
    text: str,
    addresses: Mapping[str, str],
    alts: Mapping[str, str],
    max_image_bytes: int | None = None,
    *,
    growing: bool = False,
) -> str:
    """Return an answer's text as safe Markdown, followed by the images that came beside the text.

    ``addresses`` is that of ``safe_markdown``. ``alts`` has the alternative text of each image that came beside the
    text, by address; an image that the text shows already is left out. Images of more than ``max_image_bytes`` are
    written as a word or a link. ``growing``: a formula at the end that is still open is held back.
    """
    return AnswerMarkdown(addresses, alts, max_image_bytes).finish(text, growing=growing)


def piece_markdown(
    texts: list[str],
    addresses: Mapping[str, str],
    alts: Mapping[str, str],
    max_image_bytes: int | None = None,
    *,
    growing: bool = False,
) -> list[str]:
    """Return the same as ``answer_markdown`` for each piece of a text."""
    writer = AnswerMarkdown(addresses, alts, max_image_bytes)
    if len(texts) > 1 and any("]:" in text for text in texts):  # a later piece may define a label
        from .safe import markdown_and_images

        for text in texts:
            markdown_and_images(text, addresses, writer.references)
    return [*map(writer.write, texts[:-1]), writer.finish(texts[-1], growing=growing)]


class AnswerMarkdown:
    """Writer of the pieces of an answer, in order, after those that ``previous`` has written.

    The other arguments are those of ``answer_markdown``. ``references`` are the link reference definitions of all
    pieces so far, label to destination.
    """

    def __init__(
        self,
        addresses: Mapping[str, str],
        alts: Mapping[str, str],
        max_image_bytes: int | None = None,
        previous: AnswerMarkdown | None = None,
    ) -> None:
        self.references: dict[str, str] = {**previous.references} if previous else {}
        self._shown: set[str] = {*previous._shown} if previous else set()  # full addresses of images
        self._addresses = {
            address: target
            for address, target in addresses.items()
            if max_image_bytes is None or is_at_most(target, max_image_bytes)
        }
        self._alts = alts
        self._max_image_bytes = max_image_bytes

    def write(self, text: str, *, growing: bool = False) -> str:
        """Return a piece, which is not the last, as safe Markdown."""
        from .safe import markdown_and_images

        if self._max_image_bytes is not None:
            text = shorten_images(text, self._max_image_bytes)
        markdown, images = markdown_and_images(text, self._addresses, self.references, growing=growing)
        self._shown |= {self._full_address(address) for address in images}
        if self._alts:  # g4f writes a generated image as a link from a smaller image to the image itself
            links = _linked_image.finditer(text)
            self._shown |= {self._full_address(link[2]) for link in links if self._full_address(link[1]) in self._shown}
        for image in images:  # a bitmap may be long: from now on, it is written as a link
            for address in (image, self._addresses.get(image, "")):
                if is_bitmap(self._addresses.get(address, "")):
                    del self._addresses[address]
        return markdown

    def finish(self, text: str, *, growing: bool = False) -> str:
        """Return the last piece as safe Markdown, followed by the images beside the text that no piece has shown."""
        addresses = {**self._addresses}
        markdown = self.write(text, growing=growing)
        beside = {
            self._full_address(url): f"![{_alt_text(alt) or 'image'}](<{url}>)" for url, alt in self._alts.items()
        }
        images = "\n\n".join(image for address, image in beside.items() if address not in self._shown)
        if not images:
            return markdown
        from .safe import safe_markdown

        if self._max_image_bytes is not None:
            images = shorten_images(images, self._max_image_bytes)
        return "\n\n".join(part for part in (markdown, safe_markdown(images, addresses)) if part)

    def _full_address(self, address: str) -> str:
        return full_address(address, self._addresses)


def _alt_text(text: str) -> str:
    """Return a text without the characters that would end or change an image's alternative text."""
    return " ".join(re.sub(r"[\[\]\\`<>&$]", " ", text).split())
