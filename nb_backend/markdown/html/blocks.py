"""Render Markdown that grows as safe HTML, block by block, for the panel's page.

The text is hostile, as in ``markdown.safe``, and the same holds for every prefix of it: HTML in it is text; links lead
to http, https and mailto only; an image elsewhere is a link that names its host; formulas with an active macro are
text; invisible and control characters are shown. All HTML is written here, with every character escaped, and then
passes ``sanitize.clean``, which removes what it does not list: ids, styles, scripts, all classes but the panel's.

A block is done when a later block has started on a complete line, and no text that follows can change where the block
ends. Only open blocks are parsed again with each update. A list, quote or fence that stays open is rendered each time
as far as it has come (its code without colors when it is long), so do not call ``update`` for every few characters.
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
from ..links import reference_budget
from ..open_formula import hold_open_formula
from .block import ImageKey, LinkTargets, LinkUse, block_html, image_html
from .parser import ParsedBlocks, References, parse_blocks
from .sanitize import clean

_line_end = re.compile(r"\r\n|\r|\n")


@dataclass
class _Block:
    """A top-level block as it was parsed: its first line, the line after its last, and its tokens."""

    start: int
    end: int
    tokens: list[Token]

    @property
    def kind(self) -> str:
        return self.tokens[0].type


@dataclass
class _DeferredBlock:
    """A finished block that depends on references and images, which may be defined or fetched later."""

    index: int
    tokens: list[Token]
    links: LinkUse
    budget: int  # characters that the destinations of references may have up to the end of the block


class HtmlBlocks:
    """A Markdown text that grows, as ``blocks`` of safe HTML: finished blocks are written once, open ones each time.

    ``addresses`` is that of ``safe_markdown``; it may gain entries. ``image_key`` is called with the ``data:`` URI of
    each bitmap, and returns the key with which the page asks for the image (at most 200 letters, digits and ``_.:-``).
    Without it, or if it returns "", the image is written as its alternative text.

    Each update takes linear time in the text that is not done. No method raises.
    """

    def __init__(self, *, addresses: Mapping[str, str] | None = None, image_key: ImageKey | None = None) -> None:
        self.blocks: list[str] = []
        self._addresses = {} if addresses is None else addresses
        self._image_key = image_key
        self._restart()

    def _restart(self) -> None:
        self._text = ""
        self._is_whole = False
        self._done_chars = 0  # the text from here on is not done
        self._done_count = 0  # finished blocks
        self._used_budget = 0  # characters of the destinations of references in finished blocks
        self._references: dict[str, dict[str, Any]] = {}
        self._deferred: list[_DeferredBlock] = []
        self._open_images: list[str] = []  # images in blocks that are not done

    def update(self, text: str) -> int:
        """Pass the whole text so far; return the index of the first block that changed.

        The blocks before that index change only once more, with ``finish``. A text that does not start with the
        previous one is rendered from the start.
        """
        return self._update(text, is_whole=False)

    def finish(self, text: str) -> int:
        """Pass the complete text; return the index of the first block that changed.

        Blocks also change if a reference was defined below them, or an image was fetched since.
        """
        return min(self._update(text, is_whole=True), self._update_deferred())

    def unshown_images(self, alts: Mapping[str, str]) -> list[str]:
        """Return a block for each image that came beside the text and is not in it; ``alts``: address to alt text."""
        targets = LinkTargets(self._addresses, self._image_key, {}, DataUriPlaceholders())
        shown = {*self._open_images, *(image for block in self._deferred for image in block.links.images)}
        beside = {targets.full_address(url): (url, alt) for url, alt in alts.items()}
        return [
            self.image_block(targets.resolve(url, image=True), alt)
            for address, (url, alt) in beside.items()
            if address not in shown
        ]

    def image_block(self, url: str, alt: str) -> str:
        """Return a block with one image, or with a link to it if it is not a bitmap in a ``data:`` URI."""
        return clean(visible(f"<p>{image_html(url, unicode_text(alt), self._image_key)}</p>"))

    def _update(self, text: str, *, is_whole: bool) -> int:
        if (self._is_whole and text != self._text) or not text.startswith(self._text):
            self._restart()
        elif self._is_whole:
            return len(self.blocks)
        self._text, self._is_whole = text, is_whole
        raw = text[self._done_chars :]
        source = unicode_text(raw)
        if not is_whole:
            last = source.rfind("\n") + 1
            source = source[:last] + close_open_image(source[last:])
        held = DataUriPlaceholders()
        source = held.hold(source)
        found: ChainMap[str, dict[str, Any]] = ChainMap({}, self._references)
        parsed = parse_blocks(source, found)
        blocks = _top_level_blocks(parsed.tokens)
        done = len(blocks) if is_whole else _first_open_block(blocks, source.split("\n"), parsed)
        starts = [0, *(match.end() for match in _line_end.finditer(raw)), len(raw)]
        line = blocks[done].start if done < len(blocks) else len(starts) - 1
        self._keep_references(found.maps[0], line if done else 0, held)
        shown = blocks
        if not is_whole and ("$" in source or "\\" in source):
            shown = self._hold_open_formula(source, blocks, done)
        first_lines = [block.start for block in (*blocks[1 : done + 1], *shown[done + 1 :])]
        ends = [self._done_chars + starts[first_line] for first_line in first_lines] + [len(text)]
        if done:
            self._done_chars = ends[done - 1]
        return self._write(shown, done, ends, LinkTargets(self._addresses, self._image_key, found, held))

    def _hold_open_formula(self, source: str, blocks: list[_Block], done: int) -> list[_Block]:
        """Return the blocks with a placeholder for the formula at the end that is still open.

        What is held back is shown differently, but settles nothing: the finished blocks and where they end stay.
        """
        tokens = [token for block in blocks for token in block.tokens]
        settled = blocks[done].start if done < len(blocks) else source.count("\n")
        shown = hold_open_formula(source, tokens, settled)
        if shown is None:
            return blocks
        rest = "\n".join(shown.split("\n")[settled:])  # as the blocks before may not be found without what is held
        found = _top_level_blocks(parse_blocks(rest, ChainMap({}, self._references)).tokens)
        return [*blocks[:done], *(_Block(settled + b.start, settled + b.end, b.tokens) for b in found)]

    def _keep_references(self, found: References, line: int, held: DataUriPlaceholders) -> None:
        """Keep the definitions that end before a line: the text up to there is not parsed again."""
        for label, reference in found.items():
            if reference["map"][1] <= line:
                self._references[label] = {"href": held.restore(reference["href"])}

    def _write(self, blocks: list[_Block], done: int, ends: list[int], targets: LinkTargets) -> int:
        """Write blocks, the first ``done`` for good; return the index of the first that changed.

        ``ends`` has the position in the text at which each block ends.
        """
        done_targets = LinkTargets(targets.addresses, targets.image_key, self._references, targets.held)
        before, self.blocks = self.blocks, self.blocks[: self._done_count]
        self._open_images = []
        used = self._used_budget
        for i, block in enumerate(blocks):
            budget = reference_budget(ends[i])
            links = LinkUse(done_targets if i < done else targets, budget - used)
            html = block_html(block.tokens, links, growing=i == len(blocks) - 1 and not self._is_whole)
            used = budget - links.budget
            if i < done:
                self._used_budget = used
                if html and (links.used_labels or links.used_addresses):
                    self._deferred.append(_DeferredBlock(len(self.blocks), block.tokens, links, budget))
            else:
                self._open_images += links.images
            if html:
                self.blocks.append(html)
                self._done_count += i < done
        changed = (i for i, (old, new) in enumerate(zip(before, self.blocks, strict=False)) if old != new)
        return min(next(changed, min(len(before), len(self.blocks))), self._done_count)

    def _update_deferred(self) -> int:
        """Render deferred blocks again if their links lead elsewhere now; return the index of the first change."""
        first, used = len(self.blocks), 0
        for block in self._deferred:
            targets = LinkTargets(self._addresses, self._image_key, self._references, block.links.targets.held)
            links = LinkUse(targets, block.budget - used)
            if block.links.has_changed(links):
                block.links = links = LinkUse(targets, block.budget - used)
                html = block_html(block.tokens, links)
                if html != self.blocks[block.index]:
                    self.blocks[block.index] = html
                    first = min(first, block.index)
            used = block.budget - links.budget
        return first


def _top_level_blocks(tokens: list[Token]) -> list[_Block]:
    blocks: list[_Block] = []
    first = 0
    for i, token in enumerate(tokens):
        if token.level == 0 and token.nesting <= 0:
            start, end = tokens[first].map or (0, 0)
            blocks.append(_Block(start, end, tokens[first : i + 1]))
            first = i + 1
    return blocks


def _first_open_block(blocks: list[_Block], lines: list[str], parsed: ParsedBlocks) -> int:
    """Return the index of the first block that later text may change, or whose start it may change."""
    complete = len(lines) - 1  # the last line may still grow
    blank = complete - 1
    while blank >= 0 and lines[blank].strip(" \t"):
        blank -= 1
    # From this line on, an open formula may have started: its search reached the last complete line.
    last_start = blank + 1 if parsed.formula_search_end >= complete else complete
    for i in range(len(blocks) - 1, 0, -1):
        block = blocks[i]
        recognized = {"table_open": block.start + 2, "math_block": block.end}.get(block.kind, block.start + 1)
        follows_blank = not lines[block.start - 1].strip(" \t")
        may_be_title = blocks[i - 1].kind == "definition" != block.kind and not follows_blank
        if recognized <= complete and block.start <= last_start and not may_be_title:
            return i
    return 0
