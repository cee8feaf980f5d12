"""Write one block as HTML, from its tokens; ``blocks`` says what the HTML may contain."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape

from markdown_it.common.utils import normalizeReference
from markdown_it.token import Token

from ...text import visible
from ..data_uris import DataUriPlaceholders, is_bitmap, shorten_data_uris
from ..elements import language_of, safe_formula
from ..links import full_address, resolve, safe_destination
from ..parser import generated_images_comment
from .code import code_html
from .math import MAX_CHARS, mathml
from .parser import References, parse_inline
from .sanitize import clean

ImageKey = Callable[[str], str]
_MAX_EMPHASIS_DEPTH = 20
_MAX_LABEL_CHARS = 500  # of a formula, for screen readers
_task_marker = re.compile(r"\[([ xX])\](?=\s)")  # GFM 5.3
_EMPHASIS_TAGS = {"em": "em", "strong": "strong", "s": "del"}


@dataclass
class LinkTargets:
    """What links and images of a text lead to.

    ``image_key`` returns the key of a bitmap for the page; see ``HtmlBlocks``.
    """

    addresses: Mapping[str, str]
    image_key: ImageKey | None
    references: References
    held: DataUriPlaceholders

    def resolve(self, address: str, *, image: bool) -> str:
        """Return what the address of an image or a link stands for."""
        return resolve(self.held.restore(address), self.addresses, image=image)[0]

    def full_address(self, address: str) -> str:
        """Return the full address of an image, which is the same for all ways to write it."""
        return full_address(address, self.addresses)

    def destination(self, label: str) -> str:
        """Return the destination that a label is defined as, or ""."""
        found: str = self.references.get(normalizeReference(label), {}).get("href", "")
        return self.held.restore(found)


@dataclass
class LinkUse:
    """What one block asked its link targets, and the answers: with other answers, the block has other HTML.

    ``budget`` is how many characters the destinations of its references may still have.
    """

    targets: LinkTargets
    budget: int
    used_labels: list[tuple[str, str]] = field(default_factory=list)  # label and destination
    used_addresses: dict[tuple[str, bool], str] = field(default_factory=dict)  # address, is image: target
    images: list[str] = field(default_factory=list)  # full addresses of the images in the block

    def reference(self, label: str) -> str:
        """Return the destination that a label is defined as; "" if there is none or the budget is used up."""
        destination = self.targets.destination(label)
        self.budget -= len(destination)
        destination = destination if self.budget > 0 else ""
        self.used_labels.append((label, destination))
        return destination

    def resolve(self, address: str, *, image: bool) -> str:
        """Return what the address of an image or a link stands for."""
        address = self.targets.held.restore(address)
        target = self.targets.resolve(address, image=image)
        if not address.startswith("data:"):
            self.used_addresses[address, image] = target
        if image:
            self.images.append(self.targets.full_address(address))
        return target

    def has_changed(self, other: LinkUse) -> bool:
        """Whether ``other`` answers the same questions differently; this uses the budget of ``other``."""
        destinations = [other.reference(label) for label, _ in self.used_labels]
        return destinations != [destination for _, destination in self.used_labels] or any(
            other.targets.resolve(address, image=image) != target
            for (address, image), target in self.used_addresses.items()
        )


def block_html(tokens: list[Token], links: LinkUse, *, growing: bool = False) -> str:
    """Return one block as safe HTML; "" if nothing of it is seen. ``growing``: more text may come."""
    html = _Block(links, growing).write(tokens)
    return clean(visible(html)) if html else ""


def image_html(url: str, alt: str, image_key: ImageKey | None, *, link: bool = True) -> str:
    """Return a bitmap as ``<img>`` with its key, or the words of an image elsewhere, as a link to it if ``link``."""
    words = " ".join(alt.split())
    if is_bitmap(url):
        key = _key_of(url, image_key)
        return f'<img data-picture="{escape(key)}" alt="{escape(words)}">' if key else escape(f"image: {words}")
    destination = safe_destination(url)
    if destination is None or not destination[1]:
        return escape(f"image: {words} (not a bitmap, or too large)")
    address, host = destination
    text = escape(f"image: {words} ({host})" if words not in ("", "image") else f"image ({host})")
    href = _href_value(address)
    return f'<a class="nbb-remote" href="{href}" data-remote="{href}">{text}</a>' if link else text


def _key_of(url: str, image_key: ImageKey | None) -> str:
    try:
        return image_key(url) if image_key else ""
    except Exception:  # the caller's function may fail in any way: the text is shown all the same
        return ""


def _href_value(destination: str) -> str:
    """Return a result of ``safe_destination`` as the value of an attribute, without quotes of any kind."""
    return escape(destination.replace("&amp;", "&").replace("'", "%27"))


class _Block:
    """Writer of one block."""

    def __init__(self, links: LinkUse, growing: bool) -> None:
        self.links = links
        self.growing = growing

    def write(self, tokens: list[Token]) -> str:
        out: list[str] = []
        i = 0
        while i < len(tokens):
            token = tokens[i]
            if token.type == "paragraph_open":
                out.append(self.paragraph(tokens[i + 1].content, hidden=token.hidden, task=_in_item(tokens, i)))
                i += 2
            elif token.type == "inline":
                out.append(self.inline(parse_inline(token.content.strip(), self.links)))
            elif token.type == "list_item_open":
                task = tokens[i + 1].type == "paragraph_open" and _task_marker.match(tokens[i + 2].content)
                out.append('<li class="nbb-task">' if task else "<li>")
            else:
                out.append(self.simple(token))
            i += 1
        return "".join(out)

    def simple(self, token: Token) -> str:
        """Return the HTML of a token that does not depend on others."""
        match token.type:
            case "fence" | "code_block":
                return self.code_figure(token)
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
        content = generated_images_comment.sub("", content).strip()
        before = ""
        if task and (box := _task_marker.match(content)):
            symbol, name = ("☐", "open") if box[1] == " " else ("☑", "done")
            before, content = f'<span role="img" aria-label="{name}">{symbol}</span> ', content[box.end() :].lstrip()
        tokens = parse_inline(content, self.links)
        if len(tokens) == 1 and tokens[0].type == "formula" and tokens[0].meta["display"] and not before:
            return self.formula_block(tokens[0].content, tokens[0].markup)
        text = before + self.inline(tokens)
        if not text:
            return ""
        return f"{text}\n" if hidden else f"<p>{text}</p>"

    def code_figure(self, token: Token) -> str:
        name = language_of(token.info)
        code = self.links.targets.held.restore(token.content)
        return (
            f'<figure class="nbb-code"><figcaption>{escape(name)}</figcaption>'
            f'<pre tabindex="0"><code>{code_html(code, name, growing=self.growing)}</code></pre></figure>'
        )

    def formula_block(self, body: str, source: str = "") -> str:
        """Return a formula as a block of MathML, or its source as text if it is not shown."""
        latex = _latex(body)
        shown = mathml(latex, display=True) if latex else None
        if shown is None:
            return f"<p>{self.formula_source(source or body, latex, display=True)}</p>"
        label = escape(latex[:_MAX_LABEL_CHARS])
        return f'<div class="nbb-math" tabindex="0" role="math" aria-label="{label}">{shown}</div>'

    def formula_source(self, source: str, latex: str, *, display: bool) -> str:
        """Return a formula that is not converted as code; if it has ``latex``, a page with MathJax may show it."""
        if not 0 < len(latex) <= MAX_CHARS:
            return f'<code class="nbb-tex">{self.text(source.strip())}</code>'
        dollars = "$$" if display else "$"
        return f'<code class="nbb-tex nbb-latex">{self.text(f"{dollars}{latex}{dollars}")}</code>'

    def text(self, text: str) -> str:
        return escape(shorten_data_uris(self.links.targets.held.restore(text)), quote=False)

    def inline(self, tokens: list[Token]) -> str:
        out: list[str] = []
        open_tags: list[str] = []  # of emphasis; "" if nested too deeply
        link_end = ""
        url = ""
        link_depth = 0
        for token in tokens:
            kind, _, end = token.type.partition("_")
            if kind == "link":
                if token.nesting > 0:
                    link_depth += 1
                    if link_depth == 1:
                        url = str(token.attrs["href"])
                        link_start, link_end = self.link_tags(url)
                        out.append(link_start)
                else:
                    link_depth -= 1
                    if link_depth == 0:
                        out.append(link_end)
            elif kind in _EMPHASIS_TAGS and end == "open":
                open_tags.append(_EMPHASIS_TAGS[kind] if len(open_tags) < _MAX_EMPHASIS_DEPTH else "")
                out.append(f"<{open_tags[-1]}>" if open_tags[-1] else "")
            elif kind in _EMPHASIS_TAGS and end == "close":
                tag = open_tags.pop() if open_tags else ""
                out.append(f"</{tag}>" if tag else "")
            else:
                if kind == "image" and link_depth:
                    self.links.images.append(url)  # g4f writes a generated image as a link to itself
                out.append(self.inline_token(token, in_link=link_depth > 0))
        return "".join(out)

    def link_tags(self, url: str) -> tuple[str, str]:
        destination = safe_destination(self.links.targets.held.restore(url))
        return (f'<a href="{_href_value(destination[0])}">', "</a>") if destination else ("", "")

    def inline_token(self, token: Token, *, in_link: bool) -> str:
        match token.type:
            case "code_inline":
                return f"<code>{self.text(token.content)}</code>"
            case "softbreak":
                return "\n"
            case "hardbreak":
                return "<br>"
            case "image":
                targets = self.links.targets
                alt = shorten_data_uris(targets.held.restore(token.content))
                return image_html(str(token.attrs["src"]), alt, targets.image_key, link=not in_link)
            case "formula":
                latex, display = _latex(token.content), bool(token.meta["display"])
                shown = mathml(latex, display=display) if latex else None
                return shown or self.formula_source(token.markup, latex, display=display)
        return self.text(token.content)


def _in_item(tokens: list[Token], i: int) -> bool:
    return i > 0 and tokens[i - 1].type == "list_item_open"


def _latex(body: str) -> str:
    """Return the LaTeX of a formula without its dollars; "" if it acts or is invalid."""
    found = safe_formula(body, display=True)
    return found.strip("$").strip() if found else ""
