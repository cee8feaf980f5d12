r"""Markdown written by a model, made safe to display.

A notebook shows the Markdown of a cell that was just run as *trusted*: raw HTML in it runs, images are fetched, a
``mermaid`` fence is drawn, and each front end (marked, mistune, markdown-it) reads the text a little differently. So
nothing here relies on how they read it. The blocks are found by markdown-it-py and written anew in the plainest form;
inside them a scanner keeps the text but for what could act. What comes out holds, in whatever way it is read:

* ``<`` only before a space, a digit or ``=``, in ``<https://…>``, and in the few tags written here, without attributes;
* ``](`` only before an ``http``, ``https`` or ``mailto`` address, or a bitmap in a ``data:`` address;
* a backtick only around code that would be harmless as text too; other code is ``<code>`` with every sign an entity;
* ``$`` only around balanced mathematics without a macro that acts, on one line unless it is a block of its own;
* code as it was only in fences at the left margin, after an empty line, longer than any fence within.

JupyterLab's own traps: it takes mathematics out before Markdown is read and puts it back, unescaped, into the HTML
(``@@0@@``); MathJax then reads the page's text once more; a fence's info string lands unescaped in an attribute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from markdown_it.common.utils import normalizeReference
from markdown_it.token import Token

from ..text import unicode_text
from . import elements as parts
from .data_uris import DataUriPlaceholders, close_open_image, is_bitmap
from .inline import Inline
from .parser import _DEPTH, bars_of_formulas, block_parser, generated_wrapper


def safe_markdown(text: str, addresses: Mapping[str, str] | None = None) -> str:
    """Give Markdown that shows what ``text`` says and does nothing else; never raises, linear time.

    Any prefix of an answer may be given, and what is appended after an empty line stands on its own: a fence left
    open is closed, no list, quote or formula reaches further.

    ``addresses`` says what the address of an image or a link stands for: that is checked and written in its place. It
    is looked up there once more, as where a relative address stands for a full one, and that for a ``data:`` address,
    which only an image is given, and only where it is first shown.
    """
    return markdown_and_images(text, addresses or {})[0]


def image_addresses(text: str) -> list[str]:
    """Give the addresses of the images in Markdown as they are written, in order; never raises, linear time."""
    return markdown_and_images(text, None)[1] if "![" in text else []


def block_starts(text: str) -> list[int]:
    """Give the line, counted from 0, in which each block begins that is not within another; lines end at LF."""
    tokens = _parser.parse(DataUriPlaceholders().hold(text))
    return [token.map[0] for token in tokens if token.level == 0 and token.nesting >= 0 and token.map]


def markdown_and_images(
    text: str, addresses: Mapping[str, str] | None, references: dict[str, str] | None = None
) -> tuple[str, list[str]]:
    """Give what both give, of one reading; without ``addresses`` a reference may lead to any.

    ``references`` are what labels stand for in another piece of the same text; those of this one are added.
    """
    held = DataUriPlaceholders()
    text = unicode_text(text)
    document = _document(text, held, addresses, references)
    if document is None:
        return "\n".join(parts.code_block(text, "", nested=False)), []  # deeper than the parser looks: shown as code
    return held.restore(document.write()), [held.restore(address) for address in document.images]


def _document(
    text: str, held: DataUriPlaceholders, addresses: Mapping[str, str] | None, references: dict[str, str] | None
) -> _Document | None:
    """Give the blocks of a text, None if they are deeper than the parser looks. Without ``addresses`` for any."""
    parser = _parser if addresses == {} else block_parser(_followed(addresses))
    budget = 4 * len(text) + 65_536
    text = held.hold(close_open_image(text))
    known = {label: {"href": held.hold(href)} for label, href in (references or {}).items()}
    env: dict[str, Any] = {"references": {**known}}
    tokens = parser.parse(text, env)
    if with_bars := bars_of_formulas(text, tokens):
        env = {"references": {**known}}
        tokens = parser.parse(with_bars, env)
    if references is not None:
        references |= {label: held.restore(one["href"]) for label, one in env["references"].items()}
    if any(token.level >= _DEPTH - 1 and token.nesting == 1 for token in tokens):
        return None
    return _Document(tokens, env["references"], budget, held, {**(addresses or {})})


class _Document:
    """The blocks of an answer, from the parser's tokens. ``budget``: how many characters reference links may add.

    ``images`` are the addresses of the images that were met while it was written.
    """

    def __init__(
        self,
        tokens: list[Token],
        references: dict[str, dict[str, Any]],
        budget: int,
        held: DataUriPlaceholders,
        addresses: dict[str, str],
    ) -> None:
        self.tokens = iter(tokens)
        self.references = references
        self.budget = budget
        self.held = held
        self.addresses = addresses
        self.images: list[str] = []
        self.tight: set[int] = set()  # the levels at which the paragraphs of a list's items stand close

    def write(self) -> str:
        """Give the whole document."""
        return "\n\n".join("\n".join(block) for block in self.blocks("", nested=False))

    def reference(self, label: str) -> str:
        """Give the address that a label stands for, or ""."""
        if not self.references:
            return ""
        found: str = self.references.get(normalizeReference(label), {}).get("href", "")
        self.budget -= len(self.held.restore(found))
        return found if self.budget > 0 else ""

    def stands_for(self, address: str, *, image: bool) -> str:
        """Give what an address stands for: of a link the last that is no image itself, of an image the image."""
        if image:
            self.images.append(address)
        for _ in range(2):
            further = self.addresses.get(address, address)
            if not image and further.startswith("data:"):
                break
            if further != address and is_bitmap(further):
                del self.addresses[address]  # it may be long: the next time it is a link
                return self.held.hold(further)
            address = further
        return address

    def blocks(self, closing: str, *, nested: bool = True) -> Iterator[list[str]]:
        """Give the lines of each block up to the token that closes the container."""
        for token in self.tokens:
            if token.type == closing:
                return
            match token.type:
                case "paragraph_open":
                    if token.hidden:
                        self.tight.add(token.level)
                    yield self.inline(starts_lines=True).split("\n")
                case "heading_open":
                    yield [f"{'#' * int(token.tag[1])} {self.inline()}".rstrip(" ")]
                case "fence" | "code_block":
                    yield list(parts.code_block(token.content, token.info, nested=nested))
                case "hr":
                    yield ["***" if nested else "---"]
                case "math_block":
                    yield self.formula(token, nested)
                case "blockquote_open":
                    lines = _joined(list(self.blocks("blockquote_close")), loose=True)
                    yield [f"> {line}".rstrip() if not line.strip() else f"> {line}" for line in lines]
                case "bullet_list_open" | "ordered_list_open":
                    yield self.list_of(token)
                case "table_open":
                    yield self.table()

    def inline(self, *, cell: bool = False, starts_lines: bool = False) -> str:
        source = generated_wrapper.sub("", next(self.tokens).content).strip()
        next(self.tokens)  # what closes the paragraph, heading or cell
        return Inline(source, self.reference, self.stands_for, cell=cell, starts_lines=starts_lines).write()

    def formula(self, token: Token, nested: bool) -> list[str]:
        text = parts.formula(token.content, display=True, lines=not nested)
        return text.split("\n") if text else list(parts.code_block(token.content.strip(), "latex", nested=nested))

    def list_of(self, opening: Token) -> list[str]:
        level, closing = opening.level + 2, opening.type.replace("open", "close")
        self.tight.discard(level)
        items: list[tuple[str, list[list[str]]]] = []
        for token in self.tokens:
            if token.type == closing:
                break
            marker = token.info + token.markup if opening.type == "ordered_list_open" else token.markup
            items.append((marker, list(self.blocks("list_item_close"))))
        loose = level not in self.tight
        lines: list[str] = []
        for marker, blocks in items:
            first, *others = _joined(blocks, loose=loose) or [""]
            if lines and (loose or _ends_in_quote(lines)):
                lines.append("")
            lines.append(f"{marker} {first}" if first else marker)
            lines += [" " * (len(marker) + 1) + line if line else "" for line in others]
        return lines

    def table(self) -> list[str]:
        rows: list[list[str]] = []
        rules: list[str] = []
        for token in self.tokens:
            if token.type == "table_close":
                break
            if token.type == "tr_open":
                rows.append([])
            elif token.type in ("th_open", "td_open"):
                rows[-1].append(self.inline(cell=True))
                if token.type == "th_open":
                    align = str(token.attrs.get("style", "")).removeprefix("text-align:")
                    rules.append({"left": ":--", "center": ":-:", "right": "--:"}.get(align, "---"))
        return ["| " + " | ".join(row) + " |" for row in (rows[0], rules, *rows[1:])]


def _joined(blocks: list[list[str]], *, loose: bool) -> list[str]:
    """Put the lines of blocks below one another, with an empty line between if ``loose``."""
    lines: list[str] = []
    for block in blocks:
        if lines and (loose or _ends_in_quote(lines) or block[0].startswith(">")):
            lines.append("")
        lines += block
    return lines


def _ends_in_quote(lines: list[str]) -> bool:
    """Whether a parser might take the next line for one more of a quote."""
    return lines[-1].lstrip().startswith(">")


def _followed(addresses: Mapping[str, str] | None) -> Callable[[str], bool]:
    """Give what says whether a reference may lead to an address: to any if there are no ``addresses``."""

    def follows(url: str) -> bool:
        return addresses is None or url in addresses or parts.address(url) is not None or is_bitmap(url)

    return follows


_parser = block_parser(_followed({}))
