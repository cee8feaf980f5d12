"""Render safe Markdown with parsers that make nothing harmless, and find what would act in the result."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from runpy import run_path

from markdown_it import MarkdownIt

from nb_backend.markdown.safe import safe_markdown

HOSTILE: list[str] = run_path(str(Path(__file__).parents[1] / "browser" / "hostile.py"))["HOSTILE"]


# This parser lets everything through: HTML stays HTML, and any URL makes a link.
raw = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
raw.validateLink = lambda url: True  # type: ignore[method-assign]
text_only = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
TAGS = {
    "p", "h1", "h2", "h3", "h4", "h5", "h6", "em", "strong", "del", "s", "code", "pre", "span", "ul", "ol", "li",
    "blockquote", "table", "thead", "tbody", "tr", "th", "td", "hr", "br", "a", "img",
}  # fmt: skip
ATTRIBUTES = {
    ("code", "class"),
    ("a", "href"),
    ("img", "src"),
    ("img", "alt"),
    ("td", "style"),
    ("th", "style"),
    ("ol", "start"),
}
VALUES = {
    "class": r"language-[\w+#.-]+",
    "href": r"(?i:https?)://[A-Za-z0-9][^\"<>\s]*|(?i:mailto):[^\"<>\s]*",
    "src": r"data:image/(png|jpe?g|gif|webp);base64,[A-Za-z0-9+/=]+",
    "style": r"text-align:(left|center|right)",
}
INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f\ud800-\udfff]"
)


class Page(HTMLParser):
    """A rendered answer as an HTML parser sees it: what is not allowed in it, its text and its code."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.wrong: list[str] = []
        self.text = ""
        self.code: list[str] = []
        self.runs = [""]  # text up to the next tag; MathJax searches each for formulas
        self.in_code = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            self.wrong.append(f"<{tag}>")
        for name, value in attrs:
            if (tag, name) not in ATTRIBUTES or not re.fullmatch(VALUES.get(name, "(?s).*"), value or ""):
                self.wrong.append(f"<{tag} {name}={value!r}>")
        if tag == "code":
            self.in_code = True
            self.code.append("")
        self.runs.append("")

    def handle_endtag(self, tag: str) -> None:
        self.in_code = self.in_code and tag != "code"
        self.runs.append("")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.in_code:
            self.code[-1] += data
        else:
            self.runs[-1] += data
        if found := INVISIBLE.search(data):
            self.wrong.append(ascii(found[0]))

    def handle_comment(self, data: str) -> None:
        self.wrong.append(f"comment {data}")

    handle_decl = handle_pi = unknown_decl = handle_comment


def without_formulas(text: str) -> tuple[str, list[str]]:
    """Do what JupyterLab's ``removeMath`` does (packages/rendermime/src/latex.ts): replace formulas by ``@@0@@``.

    Returns the text and the formulas.
    """
    formulas: list[str] = []
    text = text.replace("~", "~T")
    dollars = lambda match: match[0].replace("$", "~D")  # noqa: E731
    text = re.sub(r"^(`{3,}|(?:~T){3,})[^`\n]*\n([\s\S]*?)^\1`*$", dollars, text, flags=re.MULTILINE)
    text = re.sub(r"(^|[^\\])(`+)([^\n]*?[^`\n])\2(?!`)", dollars, text, flags=re.MULTILINE)
    pieces = re.split(
        r"(\$\$?|\\(?:begin|end)\{[a-z]*\*?\}|\\[{}$]|[{}]|(?:\n\s*)+|@@\d+@@|\\\\[()[\]])", text, flags=re.I
    )
    start: int | None = None
    end, braces, last, i = "", 0, None, 1

    def take(first: int, final: int) -> None:
        formula = "".join(pieces[first : final + 1])
        for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
            formula = formula.replace(character, entity)
        pieces[first : final + 1] = [f"@@{len(formulas)}@@"] + [""] * (final - first)
        formulas.append(formula.replace("~D", "$").replace("~T", "~"))

    while i < len(pieces):
        piece = pieces[i]
        if piece.startswith("@"):
            pieces[i] = f"@@{len(formulas)}@@"
            formulas.append(piece)
        elif start is None:
            if piece in ("$", "$$"):
                start, end, braces = i, piece, 0
            elif piece in ("\\\\(", "\\\\["):
                start, end, braces = i, piece.replace("(", ")").replace("[", "]"), 0
            elif piece[1:6] == "begin":
                start, end, braces = i, "\\end" + piece[6:], 0
        elif piece == end:
            if braces:
                last = i
            else:
                take(start, i)
                start = last = None
        elif re.search(r"\n.*\n", piece):
            if last is not None:
                i = last
                take(start, i)
            start, last, braces = None, None, 0
        else:
            braces = max(0, braces + {"{": 1, "}": -1}.get(piece, 0))
        i += 2
    if start is not None and last is not None:
        take(start, last)
    return "".join(pieces).replace("~D", "$").replace("~T", "~"), formulas


def jupyterlab(text: str) -> str:
    """Render as JupyterLab does: take formulas out, render Markdown, put formulas back into the HTML unescaped."""
    text, formulas = without_formulas(text)
    html = raw.render(text.replace("&#64;", "\ue000"))  # markdown-it would decode it
    return re.sub(r"@@(\d+)@@", lambda match: formulas[int(match[1])], html).replace("\ue000", "&#64;")


def wrong_in(text: str) -> list[str]:
    """Return what would act in the safe Markdown of a text, with each renderer."""
    return acting_in(safe_markdown(text))


def acting_in(markdown: str) -> list[str]:
    """Return what would act in Markdown that is to be safe, with each renderer."""
    safe = f"{markdown}\n\nFOOTER"
    wrong: list[str] = []
    for html in (raw.render(safe), jupyterlab(safe)):
        page = Page(html)
        wrong += page.wrong
        for run in page.runs:
            formulas = re.findall(r"\$\$.*?\$\$|\$(?:\\.|[^$])*?\$", run, re.DOTALL)
            wrong += [
                f for f in formulas if re.search(r"\\(href|style|class|cssId|require|def|unicode|newcommand)\b", f)
            ]
            rest = re.sub(r"\$\$.*?\$\$|\$(?:\\.|[^$])*?\$", "", run, flags=re.DOTALL)
            wrong += re.findall(r"\\[(\[]|\\begin\b|\\(?:eq)?ref\b", rest)
        if not html.endswith("<p>FOOTER</p>\n"):
            wrong.append("the text after it is swallowed")
    return wrong


FRAGMENTS = [
    *HOSTILE[:30], "<script>", "<img src=x onerror=hit()>", "<!--", "-->", "<![CDATA[", "<pre>", "</code>",
    "<div>", "<", ">", "[", "]", "(", ")", "](", "](javascript:hit())", "](https://e.x/a)", "![",
    "![a](https://e.x/i.png)", "![a](data:image/png;base64,AAAA)", "[r]", "[r]: https://e.x/y\n",
    "[r]: javascript:hit()\n", "<https://e.x/a>", "https://e.x/", "www.e.x", "ftp://e.x", "a@b.co", "`", "``",
    "```", "````", "~~~", "~~", "*", "**", "_", "\n", "\n\n", "    ", "  ", " ", "\t", "> ", "- ", "1. ", "# ",
    "---", "===", "|", "\n|---|---|\n", "| a | b |", "$", "$$", "$x$", '$"onclick=hit()$', "\\(", "\\)", "\\[",
    "\\]", "\\\\(", "\\\\)", "\\begin{align}", "\\end{align}", "{", "}", "\\$", "\\href{java\tscript:hit()}{x}",
    "\\", "\\\\", "\\`", "\\<", "\\@", "@@", "@@0@@", "@", "0", "&lt;", "&#36;", "&#92;", "&#x202e;", "&",
    "\u202e", "\u200b", "\x1b", "\x00", "word", "!", ":", "```python\n", "```mermaid\n",
    '``` "><img src=x onerror=hit()>\n', "`<b>`", "[ ] ", "<br>", "\xa0", "\r", "\x0b", "\x85", "\u2028", "é",
    "\ud800",
]  # fmt: skip
