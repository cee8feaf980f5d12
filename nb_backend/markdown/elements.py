r"""The elements of safe Markdown: code spans and blocks, formulas, text in one line.

Each function returns Markdown that does nothing, whichever parser reads it; ``safe`` lists what that means. Some rules
exist because of one renderer. Their sources:

* JupyterLab takes formulas out of the Markdown before marked reads it, puts ``@@0@@`` in their place, and later puts
  them back into the HTML unescaped (``removeMath`` and ``replaceMath`` in packages/rendermime/src/latex.ts).
* MathJax then searches the text of the page for formulas again, and for ``\ref``, ``\eqref`` and ``\begin``
  (docs.mathjax.org, "The TeX Input Processor Options": ``processRefs``, ``processEnvironments``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from html.entities import html5

from ..text import entities, has_hidden, safe_terminal, visible

ASCII_PUNCTUATION = r"""!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~"""  # for a character class; CommonMark 2.1
ENTITY = r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});"
MAX_LINE_CHARS = 300
_ERROR_BOX = '<div style="border-left:3px solid #d32f2f; padding-left:0.6em; margin-bottom:0.6em">'
_MAX_BACKTICKS = 100  # in a line of code
_MAX_COLORED_LINE = 4_000  # characters
_MAX_CODE_DEPTH = 500  # brackets that are not closed
_MAX_FORMULA_DEPTH = 30  # 100 nested fractions end the browser's tab
entity = re.compile(ENTITY, re.IGNORECASE)
_active_in_text = re.compile(r"^\s|\s$|^$|`|<[a-z/!?]|\][(\[:]|\$\$|@@|\\(?:begin|end)\b|\\\\|ftp:", re.IGNORECASE)
_active_in_container = re.compile(
    r"[$\t]|<[a-z/!?]|\][(\[:]|`{3}|~{3}|\\begin\{|\\\\[(\[]|^ +$", re.IGNORECASE | re.MULTILINE
)
# JupyterLab's removeMath hides only `$` and `~` in code: it would cut out the text between these.
_JUPYTERLAB_DELIMITERS = (("\\begin{", "\\end{"), ("\\\\(", "\\\\)"), ("\\\\[", "\\\\]"))
# Fences that a page draws instead of showing: JupyterLab and GitHub (mermaid), GitHub (math, geojson, topojson, stl:
# docs.github.com, "Creating diagrams"), GitLab and notebook extensions (plantuml, kroki, vega ...).
_drawn_language = re.compile(
    r"mermaid.*|(?:math|geojson|topojson|stl|vega(?:-?lite)?|plantuml|graphviz|wavedrom|kroki|raw)", re.I
)
# Macros of MathJax that set links, styles, ids or attributes, load extensions, or define other macros
# (docs.mathjax.org, "TeX and LaTeX extensions": html, unicode, require, newcommand, bbox, action, mathtools ...).
_active_macro = re.compile(
    r"\\(?:href|url|style|class|cssId|data|html\w*|require|unicode|char|U|symbol|[gex]?def|let|futurelet|global|csname|"
    r"(?:new|renew|provide)(?:command|environment)|Declare\w*|definecolor|mmlToken|bbox|includegraphics|mathtip|texttip|"
    r"toggle|(?:eq)?ref|input|include|special|write|catcode)(?![A-Za-z])"
)
_nesting = re.compile(r"\\(left|begin)(?![a-z])|\\(right|end)(?![a-z])|\\.|[{}]", re.DOTALL)


def decode_entity(text: str) -> str:
    """Return the characters of an entity (``&name;`` or ``&#1;``), or "" if HTML has none of that name."""
    return unescape(text) if text[1] == "#" or text[1:] in html5 else ""


def code_span(text: str, *, in_table: bool = False) -> str:
    r"""Write a code span, or ``<code>`` with entities if the text would act when a parser reads it outside of code.

    JupyterLab looks for ``\\(`` and ``\begin`` in code too, and a table row is split at ``|`` even in code (GFM 4.10).
    """
    text = visible(text)
    if _active_in_text.search(text) or (in_table and "|" in text):
        return f"<code>{entities(text)}</code>"
    return f"`{text}`"


def code_block(text: str, info: str, *, nested: bool) -> Iterator[str]:
    """Yield the lines of a fenced code block; ``nested``: in a list or quote.

    The block is one line of ``<pre>`` if JupyterLab would find a formula in it. In a list or quote it is one as well if
    the code would act outside of a fence: there, parsers disagree on where a fence ends, and JupyterLab sees none.
    """
    text = visible(text.removesuffix("\n"))
    has_formula = any(start in text and end in text for start, end in _JUPYTERLAB_DELIMITERS)
    is_active = has_formula or re.search(r"@@\d+@@", text) or (nested and _active_in_container.search(text))
    if is_active or _has_many_backticks(text):
        yield f"<pre><code>{entities(text)}</code></pre>"
        return
    name = language_of(info)
    is_plain = _drawn_language.fullmatch(name) or _is_slow_to_color(text)
    yield from fenced(text, "text" if is_plain and name else name).split("\n")


def _has_many_backticks(text: str) -> bool:
    """Whether JupyterLab's removeMath, which looks for code spans in code too, would take long for one of the lines."""
    return text.count("`") > _MAX_BACKTICKS and any(line.count("`") > _MAX_BACKTICKS for line in text.split("\n"))


def _is_slow_to_color(code: str) -> bool:
    """Whether code is nested so deeply, or has such long lines, that an editor takes long to color it."""
    if any(len(line) > _MAX_COLORED_LINE for line in code.split("\n")):
        return True
    depth = code.count("(") + code.count("[") + code.count("{") - code.count(")") - code.count("]") - code.count("}")
    return depth > _MAX_CODE_DEPTH


def fenced(text: str, language: str = "") -> str:
    """Write a fenced code block with a fence longer than any run of backticks in the text."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def language_of(info: str) -> str:
    """Return the language that an info string names (its first word, CommonMark 4.5), or ""."""
    name = re.match(r"[\w+#.-]{0,40}", info.strip(), re.ASCII)
    return name[0] if name else ""


def safe_formula(body: str, *, display: bool, in_table: bool = False, multiline: bool = False) -> str | None:
    """Write ``$body$`` or ``$$body$$``; None if the formula acts, or renderers would read it differently.

    ``multiline``: the formula may keep its line breaks; otherwise it is put on one line.
    """
    body = entity.sub(_show_hidden_entity, visible(body))
    # MathJax refuses a label that the page defines twice.
    body = re.sub(r"\\label\s*\{[^{}]*\}", "", body).strip()
    decoded = unescape(body)
    if any(decoded.count(character) > body.count(character) for character in "$\\`"):
        return None  # an entity would end the formula, or start a macro
    unfit = not body or body[0] == "$" or body[-1] == "$" or (body[-1] == "\\" and not display) or not _balanced(body)
    if unfit or _active_macro.search(body) or re.search(r"`|@@|~~~|\$\$|\n\s*\n", body):
        return None
    if not multiline and "\n" in body:  # a comment of TeX ends with its line
        body = " ".join(re.sub(r"(?<!\\)%.*", "", line) for line in body.split("\n"))
    # Spaces that change nothing in TeX keep Markdown from finding a tag, a link, an image or an escape.
    body = re.sub(r"<(?=[A-Za-z/!?])", "< ", body)
    body = re.sub(r"\](?=[(\[:])", "] ", body).replace("![", "! [")
    body = re.sub(r"\\\\(?=[{}$])", r"\\\\ ", body)
    if in_table:
        body = escape_bars(body)
    if not display:
        return f"${body}$"
    separator = "\n" if "\n" in body else " " if body[-1] == "\\" else ""
    return f"$${separator}{body}{separator}$$"


def _show_hidden_entity(match: re.Match[str]) -> str:
    """Return an entity as it is, or ``[U+202E]`` if it stands for an invisible character."""
    text = decode_entity(match[0])
    return "".join(f"[U+{ord(character):04X}]" for character in text) if text and has_hidden(text) else match[0]


def escape_bars(body: str) -> str:
    r"""Replace ``|`` in a formula by macros, because a table row is split at each ``|`` (GFM 4.10)."""
    return body.replace("\\|", "\\Vert ").replace("|", "\\vert ")


def _balanced(body: str) -> bool:
    """Whether each brace of a formula has its counterpart, and nothing in it is nested too deeply."""
    depth = groups = 0
    for match in _nesting.finditer(body):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        groups += 1 if match[1] else -1 if match[2] else 0
        if depth < 0 or depth + groups > _MAX_FORMULA_DEPTH:
            return False
    return depth == 0


def join_blocks(*blocks: str) -> str:
    """Join blocks of Markdown with an empty line between them; empty ones are left out."""
    return "\n\n".join(block.strip("\n") for block in blocks if block)


def incomplete_note(line: str) -> str:
    """Return the Markdown of a line that marks an answer as incomplete and says why."""
    return f"<small>⚠ **incomplete** · {escape_line(line)}</small>"


def error_note(line: str) -> str:
    """Return the Markdown of an error in one line."""
    return f"{_ERROR_BOX}{escape_line(line, len(line))}</div>"


def escape_line(text: str, max_chars: int = MAX_LINE_CHARS) -> str:
    """Write text of a server or an error as one line without HTML, Markdown or formulas, cut to ``max_chars``."""
    text = safe_terminal(" ".join(text.split()))[:max_chars].rstrip()
    return "".join(map(_escape_character, text))


def _escape_character(character: str) -> str:
    if character in "$\\":  # MathJax searches the page for formulas, each element by itself
        return f"<span>&#{ord(character)};</span>"
    return f"&#{ord(character)};" if character in "`*_[]()#!|~@:<>&" else character
