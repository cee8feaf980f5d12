r"""Make Markdown from a model safe to display.

A notebook shows the Markdown output of a cell that was just run as *trusted*: raw HTML in it runs, images are fetched,
``mermaid`` fences are drawn. And each front end reads Markdown a little differently (JupyterLab uses marked, nbconvert
mistune, VS Code markdown-it). So nothing here relies on one way to read it. markdown-it-py finds the blocks, and each
is written anew in the plainest form. Inside a block, ``inline.Inline`` keeps the text and changes only what could act.
Whichever parser reads the result, it has

* ``<`` only before a space, a digit or ``=``, in ``<https://…>``, and in the few tags written here, without attributes;
* ``](`` only before an ``http``, ``https`` or ``mailto`` URL, or a ``data:`` URI of a bitmap;
* a backtick only around code that is harmless as text too; other code is ``<code>`` with every character an entity;
* ``$`` only around balanced formulas without an active macro, on one line unless the formula is a block of its own;
* unchanged code only in fences at the left margin, after an empty line, longer than any fence within.

A renderer takes linear time for the result: ``emphasis`` and ``effort`` change texts for which it would not.

Three rules are JupyterLab's alone: it takes formulas out before Markdown is read and puts them back into the HTML
unescaped (``@@0@@``); MathJax then searches the text of the page once more; the info string of a fence lands unescaped
in an attribute. ``elements`` names the sources.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from markdown_it.common.utils import normalizeReference
from markdown_it.token import Token

from ..text import unicode_text
from .data_uris import DataUriPlaceholders, close_open_image, is_bitmap
from .effort import Effort, limit_blocks
from .elements import code_block, safe_formula
from .inline import Inline
from .links import reference_budget, resolve, safe_destination
from .open_formula import hold_open_formula
from .parser import MAX_NESTING, block_parser, escape_bars_in_tables, generated_images_comment

_MAX_NESTED_LINE_WORK = 1_000_000  # lines times characters of a paragraph in a list or quote


def safe_markdown(text: str, addresses: Mapping[str, str] | None = None, *, growing: bool = False) -> str:
    """Return Markdown that shows what ``text`` says and does nothing else. Never raises; takes linear time.

    Any prefix of an answer may be passed. What is appended after an empty line stands by itself: an open fence is
    closed, and no list, quote or formula reaches further.

    ``growing``: a formula at the end that is still open is held back.

    ``addresses`` maps the address of an image or link to the one that is written (if it is safe) in its place. That one
    is looked up once more: a relative address may stand for a full one, and that for a ``data:`` URI, which only an
    image gets, and only where it is first shown.
    """
    return markdown_and_images(text, addresses or {}, growing=growing)[0]


def image_addresses(text: str) -> list[str]:
    """Return the addresses of the images in Markdown, as they are written, in order. Never raises; linear time."""
    return markdown_and_images(text, None)[1] if "![" in text else []


def block_starts(text: str) -> list[int]:
    """Return the line, from 0, in which each top-level block starts; lines end at LF."""
    tokens = _parser.parse(DataUriPlaceholders().hold(text))
    return [token.map[0] for token in tokens if token.level == 0 and token.nesting >= 0 and token.map]


def markdown_and_images(
    text: str,
    addresses: Mapping[str, str] | None,
    references: dict[str, str] | None = None,
    *,
    growing: bool = False,
) -> tuple[str, list[str]]:
    """Return both ``safe_markdown`` and ``image_addresses``, parsing once.

    If ``addresses`` is None, references may lead anywhere. ``references`` are the link reference definitions of other
    pieces of the same text, label to destination; those of this piece are added.
    """
    held = DataUriPlaceholders()
    text = unicode_text(text)
    document = _parse(text, held, addresses, references, growing)
    if document is None:
        return "\n".join(code_block(text, "", nested=False)), []
    return held.restore(document.write()), [held.restore(address) for address in document.images]


def _parse(
    text: str,
    held: DataUriPlaceholders,
    addresses: Mapping[str, str] | None,
    references: dict[str, str] | None,
    growing: bool,
) -> _Document | None:
    """Return the blocks of a text; None if they are nested too deeply for the parser."""
    parser = _parser if addresses == {} else block_parser(_destination_filter(addresses))
    budget = reference_budget(len(text))
    text = held.hold(close_open_image(text))
    known = {label: {"href": held.hold(href)} for label, href in (references or {}).items()}
    env: dict[str, Any] = {"references": {**known}}
    tokens = parser.parse(text, env)
    if growing and ("$" in text or "\\" in text) and (shown := hold_open_formula(text, tokens)) is not None:
        text, env = shown, {"references": {**known}}
        tokens = parser.parse(text, env)
    if with_bars := escape_bars_in_tables(text, tokens):
        env = {"references": {**known}}
        tokens = parser.parse(with_bars, env)
    if references is not None:
        references |= {label: held.restore(found["href"]) for label, found in env["references"].items()}
    if any(token.level >= MAX_NESTING - 1 and token.nesting == 1 for token in tokens):
        return None
    tokens = limit_blocks(tokens, with_bars or text)
    return _Document(tokens, env["references"], budget, held, {**(addresses or {})}, Effort(len(text)))


class _Document:
    """The blocks of a text, from the parser's tokens; ``write`` is called once.

    ``budget`` is how many characters the destinations of references may add. After ``write``, ``images`` are the
    addresses of the images in the text.
    """

    def __init__(
        self,
        tokens: list[Token],
        references: dict[str, dict[str, Any]],
        budget: int,
        held: DataUriPlaceholders,
        addresses: dict[str, str],
        effort: Effort,
    ) -> None:
        self.tokens = iter(tokens)
        self.effort = effort
        self.references = references
        self.budget = budget
        self.held = held
        self.addresses = addresses
        self.images: list[str] = []
        self.tight: set[int] = set()  # levels of paragraphs in lists without empty lines between the items

    def write(self) -> str:
        """Return the text as safe Markdown."""
        return "\n\n".join("\n".join(block) for block in self.blocks("", nested=False))

    def reference(self, label: str) -> str:
        """Return the destination that a label is defined as, or ""."""
        if not self.references:
            return ""
        found: str = self.references.get(normalizeReference(label), {}).get("href", "")
        self.budget -= len(self.held.restore(found))
        return found if self.budget > 0 else ""

    def resolve(self, address: str, *, image: bool) -> str:
        """Return what an address stands for; a bitmap only once."""
        if image:
            self.images.append(address)
        target, key = resolve(address, self.addresses, image=image)
        if target != key and is_bitmap(target):
            del self.addresses[key]  # it may be long: from now on, the image is written as a link
            return self.held.hold(target)
        return target

    def blocks(self, closing: str, *, nested: bool = True) -> Iterator[list[str]]:
        """Yield the lines of each block, up to the token that closes the container."""
        for token in self.tokens:
            if token.type == closing:
                return
            match token.type:
                case "paragraph_open":
                    if token.hidden:
                        self.tight.add(token.level)
                    yield self.inline_text(multiline=True, nested=nested).split("\n")
                case "heading_open":
                    yield [f"{'#' * int(token.tag[1])} {self.inline_text()}".rstrip(" ")]
                case "fence" | "code_block":
                    yield list(code_block(token.content, token.info, nested=nested))
                case "hr":
                    yield ["***" if nested else "---"]
                case "math_block":
                    yield self.formula_lines(token, nested)
                case "blockquote_open":
                    lines = _join_lines(list(self.blocks("blockquote_close")), loose=True)
                    yield [f"> {line}".rstrip() if not line.strip() else f"> {line}" for line in lines]
                case "bullet_list_open" | "ordered_list_open":
                    yield self.list_lines(token)
                case "table_open":
                    yield self.table_lines()

    def inline_text(self, *, in_table: bool = False, multiline: bool = False, nested: bool = False) -> str:
        """Return the text of the paragraph, heading or cell whose opening token was read last."""
        source = generated_images_comment.sub("", next(self.tokens).content).strip()
        next(self.tokens)  # the token that closes the paragraph, heading or cell
        if nested and source.count("\n") * len(source) > _MAX_NESTED_LINE_WORK:
            multiline = False  # in a list, marked looks for the end of the paragraph in each line
        return Inline(source, self, in_table=in_table, multiline=multiline, effort=self.effort).write()

    def formula_lines(self, token: Token, nested: bool) -> list[str]:
        text = safe_formula(token.content, display=True, multiline=not nested)
        if text and self.effort.spend_on_formula(text):
            return text.split("\n")
        return list(code_block(token.content.strip(), "latex", nested=nested))

    def list_lines(self, opening: Token) -> list[str]:
        """Return the lines of the list that ``opening`` starts; those of its items are indented."""
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
            first, *others = _join_lines(blocks, loose=loose) or [""]
            if lines and (loose or _ends_in_quote(lines)):
                lines.append("")
            lines.append(f"{marker} {first}" if first else marker)
            lines += [" " * (len(marker) + 1) + line if line else "" for line in others]
        return lines

    def table_lines(self) -> list[str]:
        rows: list[list[str]] = []
        delimiters: list[str] = []
        for token in self.tokens:
            if token.type == "table_close":
                break
            if token.type == "tr_open":
                rows.append([])
            elif token.type in ("th_open", "td_open"):
                rows[-1].append(self.inline_text(in_table=True))
                if token.type == "th_open":
                    align = str(token.attrs.get("style", "")).removeprefix("text-align:")
                    delimiters.append({"left": ":--", "center": ":-:", "right": "--:"}.get(align, "---"))
        return ["| " + " | ".join(row) + " |" for row in (rows[0], delimiters, *rows[1:])]


def _join_lines(blocks: list[list[str]], *, loose: bool) -> list[str]:
    """Return the lines of all blocks, with an empty line between two blocks if ``loose``."""
    lines: list[str] = []
    for block in blocks:
        if lines and (loose or _ends_in_quote(lines) or block[0].startswith(">")):
            lines.append("")
        lines += block
    return lines


def _ends_in_quote(lines: list[str]) -> bool:
    """Whether a parser might read the next line as part of a quote (a lazy continuation line, CommonMark 5.1)."""
    return lines[-1].lstrip().startswith(">")


def _destination_filter(addresses: Mapping[str, str] | None) -> Callable[[str], bool]:
    """Return a function that says whether a reference may lead to a URL; to any if ``addresses`` is None."""

    def is_allowed(url: str) -> bool:
        return addresses is None or url in addresses or safe_destination(url) is not None or is_bitmap(url)

    return is_allowed


_parser = block_parser(_destination_filter({}))
