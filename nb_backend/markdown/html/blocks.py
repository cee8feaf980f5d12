"""A model's Markdown as safe HTML, block by block, for a page that shows it while it grows.

The text is hostile, as ``markdown`` says, and the same holds here at every prefix: HTML in it is text, links lead to
http, https and mailto only, an image elsewhere is a link that names its host, formulas with a macro that acts are text,
invisible characters and controls are seen. What is written is built here, sign by sign escaped, and then passes
``html_clean``, which leaves nothing that is not named there: no ids, no styles, no scripts, no classes but the panel's.

A block is done when one after it has begun on a whole line, and nothing that may still come can change where it ends.
Only what is not done is read again with each update: a list, quote or fence that stays open is rendered each time as
far as it is there (its code without colours when it is long), so whoever feeds small pieces should not do so often.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markdown_it.token import Token

from ...text import unicode_text, visible
from ..data_uris import DataUriPlaceholders, close_open_image
from .block import LinkTargets, LinkUse, Picture, block_html, image_html
from .parser import Read, References, read_blocks
from .sanitize import clean

_BUDGET = 65_536  # characters that the addresses of references may have, and four for each of the text before
_line_end = re.compile(r"\r\n|\r|\n")


def html_blocks(text: str, *, addresses: Mapping[str, str] | None = None, picture: Picture | None = None) -> list[str]:
    """Give the blocks of a text that is whole; the arguments are those of ``HtmlBlocks``."""
    blocks = HtmlBlocks(addresses=addresses, picture=picture)
    blocks.finish(text)
    return blocks.blocks


@dataclass
class _Piece:
    """A top-level block as it was read: its first line, the one after its last, and its tokens."""

    start: int
    end: int
    tokens: list[Token]

    @property
    def kind(self) -> str:
        return self.tokens[0].type


@dataclass
class _DeferredBlock:
    """A block that is done, but depends on what references and images lead to, which may come late."""

    index: int
    tokens: list[Token]
    asked: LinkUse
    allowed: int  # characters for the addresses of references up to its end


class HtmlBlocks:
    """A Markdown text that grows, as ``blocks`` of safe HTML: each that is done is written once, the open ones again.

    ``addresses`` says what the address of an image or a link stands for, as ``safe_markdown`` takes it; it may gain
    entries. ``picture`` is given an image that is at hand, as a ``data:`` URI of a bitmap, and gives the key by which
    the page asks for it (at most 200 letters, digits and ``_.:-``); without it, or with "", such an image is words.

    Takes one reading of what is new, never raises.
    """

    def __init__(self, *, addresses: Mapping[str, str] | None = None, picture: Picture | None = None) -> None:
        self.blocks: list[str] = []
        self._addresses = {} if addresses is None else addresses
        self._picture = picture
        self._restart()

    def _restart(self) -> None:
        self._text = ""
        self._whole = False
        self._offset = 0  # where what is not done starts in the text
        self._done = 0  # so many blocks are
        self._spent = 0  # characters of the addresses of references in them
        self._references: dict[str, dict[str, Any]] = {}
        self._askers: list[_DeferredBlock] = []
        self._images_after: list[str] = []  # in what is not done

    def update(self, text: str) -> int:
        """Take the whole text as far as it is there; give the index of the first block that changed.

        The blocks before that index do not change any more, but by ``finish``. A text that does not start with the one
        before is rendered anew.
        """
        return self._read(text, whole=False)

    def finish(self, text: str) -> int:
        """Take the text that is whole, and what came late: references defined below, images that are at hand now.

        Gives the index of the first block that changed.
        """
        return min(self._read(text, whole=True), self._ask_again())

    def beside(self, alts: Mapping[str, str]) -> list[str]:
        """Give a block for each image that came beside the text, by address with its words, and is not seen in it."""
        sources = LinkTargets(self._addresses, self._picture, {}, DataUriPlaceholders())
        seen = {*self._images_after, *(image for asker in self._askers for image in asker.asked.images)}
        unseen = {sources.in_full(url): (url, alt) for url, alt in alts.items()}
        return [
            self.image(sources.target(url, image=True), alt) for full, (url, alt) in unseen.items() if full not in seen
        ]

    def image(self, url: str, alt: str) -> str:
        """Give a block that is one image, or a link to it if it is elsewhere."""
        return clean(visible(f"<p>{image_html(url, unicode_text(alt), self._picture)}</p>"))

    def _read(self, text: str, *, whole: bool) -> int:
        if (self._whole and text != self._text) or not text.startswith(self._text):
            self._restart()
        elif self._whole:
            return len(self.blocks)
        self._text, self._whole = text, whole
        raw = text[self._offset :]
        source = unicode_text(raw)
        if not whole:
            last = source.rfind("\n") + 1
            source = source[:last] + close_open_image(source[last:])
        held = DataUriPlaceholders()
        source = held.hold(source)
        found: ChainMap[str, dict[str, Any]] = ChainMap({}, self._references)
        read = read_blocks(source, found)
        pieces = _pieces(read.tokens)
        done = len(pieces) if whole else _first_open(pieces, source.split("\n"), read)
        starts = [0, *(match.end() for match in _line_end.finditer(raw)), len(raw)]
        line = pieces[done].start if done < len(pieces) else len(starts) - 1
        self._keep_references(found.maps[0], line if done else 0, held)
        ends = [self._offset + starts[piece.start] for piece in pieces[1:]] + [len(text)]
        if done:
            self._offset = ends[done - 1]
        return self._write(pieces, done, ends, LinkTargets(self._addresses, self._picture, found, held))

    def _keep_references(self, found: References, line: int, held: DataUriPlaceholders) -> None:
        for label, reference in found.items():
            if reference["map"][1] <= line:
                self._references[label] = {"href": held.restore(reference["href"])}

    def _write(self, pieces: list[_Piece], done: int, ends: list[int], sources: LinkTargets) -> int:
        """Write blocks, those that are done for good; give the index of the first that is not what it was."""
        settled = LinkTargets(sources.addresses, sources.picture, self._references, sources.held)
        before, self.blocks = self.blocks, self.blocks[: self._done]
        self._images_after = []
        spent = self._spent
        for i, piece in enumerate(pieces):
            allowed = _BUDGET + 4 * ends[i]
            asked = LinkUse(settled if i < done else sources, allowed - spent)
            html = block_html(piece.tokens, asked, live=i == len(pieces) - 1 and not self._whole)
            spent = allowed - asked.budget
            if i < done:
                self._spent = spent
                if html and (asked.labels or asked.targets):
                    self._askers.append(_DeferredBlock(len(self.blocks), piece.tokens, asked, allowed))
            else:
                self._images_after += asked.images
            if html:
                self.blocks.append(html)
                self._done += i < done
        same = (i for i, (old, new) in enumerate(zip(before, self.blocks, strict=False)) if old != new)
        return min(next(same, min(len(before), len(self.blocks))), self._done)

    def _ask_again(self) -> int:
        """Write the blocks anew that ask for what has another answer now; give the index of the first."""
        first, spent = len(self.blocks), 0
        for asker in self._askers:
            sources = LinkTargets(self._addresses, self._picture, self._references, asker.asked.sources.held)
            asked = LinkUse(sources, asker.allowed - spent)
            if asker.asked.would_change(asked):
                asked = LinkUse(sources, asker.allowed - spent)
                asker.asked = asked
                html = block_html(asker.tokens, asked)
                if html != self.blocks[asker.index]:
                    self.blocks[asker.index] = html
                    first = min(first, asker.index)
            spent = asker.allowed - asked.budget
        return first


def _pieces(tokens: list[Token]) -> list[_Piece]:
    """Give the top-level blocks of a text."""
    pieces: list[_Piece] = []
    first = 0
    for i, token in enumerate(tokens):
        if token.level == 0 and token.nesting <= 0:
            start, end = tokens[first].map or (0, 0)
            pieces.append(_Piece(start, end, tokens[first : i + 1]))
            first = i + 1
    return pieces


def _first_open(pieces: list[_Piece], lines: list[str], read: Read) -> int:
    """Give the index of the first block that what comes may still change, or the start of which."""
    whole = len(lines) - 1
    blank = whole - 1
    while blank >= 0 and lines[blank].strip(" \t"):
        blank -= 1
    searched = blank + 1 if read.reach >= whole else whole  # a formula may have begun after this line, and not ended
    for i in range(len(pieces) - 1, 0, -1):
        piece = pieces[i]
        seen = {"table_open": piece.start + 2, "math_block": piece.end}.get(piece.kind, piece.start + 1)
        apart = not lines[piece.start - 1].strip(" \t")
        titled = pieces[i - 1].kind == "definition" != piece.kind and not apart  # what follows may be its title
        if seen <= whole and piece.start <= searched and not titled:
            return i
    return 0
