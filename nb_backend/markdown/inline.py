"""Write the text of a paragraph, heading or table cell as safe Markdown: one scan that changes only what could act.

``elements`` and ``links`` name the sources of the rules that exist because of one renderer.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from typing import ClassVar

from ..text import HIDDEN, entities, has_hidden, visible
from .data_uris import is_bitmap
from .effort import Effort, count_elements
from .elements import ASCII_PUNCTUATION, code_span, decode_entity, entity, safe_formula
from .emphasis import is_slow, mark_run, write_emphasis
from .links import MAX_ALT_CHARS, Links, link_destination, safe_destination
from .scan import bare_url, bare_url_pattern, formula_in_brackets, formula_in_dollars

_LITERAL_DOLLAR = "\0"  # how it is written depends on the number of dollars in the whole text
_BARE_URL_START, _BARE_URL_END = "\1", "\2"  # how it is written depends on what follows
_MAX_FORMULA_WORK = 2_000_000  # delimiters in formulas times characters of the paragraph
_MAX_FAST_CHARS = 300  # in a text that short, nothing takes long
_ISOLATED_BACKSLASH = "<span>&#92;</span>"  # MathJax searches each element by itself, so it finds no `\(` here
_special_character = re.compile(
    rf"\\|`+|<|&|!?\[|\]|\$+|@{{2,}}|\n[ \t]*|\||https?://|www\.|ftp://|{HIDDEN}", re.IGNORECASE
)
_special_or_delimiter = re.compile(rf"{_special_character.pattern}|\*+|_+|~+|!", re.IGNORECASE)
_block_start_marker = re.compile(
    r"[-+*](?=[ \t]|$)|#{1,6}(?=\s|$)|>|~{3}|=+[ \t]*$|[-:|][-:| \t]*$|[-*_][ \t]*(?:[-*_][ \t]*){2,}$"
    r"|\d{1,9}(?=[.)](?:\s|$))",
    re.MULTILINE,
)
_autolink = re.compile(
    r"<(https?://[^\s<>`]+|mailto:[^\s<>`]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+)>", re.ASCII | re.IGNORECASE
)
_not_plain = re.compile(r"[^A-Za-z0-9 ,+\-\x80-\U0010ffff]|\A[,+-]")
_opener_in_formula = re.compile(r"(?<![^\W_])[*_~]+(?=\S)")
_written_bare_url = re.compile(rf"{_BARE_URL_START}([^{_BARE_URL_END}]*){_BARE_URL_END}([.,;:!?)*_~'\"]*(?:\s|\Z))?")
_literal_after_backslash = re.compile(r"(?!(?:begin|ref|eqref)(?![a-z])|https?://|www\.)[a-z0-9]", re.IGNORECASE)


class Inline:
    """Writer of one paragraph, heading or table cell; ``write`` is called once.

    ``multiline``: the text keeps its line breaks, and none of its lines may start a block. What takes more than the
    ``effort`` that is left is written as plain text, and so is a text with too many elements for its length.
    """

    def __init__(
        self,
        source: str,
        links: Links,
        *,
        in_table: bool = False,
        multiline: bool = False,
        effort: Effort,
    ) -> None:
        self.source = source
        self.links = links
        self.effort = effort
        self.is_slow = len(source) > _MAX_FAST_CHARS and is_slow(source)
        self.in_table = in_table
        self.multiline = multiline
        self.out: list[str] = []
        self.openers: list[tuple[int, int]] = []  # index of `[` or `![` in `out`, position of its text in `source`
        self.images: list[tuple[int, str]] = []  # index of an image in `out`, and how it is written inside a link
        self.formula_count = 0
        self.formula_delimiters = 0  # that may open emphasis
        self.next_closers: dict[str, int] = {}  # see `formula_in_brackets`
        self.backtick_runs: dict[int, list[int]] = defaultdict(list)  # positions by length
        for match in re.finditer("`+", source):
            self.backtick_runs[len(match[0])].append(match.start())

    def write(self) -> str:
        """Return the text as safe Markdown."""
        position = self._line_start(0) if self.multiline else 0
        search = (_special_or_delimiter if self.is_slow else _special_character).search
        while match := search(self.source, position):
            if match.start() > position:
                self.out.append(self.source[position : match.start()])
            position = self._handlers.get(match[0][0].lower(), Inline._hidden)(self, match)
        self.out.append(self.source[position:])
        text = "".join(self.out)
        if self.is_slow:
            text = write_emphasis(text)
        # MathJax reads the text between two dollars of one element as a formula, even if they were escaped.
        is_only_dollar = text.count(_LITERAL_DOLLAR) + self.formula_count == 1
        text = text.replace(_LITERAL_DOLLAR, "\\$" if is_only_dollar else "<span>&#36;</span>")
        size = len(self.source)
        count = count_elements(text)
        if size <= _MAX_FAST_CHARS:
            count //= 2  # most elements are a pair of delimiters, or a backslash and what it escapes
        if not self.effort.spend_on_text(count, size):
            return self._plain()
        return _written_bare_url.sub(_bare_or_autolink, text)

    def _plain(self) -> str:
        """Return the text without any element; within code, MathJax finds no formula."""
        text = _not_plain.sub(lambda match: f"&#{ord(match[0])};", visible(self.source))
        return f"<code>{text}</code>" if "$" in self.source or "\\" in self.source else text

    def _literal(self, character: str) -> str:
        """Write punctuation as itself. Each backslash is an element for marked, so a slow text gets an entity."""
        return f"&#{ord(character)};" if self.is_slow else f"\\{character}"

    def _line_start(self, position: int) -> int:
        """Escape what would start a block at the start of a line; return the position after it."""
        match = _block_start_marker.match(self.source, position)
        if match is None:
            return position
        if match[0].isdigit():
            self.out.append(match[0])
            position = match.end()
        self.out.append(self._literal(self.source[position]))
        return position + 1

    # Each handler writes the text that starts at the match, and returns the position after it.

    def _newline(self, match: re.Match[str]) -> int:
        if self.out and self.out[-1].endswith((" ", "\t")):
            text = self.out[-1]
            self.out[-1] = text.rstrip(" \t") + ("  " if text.endswith("  ") else "")
        self.out.append("\n" if self.multiline else " ")
        return self._line_start(match.end()) if self.multiline else match.end()

    def _hidden(self, match: re.Match[str]) -> int:
        self.out.append(f"[U+{ord(match[0]):04X}&#93;")  # with a `]` that closes no link
        return match.end()

    def _pipe(self, match: re.Match[str]) -> int:
        self.out.append("\\|" if self.in_table else "|")
        return match.end()

    def _at_signs(self, match: re.Match[str]) -> int:
        self.out.append("@" + "&#64;" * (len(match[0]) - 1))  # JupyterLab puts formulas in place of `@@0@@`
        return match.end()

    def _ftp(self, match: re.Match[str]) -> int:
        self.out.append(f"{match[0][:-2]}&#47;/")  # marked makes a link of a bare ftp URL
        return match.end()

    def _backslash(self, match: re.Match[str]) -> int:
        if end := self._formula_in_brackets(match.start()):
            return end
        following = self.source[match.end() : match.end() + 1]
        if following == "\n" and self.multiline:
            self.out.append("\\")
        elif following and re.match(f"[{ASCII_PUNCTUATION}]", following):
            self._escaped(following, match.end() + 1)
            return match.end() + 1
        else:
            self._literal_backslash(match.end())
        return match.end()

    def _escaped(self, character: str, end: int) -> None:
        if character == "\\":
            self._literal_backslash(end)
        elif character == "$":
            self.out.append(_LITERAL_DOLLAR)
        else:
            self.out.append(f"&#{ord(character)};" if character in "<&@([]" else self._literal(character))

    def _literal_backslash(self, end: int) -> None:
        if _literal_after_backslash.match(self.source, end):  # neither an escape nor a command that MathJax looks for
            self.out.append("&#92;" if self.is_slow else "\\")
        else:
            self.out.append("&#92;" if self.source[end : end + 1] in " \t\n" else _ISOLATED_BACKSLASH)

    def _entity(self, match: re.Match[str]) -> int:
        found = entity.match(self.source, match.start())
        if found is None:
            self.out.append("&")
            return match.end()
        text = decode_entity(found[0])
        if not text:
            self.out.append(f"&amp;{found[0][1:]}")
        elif has_hidden(text):
            self.out += [f"[U+{ord(character):04X}&#93;" for character in text]
        else:
            self.out.append({"$": _LITERAL_DOLLAR, "\\": _ISOLATED_BACKSLASH}.get(text, found[0]))
        return found.end()

    def _code_span(self, match: re.Match[str]) -> int:
        length = len(match[0])
        ends = self.backtick_runs[length]
        i = bisect_right(ends, match.start())
        if i == len(ends):
            self.out.append(self._literal("`") * length)
            return match.end()
        text = self.source[match.end() : ends[i]].replace("\n", " ")
        if text.strip(" ") and text[0] == text[-1] == " ":
            text = text[1:-1]
        if self.out and self.out[-1].endswith("$"):  # JupyterLab's removeMath takes a `$` before code as part of it
            self.out.append(f"<code>{entities(text)}</code>")
        else:
            self.out.append(code_span(text, in_table=self.in_table))
        return ends[i] + length

    def _dollars(self, match: re.Match[str]) -> int:
        found = formula_in_dollars.match(self.source, match.start())
        if found is None:
            self.out.append(_LITERAL_DOLLAR * len(match[0]))
            return match.end()
        return self._formula(found[1] or found[2], *found.span(), display=found[1] is not None)

    def _formula_in_brackets(self, start: int) -> int | None:
        found = formula_in_brackets(self.source, start, self.next_closers)
        return self._formula(found[0], start, found[1], display=found[2]) if found else None

    def _formula(self, body: str, start: int, end: int, *, display: bool) -> int:
        text = None if self._is_slow_formula(body) else safe_formula(body, display=display, in_table=self.in_table)
        if text is None or not self.effort.spend_on_formula(text):
            self.out.append(f"<code>{entities(self.source[start:end].replace(chr(10), ' '))}</code>")
        else:
            self.out.append(" " + text if self.out and self.out[-1].endswith("$") else text)
            self.formula_count += 1
        return end

    def _is_slow_formula(self, body: str) -> bool:
        """Whether the delimiters in the formulas so far are too many: JupyterLab's table of contents parses them."""
        if not self.is_slow:
            return False
        self.formula_delimiters += len(_opener_in_formula.findall(body))
        return self.formula_delimiters * len(self.source) > _MAX_FORMULA_WORK

    def _angle(self, match: re.Match[str]) -> int:
        found = _autolink.match(self.source, match.start())
        url = found[1] if found else ""
        if found and (target := safe_destination(url if ":" in url else f"mailto:{url}")):
            self._forget_link_openers()
            if bare_url_pattern.fullmatch(url) or ":" not in url:
                self.out.append(found[0])
            else:
                self._append_link(f"[{_escape_all(url)}]({target[0]})")
            return found.end()
        following = self.source[match.end() : match.end() + 1]
        self.out.append("<" if re.match(r"[ \d=]", following, re.ASCII) else "&lt;")
        return match.end()

    def _bare_url(self, match: re.Match[str]) -> int:
        url = bare_url(self.source, match.start())
        if len(url) <= len(match[0]):
            self.out.append(match[0])
            return match.end()
        self.out.append(f"{_BARE_URL_START}{url}{_BARE_URL_END}")
        return match.start() + len(url)

    def _delimiters(self, match: re.Match[str]) -> int:
        self.out.append(mark_run(self.source, *match.span()))
        return match.end()

    def _opener(self, match: re.Match[str]) -> int:
        if match[0] == "!":
            self.out.append("&#33;")
            return match.end()
        self.openers.append((len(self.out), match.end()))
        self.out.append(match[0])
        return match.end()

    def _closer(self, match: re.Match[str]) -> int:
        if self.openers:
            index, start = self.openers.pop()
            url, end = link_destination(self.source, start, match.start(), self.links)
            if url and self._link(index, start, match.start(), url):
                return end
        following = self.source[match.end() : match.end() + 1]
        if following and following in "(:":
            self.out.append(f"]&#{ord(following)};")
            return match.end() + 1
        self.out.append("]")
        return match.end()

    def _link(self, index: int, start: int, end: int, url: str) -> bool:
        """Write the link or image opened at ``out[index]``; return False if its address is not one to follow."""
        url = self.links.resolve(url, image=self.out[index] == "![")
        target = safe_destination(url)
        if self.out[index] == "![":
            alt = self.source[start:end][:MAX_ALT_CHARS]
            if is_bitmap(url):
                text = link = f"![{entities(alt)}]({url})"
            elif target and target[1]:
                text = (
                    f"image: {_escape_all(alt)} ({target[1]})"
                    if alt.strip() not in ("", "image")
                    else f"image ({target[1]})"
                )
                link = f"[{text}]({target[0]})"
            elif re.match(r"data:[^,]*;base64,", url):
                text = link = f"image: {_escape_all(alt)} (not a bitmap, or too large)"
            else:
                return False
            while self.images and self.images[-1][0] >= index:
                self.images.pop()
            del self.out[index:]
            self.images.append((index, text))
        elif target:
            while self.images and self.images[-1][0] > index:
                i, text = self.images.pop()
                self.out[i] = text  # links cannot contain links (CommonMark 6.3)
            text = "".join(map(_in_link, self.out[index + 1 :]))
            link = f"[{write_emphasis(text) if self.is_slow else text}]({target[0]})"
            del self.out[index:]
            self._forget_link_openers()
        else:
            return False
        self._append_link(link)
        return True

    def _append_link(self, link: str) -> None:
        if self.out and self.out[-1].endswith("!") and self.out[-1] != "\\!":
            self.out[-1] = self.out[-1][:-1] + "&#33;"  # otherwise the link would be an image
        self.out.append(link)

    def _forget_link_openers(self) -> None:
        """Drop the open ``[`` around a link that was written: links cannot contain links, but image texts can."""
        self.openers = [opener for opener in self.openers if self.out[opener[0]] == "!["]

    _handlers: ClassVar[dict[str, Callable[[Inline, re.Match[str]], int]]] = {
        "\\": _backslash, "`": _code_span, "<": _angle, "&": _entity, "[": _opener, "!": _opener, "]": _closer,
        "$": _dollars, "@": _at_signs, "\n": _newline, "|": _pipe, "h": _bare_url, "w": _bare_url, "f": _ftp,
        "*": _delimiters, "_": _delimiters, "~": _delimiters,
    }  # fmt: skip


def _escape_all(text: str) -> str:
    """Write text so that nothing in it is Markdown or a formula."""
    special = {"$": _LITERAL_DOLLAR, "\\": _ISOLATED_BACKSLASH}
    text = re.sub(r"\s+", " ", visible(text))
    return re.sub(r"[^\w .,:;()/-]|_", lambda match: special.get(match[0], f"&#{ord(match[0])};"), text)


def _in_link(written: str) -> str:
    """Return an element of ``Inline.out`` as part of a link's text."""
    if written == "![":
        return "!\\["
    return f"\\{written}" if written[:1] in ("[", "]") else written.strip(_BARE_URL_START + _BARE_URL_END)


def _bare_or_autolink(match: re.Match[str]) -> str:
    """Return a bare URL as it is if every renderer sees its end there, else as an autolink, ``<url>``."""
    url, following = match.groups()
    if following is not None:
        return f"{url}{following}"
    return f"<http://{url}>" if url[:4].lower() == "www." else f"<{url}>"
