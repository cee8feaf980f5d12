"""The text of HTML that an object shows in a notebook: tables become rows of Markdown, everything else lines."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from .table_text import ShortenedText, grid_text

_UNSEEN = {"style", "script", "head", "template", "noscript", "svg"}
_BLOCKS = {
    *("address", "article", "blockquote", "br", "caption", "dd", "details", "div", "dl", "dt", "figcaption", "figure"),
    *("footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre"),
    *("section", "summary", "ul", "td", "th", "tr"),  # those of a table inside a cell
}
_MAX_SPAN = 1000  # columns or rows of a cell
_MAX_SPANNED = 200_000  # columns times rows of all cells that span several; more would take minutes


def html_text(html: str) -> str:
    """Return the text of HTML, shortened if it has a large table; "" if there is none."""
    reader = _Reader()
    end = html.rfind(">") + 1  # the parser looks at each "<" behind it for that many times
    html = html[:end] + html[end:].replace("<", "&lt;")
    reader.feed(html.replace("<![", "<?["))  # both are a comment up to ">", but the parser fails at some of the first
    reader.close()
    text = reader.text()
    return ShortenedText(text, reader.remark) if reader.remark else text


class _Reader(HTMLParser):
    """A reader that collects text and the cells of tables. A table inside a cell is part of the cell's text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.remark = ""  # of the first table that is shortened
        self._done: list[str] = []
        self._parts: list[str] = []  # of the text, or of the cell that is open
        self._unseen = 0  # elements around that are not shown
        self._tables = 0  # tables around
        self._in_cell = False
        self._spans = (1, 1)  # columns and rows of the cell that is open
        self._rows: list[list[str]] = []
        self._spanned: dict[int, int] = {}  # columns that a cell above takes, and in how many rows still
        self._may_span = _MAX_SPANNED

    def text(self) -> str:
        """Return all text that was read."""
        if self._tables:  # it is not closed
            self._end_table()
        self._end_text()
        return "\n\n".join(self._done)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self._unseen += 1
        elif tag == "table":
            self._tables += 1
            if self._tables == 1:
                self._end_text()
                self._rows, self._spanned = [], {}
        elif self._tables == 1 and tag == "tr":
            self._end_cell()
            self._rows.append([])
        elif self._tables == 1 and tag in ("td", "th"):
            self._start_cell(dict(attrs))
        elif tag in _BLOCKS:
            self._parts.append("\n")
        elif tag == "img" and (alt := dict(attrs).get("alt")):
            self._parts.append(alt)

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        elif tag == "table" and self._tables:
            self._tables -= 1
            if not self._tables:
                self._end_table()
        elif self._tables == 1 and tag in ("td", "th"):
            self._end_cell()
        elif self._tables == 1 and tag == "caption":
            self._end_text()
        elif tag in _BLOCKS:
            self._parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self._parts.append(re.sub(r"\s+", " ", data))

    def _start_cell(self, attrs: dict[str, str | None]) -> None:
        self._end_cell()
        if not self._rows:
            self._rows.append([])
        self._fill_spanned()
        width, height = _span(attrs.get("colspan")), _span(attrs.get("rowspan"))
        self._spans = (width, height) if width * height <= self._may_span else (1, 1)
        self._may_span -= self._spans[0] * self._spans[1] - 1
        self._parts, self._in_cell = [], True

    def _end_cell(self) -> None:
        if self._in_cell:
            row = self._rows[-1]
            width, height = self._spans
            if height > 1:
                self._spanned |= dict.fromkeys(range(len(row), len(row) + width), height - 1)
            row += [" ".join("".join(self._parts).split()), *[""] * (width - 1)]
        self._parts, self._in_cell = [], False

    def _fill_spanned(self) -> None:
        """Add the cells of the row that a cell above takes."""
        row = self._rows[-1]
        while left := self._spanned.pop(len(row), 0):
            if left > 1:
                self._spanned[len(row)] = left - 1
            row.append("")

    def _end_table(self) -> None:
        self._end_cell()
        rows = [row for row in self._rows if row]
        width = max(map(len, rows), default=0)
        if rows:
            self._done.append(table := grid_text([row + [""] * (width - len(row)) for row in rows]))
            self.remark = self.remark or getattr(table, "remark", "")

    def _end_text(self) -> None:
        lines = (" ".join(line.split()) for line in "".join(self._parts).split("\n"))
        if text := "\n".join(line for line in lines if line):
            self._done.append(text)
        self._parts = []


def _span(number: str | None) -> int:
    return min(int(number), _MAX_SPAN) if number and number.isdecimal() and int(number) else 1
