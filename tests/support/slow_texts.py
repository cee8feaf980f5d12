"""Texts of 35 kB that block a page if they are rendered as they are written."""

from __future__ import annotations

SIZE = 35_000
UNITS = [
    "*a **a ", "**a", "*a", "*a* ", "**a** ", "***a", "_a", "_a_ ", "__a ", "~~a ", "~a~", "_a **a ~~a ", "a*", "!",
    "[", "![", "[a]", "[a](<", "[a](https://e.x)", "![a](https://e.x/i.png) ", "](", "[a][b]", "[a]: b\n", "[^1]",
    "`", "`a` ", "``a`", "`a", "&a", "&amp;", "&#36;", "<a", "<a>", "<https://a.b>", "< ", "http://", "http://a.b ",
    "www.a.b ", "a@b.c ", "a@", "@@", "|a", "| a | b |\n", "|-|-|\n", "> ", ">", "- ", "- a\n", "1. ", "# a\n",
    "a\n=\n", "```\n", "~~~\n", "$", "$a$ ", "$$", "$a_b$", "\\", "\\*", "\\(", "\\[\n", "{", "\\begin{a}\n", "a  \n",
    "\t", "  ", "a\n\n", "a\n", "---\n", "é", "\U0001f642", "、**", ".", "word ",
]  # fmt: skip
WRAPPERS = [
    "{}", "> {}", "- {}", "> - > {}", "- a\n  - {}", "| a | b |\n|---|---|\n| {} | b |\n", "[{}](https://e.x)", "# {}",
    "**{}**", "*a {}", "[{}", "`{}", "${}$", "$$\n{}\n$$", "```python\n{}\n```", "<details>\n\n{}",
]  # fmt: skip


def repeated(unit: str, size: int = SIZE) -> str:
    """Return a text of a size that repeats a unit."""
    return (unit * (size // len(unit) + 1))[:size]


# Each text has the words "begin" and "ends" around it, which stay readable.
SLOW_TEXTS: dict[str, str] = {
    name: f"begin {text} ends"
    for name, text in {
        "delimiters": repeated("*a **a "),
        "delimiters of three kinds": repeated("_a **a ~~a ***a __a "),
        "paired delimiters": repeated("*a* "),
        "nested delimiters": "*a **a " * 2500 + "a** a* " * 2500,
        "delimiters in words": repeated("a*a_a**"),
        "exclamation marks": repeated("!"),
        "brackets": repeated("[a ![b [c](<"),
        "links": repeated("[a](https://e.x)"),
        "code spans": repeated("`a` "),
        "backticks": "".join("`" * (number % 200 + 1) + "a" for number in range(350)),
        "backslashes": repeated("\\* \\_ \\ "),
        "entities": repeated("&a &amp; &#36;"),
        "angle brackets": repeated("<a <https://a.b> "),
        "addresses": repeated("http://a.b www.a.b a@b.c a@ "),
        "dollars": repeated("$"),
        "formulas": repeated("$a$ "),
        "a nested formula": "$" + "\\frac{1}{" * 3000 + "x" + "}" * 3000 + "$",
        "hard breaks": repeated("a  \n"),
        "quotes": repeated("> > > *a\n"),
        "lists": "\n" + repeated("- a\n"),
        "headings": "\n\n" + repeated("# a\n"),
        "paragraphs": repeated("a\n\n"),
        "pipes": "\n\n" + "|a" * 5000 + "\n" + "|-" * 5000 + "\n" + "|a" * 5000 + "\n\n",
        "a table of empty cells": "\n\n" + "|a" * 3000 + "\n" + "|-" * 3000 + "\n" + "|\n" * 9000 + "\n\n",
        "delimiters in a table": "\n\n|a|b|\n|-|-|\n" + "|*a **a `b [c|_a **b|\n" * 1700 + "\n\n",
        "delimiters in quotes and lists": "\n\n> - " + repeated("*a **a\n>   ") + "\n\n",
        "delimiters in a link": "[" + repeated("*a **a ") + "](https://e.x)",
        "lines in a list": "\n\n- " + repeated("**é\n  ") + "\n\n",
        "code": "\n\n```css\n" + repeated("{") + "\n```\n\n",
        "backticks in code": f"\n\n````\n{repeated('`a``b```c')}\n````\n\n",
        "all": repeated("*a [b `c &d<e |f \n> $g$ \\h ~~i http://j.k !_l "),
    }.items()
}
