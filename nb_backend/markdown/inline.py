"""The text inside a block of safe Markdown: one scan, which keeps it but for what could act."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from typing import ClassVar, Protocol

from ..text import HIDDEN, entities, has_hidden, visible
from . import elements as parts
from .data_uris import is_bitmap
from .scan import _bare, bare_address, formula_in_brackets, formula_in_dollars, link_label, link_target

_DOLLAR = "\0"  # a dollar that is no formula's, written when it is known how many there are
_SPAN_BACKSLASH = "<span>&#92;</span>"  # in a text of its own: MathJax reads the page once more
_special = re.compile(rf"\\|`+|<|&|!?\[|\]|\$+|@{{2,}}|\n[ \t]*|\||https?://|www\.|ftp://|{HIDDEN}", re.IGNORECASE)
_block_start = re.compile(
    r"[-+*](?=[ \t]|$)|#{1,6}(?=\s|$)|>|~{3}|=+[ \t]*$|[-:|][-:| \t]*$|[-*_][ \t]*(?:[-*_][ \t]*){2,}$"
    r"|\d{1,9}(?=[.)](?:\s|$))",
    re.MULTILINE,
)
_autolink = re.compile(
    r"<(https?://[^\s<>`]+|mailto:[^\s<>`]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+)>", re.ASCII | re.IGNORECASE
)
_bare_in_text = re.compile(r"\x01([^\x02]*)\x02([.,;:!?)*_~'\"]*(?:\s|\Z))?")
_after_backslash = re.compile(r"(?!(?:begin|ref|eqref)(?![a-z])|https?://|www\.)[a-z0-9]", re.IGNORECASE)  # no syntax


class StandsFor(Protocol):
    """Gives what is written for an address."""

    def __call__(self, address: str, *, image: bool) -> str:
        """Give it for the address of an image, or of a link."""


class Inline:
    """The text of one paragraph, heading or table cell; ``write`` is called once.

    ``reference`` gives the address a label stands for, or ""; ``stands_for`` what is written for the address of an
    image or a link. ``cell``: in a table's row. ``starts_lines``: the text has lines of its own, which must not start a
    block.
    """

    def __init__(
        self,
        source: str,
        reference: Callable[[str], str],
        stands_for: StandsFor,
        *,
        cell: bool = False,
        starts_lines: bool = False,
    ) -> None:
        self.source = source
        self.reference = reference
        self.stands_for = stands_for
        self.cell = cell
        self.starts_lines = starts_lines
        self.out: list[str] = []
        self.openers: list[tuple[int, int]] = []  # where `[` or `![` is in `out`, and where its text starts in `source`
        self.images: list[tuple[int, str]] = []  # where an image is in `out`, and what it is inside a link
        self.formulas = 0
        self.closers: dict[str, int] = {}  # where a formula's next closing bracket is: each is looked for once
        self.ticks: dict[int, list[int]] = defaultdict(list)
        for match in re.finditer("`+", source):
            self.ticks[len(match[0])].append(match.start())

    def write(self) -> str:
        """Give the text, safe."""
        position = self._line_start(0) if self.starts_lines else 0
        while match := _special.search(self.source, position):
            if match.start() > position:
                self.out.append(self.source[position : match.start()])
            position = self._handlers.get(match[0][0].lower(), Inline._hidden)(self, match)
        self.out.append(self.source[position:])
        text = "".join(self.out)
        alone = text.count(_DOLLAR) + self.formulas == 1
        text = text.replace(_DOLLAR, "\\$" if alone else "<span>&#36;</span>")
        return _bare_in_text.sub(_bare_or_in_brackets, text)

    def _line_start(self, position: int) -> int:
        match = _block_start.match(self.source, position)
        if match is None:
            return position
        if match[0].isdigit():
            self.out.append(match[0])
            position = match.end()
        self.out.append("\\" + self.source[position])
        return position + 1

    # Each handler writes what starts at the match, and gives the position after what it has read.

    def _newline(self, match: re.Match[str]) -> int:
        if self.out and self.out[-1].endswith((" ", "\t")):
            text = self.out[-1]
            self.out[-1] = text.rstrip(" \t") + ("  " if text.endswith("  ") else "")
        self.out.append("\n" if self.starts_lines else " ")
        return self._line_start(match.end()) if self.starts_lines else match.end()

    def _hidden(self, match: re.Match[str]) -> int:
        self.out.append(f"[U+{ord(match[0]):04X}&#93;")
        return match.end()

    def _pipe(self, match: re.Match[str]) -> int:
        self.out.append("\\|" if self.cell else "|")
        return match.end()

    def _at_signs(self, match: re.Match[str]) -> int:
        self.out.append("@" + "&#64;" * (len(match[0]) - 1))
        return match.end()

    def _ftp(self, match: re.Match[str]) -> int:
        self.out.append(f"{match[0][:-2]}&#47;/")
        return match.end()

    def _backslash(self, match: re.Match[str]) -> int:
        if end := self._formula_in_brackets(match.start()):
            return end
        sign = self.source[match.end() : match.end() + 1]
        if sign == "\n" and self.starts_lines:
            self.out.append("\\")
        elif sign and re.match(f"[{parts.PUNCTUATION}]", sign):
            self._escaped(sign, match.end() + 1)
            return match.end() + 1
        else:
            self._literal_backslash(match.end())
        return match.end()

    def _escaped(self, sign: str, end: int) -> None:
        if sign == "\\":
            self._literal_backslash(end)
        elif sign == "$":
            self.out.append(_DOLLAR)
        else:
            self.out.append(f"&#{ord(sign)};" if sign in "<&@([]" else f"\\{sign}")

    def _literal_backslash(self, end: int) -> None:
        if _after_backslash.match(self.source, end):
            self.out.append("\\")
        else:
            self.out.append("&#92;" if self.source[end : end + 1] in " \t\n" else _SPAN_BACKSLASH)

    def _entity(self, match: re.Match[str]) -> int:
        found = parts.entity.match(self.source, match.start())
        if found is None:
            self.out.append("&")
            return match.end()
        sign = parts.entity_sign(found[0])
        if not sign:
            self.out.append(f"&amp;{found[0][1:]}")
        elif has_hidden(sign):
            self.out += [f"[U+{ord(character):04X}&#93;" for character in sign]
        else:
            self.out.append({"$": _DOLLAR, "\\": _SPAN_BACKSLASH}.get(sign, found[0]))
        return found.end()

    def _code(self, match: re.Match[str]) -> int:
        length = len(match[0])
        ends = self.ticks[length]
        i = bisect_right(ends, match.start())
        if i == len(ends):
            self.out.append("\\`" * length)
            return match.end()
        text = self.source[match.end() : ends[i]].replace("\n", " ")
        if text.strip(" ") and text[0] == text[-1] == " ":
            text = text[1:-1]
        if self.out and self.out[-1].endswith("$"):  # JupyterLab would take it for a part of the code
            self.out.append(f"<code>{entities(text)}</code>")
        else:
            self.out.append(parts.code_span(text, cell=self.cell))
        return ends[i] + length

    def _dollars(self, match: re.Match[str]) -> int:
        found = formula_in_dollars.match(self.source, match.start())
        if found is None:
            self.out.append(_DOLLAR * len(match[0]))
            return match.end()
        return self._formula(found[1] or found[2], *found.span(), display=found[1] is not None)

    def _formula_in_brackets(self, start: int) -> int | None:
        found = formula_in_brackets(self.source, start, self.closers)
        return self._formula(found[0], start, found[1], display=found[2]) if found else None

    def _formula(self, body: str, start: int, end: int, *, display: bool) -> int:
        text = parts.formula(body, display=display, cell=self.cell)
        if text is None:
            self.out.append(f"<code>{entities(self.source[start:end].replace(chr(10), ' '))}</code>")
        else:
            self.out.append(" " + text if self.out and self.out[-1].endswith("$") else text)
            self.formulas += 1
        return end

    def _angle(self, match: re.Match[str]) -> int:
        found = _autolink.match(self.source, match.start())
        url = found[1] if found else ""
        if found and (target := parts.address(url if ":" in url else f"mailto:{url}")):
            self._forget_link_openers()
            if _bare.fullmatch(url) or ":" not in url:
                self.out.append(found[0])
            else:
                self._append_link(f"[{_literal(url)}]({target[0]})")
            return found.end()
        follows = self.source[match.end() : match.end() + 1]
        self.out.append("<" if re.match(r"[ \d=]", follows, re.ASCII) else "&lt;")
        return match.end()

    def _bare_address(self, match: re.Match[str]) -> int:
        url = bare_address(self.source, match.start())
        if len(url) <= len(match[0]):
            self.out.append(match[0])
            return match.end()
        self.out.append(f"\1{url}\2")  # marked: how it is written depends on what follows
        return match.start() + len(url)

    def _opener(self, match: re.Match[str]) -> int:
        self.openers.append((len(self.out), match.end()))
        self.out.append(match[0])
        return match.end()

    def _closer(self, match: re.Match[str]) -> int:
        if self.openers:
            index, start = self.openers.pop()
            url, end = self._target(start, match.start())
            if url and self._link(index, start, match.start(), url):
                return end
        follows = self.source[match.end() : match.end() + 1]
        if follows and follows in "(:":
            self.out.append(f"]&#{ord(follows)};")
            return match.end() + 1
        self.out.append("]")
        return match.end()

    def _target(self, start: int, end: int) -> tuple[str, int]:
        """Give the address of the link whose text is ``source[start:end]``, and where the link ends; "" for no link."""
        if found := link_target.match(self.source, end + 1):
            return parts.unescape_address(found[1] or found[2] or ""), found.end()
        label = link_label.match(self.source, end + 1)
        if label and label[1]:
            return self.reference(label[1]), label.end()
        after = label.end() if label else end + 1
        return (self.reference(self.source[start:end]) if end - start <= 999 else ""), after

    def _link(self, index: int, start: int, end: int, url: str) -> bool:
        """Write the link or image opened at ``out[index]``, unless its address is none to follow."""
        url = self.stands_for(url, image=self.out[index] == "![")
        target = parts.address(url)
        if self.out[index] == "![":
            alt = self.source[start:end][:200]
            if is_bitmap(url):
                text = link = f"![{entities(alt)}]({url})"
            elif target and target[1]:
                text = (
                    f"image: {_literal(alt)} ({target[1]})"
                    if alt.strip() not in ("", "image")
                    else f"image ({target[1]})"
                )
                link = f"[{text}]({target[0]})"
            elif re.match(r"data:[^,]*;base64,", url):
                text = link = f"image: {_literal(alt)} (no bitmap, or too large)"
            else:
                return False
            while self.images and self.images[-1][0] >= index:
                self.images.pop()
            del self.out[index:]
            self.images.append((index, text))
        elif target:
            while self.images and self.images[-1][0] > index:
                i, text = self.images.pop()
                self.out[i] = text  # a link in a link is none
            link = f"[{''.join(map(_in_link, self.out[index + 1 :]))}]({target[0]})"
            del self.out[index:]
            self._forget_link_openers()
        else:
            return False
        self._append_link(link)
        return True

    def _append_link(self, link: str) -> None:
        if self.out and self.out[-1].endswith("!") and self.out[-1] != "\\!":
            self.out[-1] = self.out[-1][:-1] + "&#33;"  # or the link would be an image
        self.out.append(link)

    def _forget_link_openers(self) -> None:
        """A link has been written: what is open around it can only be an image."""
        self.openers = [opener for opener in self.openers if self.out[opener[0]] == "!["]

    _handlers: ClassVar[dict[str, Callable[[Inline, re.Match[str]], int]]] = {
        "\\": _backslash, "`": _code, "<": _angle, "&": _entity, "[": _opener, "!": _opener, "]": _closer,
        "$": _dollars, "@": _at_signs, "\n": _newline, "|": _pipe, "h": _bare_address, "w": _bare_address, "f": _ftp,
    }  # fmt: skip


def _literal(text: str) -> str:
    """Write text so that nothing in it is Markdown or a formula."""
    signs = {"$": _DOLLAR, "\\": _SPAN_BACKSLASH}
    text = re.sub(r"\s+", " ", visible(text))
    return re.sub(r"[^\w .,:;()/-]|_", lambda match: signs.get(match[0], f"&#{ord(match[0])};"), text)


def _in_link(piece: str) -> str:
    """Write a piece of text as a piece of a link's text."""
    if piece == "![":
        return "!\\["
    return f"\\{piece}" if piece[:1] in ("[", "]") else piece.strip("\1\2")


def _bare_or_in_brackets(match: re.Match[str]) -> str:
    """Leave a bare address as it is if every parser sees its end there, else write ``<address>``."""
    if match[2] is not None:
        return match[1] + match[2]
    return f"<http://{match[1]}>" if match[1][:4].lower() == "www." else f"<{match[1]}>"
