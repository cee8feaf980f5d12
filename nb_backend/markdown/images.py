"""The Markdown of an answer, with its images."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .data_uris import is_bitmap, is_shown, shorten_images

_linked = re.compile(r"!\[[^\[\]]*\]\(\s*<?([^\s()<>]++)[^()]*+\)\]\(\s*<?([^\s()<>]++)")


def answer_markdown(text: str, addresses: Mapping[str, str], alts: Mapping[str, str], most: int | None = None) -> str:
    """Give the text of an answer as Markdown that is safe to show, and behind it those of its images not seen in it.

    ``addresses`` is what ``safe_markdown`` takes, ``alts`` has the words for each image that came beside the text;
    those of more than ``most`` bytes, if it is given, are a word or a link.
    """
    return AnswerMarkdown(addresses, alts, most).finish(text)


def piece_markdown(texts: list[str], addresses: Mapping[str, str], alts: Mapping[str, str]) -> list[str]:
    """Give the same for a text in pieces, one for each."""
    written = AnswerMarkdown(addresses, alts)
    if len(texts) > 1 and any("]:" in text for text in texts):  # what a label stands for may be said further below
        from .safe import markdown_and_images

        for text in texts:
            markdown_and_images(text, addresses, written.references)
    return [*map(written.write, texts[:-1]), written.finish(texts[-1])]


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

    def write(self, text: str) -> str:
        """Give a piece that another one follows."""
        from .safe import markdown_and_images

        if self._most is not None:
            text = shorten_images(text, self._most)
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

    def finish(self, text: str) -> str:
        """Give the last piece, and behind it the images that came beside the text and were not seen in any."""
        addresses = {**self._addresses}
        shown = self.write(text)
        beside = {self._in_full(url): f"![{_alt_text(alt) or 'image'}](<{url}>)" for url, alt in self._alts.items()}
        pictures = "\n\n".join(picture for url, picture in beside.items() if url not in self._seen)
        if not pictures:
            return shown
        from .safe import safe_markdown

        if self._most is not None:
            pictures = shorten_images(pictures, self._most)
        return "\n\n".join(part for part in (shown, safe_markdown(pictures, addresses)) if part)

    def _in_full(self, address: str) -> str:
        target = self._addresses.get(address, address)
        return address if target.startswith("data:") else target


def _alt_text(text: str) -> str:
    """Give the words of a text, as the text of an image."""
    return " ".join(re.sub(r"[\[\]\\`<>&$]", " ", text).split())
