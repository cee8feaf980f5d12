"""The blocks of a text as HTML, one by one, from their tokens; ``html`` says what the HTML is made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

from markdown_it.common.utils import normalizeReference
from markdown_it.token import Token

from ...text import visible
from .. import elements as parts
from ..data_uris import DataUriPlaceholders, is_bitmap, shorten_data_uris
from ..parser import generated_wrapper
from .code import code_html
from .math import mathml
from .parser import References, read_inline
from .sanitize import clean

Picture = Callable[[str], str]
_NESTED = 20  # levels of emphasis in one another
_task = re.compile(r"\[([ xX])\](?=\s)")
_TAGS = {"em": "em", "strong": "strong", "s": "del"}


@dataclass
class LinkTargets:
    """Where a block's links and images lead to. ``picture`` gives the key of an image at hand."""

    addresses: Mapping[str, str]
    picture: Picture | None
    references: References
    held: DataUriPlaceholders

    def target(self, address: str, *, image: bool) -> str:
        """Give what an address stands for: of a link the last that is no image itself, of an image the image."""
        address = self.held.restore(address)
        for _ in range(2):
            further = self.addresses.get(address, address)
            if further == address or (not image and further.startswith("data:")):
                break
            address = further
        return address

    def in_full(self, address: str) -> str:
        """Give the address of an image in full, which tells whether it is shown already."""
        target = self.addresses.get(address, address)
        return address if target.startswith("data:") else target

    def href(self, label: str) -> str:
        """Give the address that a label stands for, or ""."""
        found: str = self.references.get(normalizeReference(label), {}).get("href", "")
        return self.held.restore(found)


@dataclass
class LinkUse:
    """What a block asked its sources, and was told: with another answer it would be another block.

    ``budget``: how many characters the addresses of its references may have in all.
    """

    sources: LinkTargets
    budget: int
    labels: list[tuple[str, str]] = field(default_factory=list)
    targets: dict[tuple[str, bool], str] = field(default_factory=dict)
    images: list[str] = field(default_factory=list)  # that it shows, in full

    def reference(self, label: str) -> str:
        """Give the address that a label stands for, or ""; none when that would be too much."""
        href = self.sources.href(label)
        self.budget -= len(href)
        href = href if self.budget > 0 else ""
        self.labels.append((label, href))
        return href

    def stands_for(self, address: str, *, image: bool) -> str:
        """Give the address that is meant by one that was written."""
        address = self.sources.held.restore(address)
        target = self.sources.target(address, image=image)
        if not address.startswith("data:"):
            self.targets[address, image] = target
        if image:
            self.images.append(self.sources.in_full(address))
        return target

    def would_change(self, other: LinkUse) -> bool:
        """Ask another one the same, and say whether it gives other answers."""
        answers = [other.reference(label) for label, _ in self.labels]
        return answers != [answer for _, answer in self.labels] or any(
            other.sources.target(address, image=image) != target for (address, image), target in self.targets.items()
        )


def block_html(tokens: list[Token], asked: LinkUse, *, live: bool = False) -> str:
    """Give one block as HTML that shows and does nothing else, "" for one of which nothing is seen."""
    html = _Block(asked, live).write(tokens)
    return clean(visible(html)) if html else ""


def image_html(url: str, alt: str, picture: Picture | None, *, link: bool = True) -> str:
    """Give an image: by its key if it is at hand, else as a link that says where it is, if it is to be a link."""
    words = " ".join(alt.split())
    if is_bitmap(url):
        key = _key(url, picture)
        return f'<img data-picture="{escape(key)}" alt="{escape(words)}">' if key else escape(f"image: {words}")
    target = parts.address(url)
    if target is None or not target[1]:
        return escape(f"image: {words} (no bitmap, or too large)")
    text = escape(f"image: {words} ({target[1]})" if words not in ("", "image") else f"image ({target[1]})")
    href = _attribute(target[0])
    return f'<a class="nbb-remote" href="{href}" data-remote="{href}">{text}</a>' if link else text


def _key(url: str, picture: Picture | None) -> str:
    try:
        return picture(url) if picture else ""
    except Exception:  # of whoever keeps the pictures: the text is shown all the same
        return ""


def _attribute(address: str) -> str:
    """Give an address that ``parts.address`` wrote for Markdown as an attribute's value, without quotes of any kind."""
    return escape(address.replace("&amp;", "&").replace("'", "%27"))


class _Block:
    """Writes one block; ``live``: it still grows."""

    def __init__(self, asked: LinkUse, live: bool) -> None:
        self.asked = asked
        self.live = live

    def write(self, tokens: list[Token]) -> str:
        out: list[str] = []
        i = 0
        while i < len(tokens):
            token = tokens[i]
            if token.type == "paragraph_open":
                out.append(self.paragraph(tokens[i + 1].content, hidden=token.hidden, task=_in_item(tokens, i)))
                i += 2
            elif token.type == "inline":
                out.append(self.inline(read_inline(token.content.strip(), self.asked)))
            elif token.type == "list_item_open":
                task = tokens[i + 1].type == "paragraph_open" and _task.match(tokens[i + 2].content)
                out.append('<li class="nbb-task">' if task else "<li>")
            else:
                out.append(self.simple(token))
            i += 1
        return "".join(out)

    def simple(self, token: Token) -> str:
        """Give what does not depend on other tokens."""
        match token.type:
            case "fence" | "code_block":
                return self.code(token)
            case "math_block":
                return self.formula_block(token.content)
            case "heading_open" | "heading_close":
                return f"<{'/' * (token.nesting < 0)}h{min(6, int(token.tag[1]) + 2)}>"
            case "ordered_list_open":
                start = token.attrs.get("start")
                return f'<ol start="{start}">' if start is not None else "<ol>"
            case "th_open" | "td_open":
                align = str(token.attrs.get("style", "")).removeprefix("text-align:")
                return f'<{token.tag} align="{align}">' if align else f"<{token.tag}>"
            case "table_open":
                return '<div class="nbb-table" tabindex="0" role="group" aria-label="Table"><table>'
            case "table_close":
                return "</table></div>"
            case "definition":
                return ""
        return f"<{'/' * (token.nesting < 0)}{token.tag}>"

    def paragraph(self, content: str, *, hidden: bool, task: bool) -> str:
        content = generated_wrapper.sub("", content).strip()
        before = ""
        if task and (box := _task.match(content)):
            sign, name = ("☐", "open") if box[1] == " " else ("☑", "done")
            before, content = f'<span role="img" aria-label="{name}">{sign}</span> ', content[box.end() :].lstrip()
        tokens = read_inline(content, self.asked)
        if len(tokens) == 1 and tokens[0].type == "formula" and tokens[0].meta["display"] and not before:
            return self.formula_block(tokens[0].content, tokens[0].markup)
        text = before + self.inline(tokens)
        if not text:
            return ""
        return f"{text}\n" if hidden else f"<p>{text}</p>"

    def code(self, token: Token) -> str:
        name = parts.language(token.info)
        code = self.asked.sources.held.restore(token.content)
        return (
            f'<figure class="nbb-code"><figcaption>{escape(name)}</figcaption>'
            f'<pre tabindex="0"><code>{code_html(code, name, live=self.live)}</code></pre></figure>'
        )

    def formula_block(self, body: str, source: str = "") -> str:
        latex = _latex(body)
        shown = mathml(latex, display=True) if latex else None
        if shown is None:
            return f"<p>{self.unread(source or body)}</p>"
        return f'<div class="nbb-math" tabindex="0" role="math" aria-label="{escape(latex[:500])}">{shown}</div>'

    def unread(self, source: str) -> str:
        return f'<code class="nbb-tex">{self.text(source.strip())}</code>'

    def text(self, text: str) -> str:
        return escape(shorten_data_uris(self.asked.sources.held.restore(text)), quote=False)

    def inline(self, tokens: list[Token]) -> str:
        out: list[str] = []
        open_tags: list[str] = []  # of emphasis, "" for one that is too deep
        link: str | None = None  # what closes the one that is open
        url = ""
        depth = 0
        for token in tokens:
            kind, _, end = token.type.partition("_")
            if kind == "link":
                if token.nesting > 0:
                    depth += 1
                    if depth == 1:
                        url = str(token.attrs["href"])
                        opening, link = self.link(url)
                        out.append(opening)
                else:
                    depth -= 1
                    if depth == 0:
                        out.append(link or "")
            elif kind in _TAGS and end == "open":
                open_tags.append(_TAGS[kind] if len(open_tags) < _NESTED else "")
                out.append(f"<{open_tags[-1]}>" if open_tags[-1] else "")
            elif kind in _TAGS and end == "close":
                tag = open_tags.pop() if open_tags else ""
                out.append(f"</{tag}>" if tag else "")
            else:
                if kind == "image" and depth:
                    self.asked.images.append(url)  # as g4f writes a picture: a link to itself
                out.append(self.piece(token, in_link=depth > 0))
        return "".join(out)

    def link(self, url: str) -> tuple[str, str]:
        target = parts.address(self.asked.sources.held.restore(url))
        return (f'<a href="{_attribute(target[0])}">', "</a>") if target else ("", "")

    def piece(self, token: Token, *, in_link: bool) -> str:
        match token.type:
            case "code_inline":
                return f"<code>{self.text(token.content)}</code>"
            case "softbreak":
                return "\n"
            case "hardbreak":
                return "<br>"
            case "image":
                sources = self.asked.sources
                url, alt = str(token.attrs["src"]), shorten_data_uris(sources.held.restore(token.content))
                return image_html(url, alt, sources.picture, link=not in_link)
            case "formula":
                latex = _latex(token.content)
                shown = mathml(latex, display=bool(token.meta["display"])) if latex else None
                return shown or self.unread(token.markup)
        return self.text(token.content)


def _in_item(tokens: list[Token], i: int) -> bool:
    return i > 0 and tokens[i - 1].type == "list_item_open"


def _latex(body: str) -> str:
    """Give a formula as it can be read; "" for one that acts, or is none."""
    found: Any = parts.formula(body, display=True)
    return str(found).strip("$").strip() if found else ""
