r"""The pieces safe Markdown is written from: visible signs, code, addresses and formulas.

Each of them is harmless in whatever way it is read; ``markdown`` says what that means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from html.entities import html5

from ..text import entities, has_hidden, safe_terminal, visible

PUNCTUATION = r"""!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~"""
_ENTITY = r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});"
_LONGEST_ADDRESS = 4096
_LAST_PORT = 65_535
entity = re.compile(_ENTITY, re.IGNORECASE)
_escape_or_entity = re.compile(rf"\\([{PUNCTUATION}])|{_ENTITY}", re.IGNORECASE)
_web = re.compile(r"(https?)://([^\s/?#\\@:]{1,253})((?::(\d{1,5}))?(?:[/?#].*)?)", re.IGNORECASE | re.DOTALL)
_harmful_in_text = re.compile(r"^\s|\s$|^$|`|<[a-z/!?]|\][(\[:]|\$\$|@@|\\(?:begin|end)\b|\\\\|ftp:", re.IGNORECASE)
_harmful_in_containers = re.compile(
    r"[$\t]|<[a-z/!?]|\][(\[:]|`{3}|~{3}|\\begin\{|\\\\[(\[]|^ +$", re.IGNORECASE | re.MULTILINE
)
_CUT_AS_FORMULAS = (("\\begin{", "\\end{"), ("\\\\(", "\\\\)"), ("\\\\[", "\\\\]"))
_drawn = re.compile(
    r"mermaid.*|(?:math|geojson|topojson|stl|vega(?:-?lite)?|plantuml|graphviz|wavedrom|kroki|raw)", re.I
)
_acts = re.compile(
    r"\\(?:href|url|style|class|cssId|data|html\w*|require|unicode|char|U|symbol|[gex]?def|let|futurelet|global|csname|"
    r"(?:new|renew|provide)(?:command|environment)|Declare\w*|definecolor|mmlToken|bbox|includegraphics|mathtip|texttip|"
    r"toggle|(?:eq)?ref|input|include|special|write|catcode)(?![A-Za-z])"
)


def unescape_address(text: str) -> str:
    """Resolve the backslashes and entities of an address as CommonMark does."""
    return _escape_or_entity.sub(lambda match: match[1] or entity_sign(match[0]) or match[0], text)


def entity_sign(name: str) -> str:
    """Give what an entity (``&name;``) stands for, or "" if there is none of that name."""
    return unescape(name) if name[1] == "#" or name[1:] in html5 else ""


def _visible_entity(match: re.Match[str]) -> str:
    sign = entity_sign(match[0])
    return "".join(f"[U+{ord(char):04X}]" for char in sign) if sign and has_hidden(sign) else match[0]


def code_span(text: str, *, cell: bool = False) -> str:
    """Give a code span; as ``<code>`` if it would act as text, or JupyterLab would find a formula in it."""
    text = visible(text)
    if _harmful_in_text.search(text) or (cell and "|" in text):
        return f"<code>{entities(text)}</code>"
    return f"`{text}`"


def code_block(text: str, info: str, *, nested: bool) -> Iterator[str]:
    """Give the lines of a fence; one line of ``<pre>`` if it could act where it stands, or a formula be found in it."""
    text = visible(text.removesuffix("\n"))
    cut = any(start in text and end in text for start, end in _CUT_AS_FORMULAS) or re.search(r"@@\d+@@", text)
    if cut or (nested and _harmful_in_containers.search(text)):
        yield f"<pre><code>{entities(text)}</code></pre>"
        return
    name = language(info)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    yield fence + ("text" if _drawn.fullmatch(name) else name)
    yield from text.split("\n")
    yield fence


def language(info: str) -> str:
    """Give the name of a language, the first word of a fence's info; "" if there is none."""
    name = re.match(r"[\w+#.-]{0,40}", info.strip(), re.ASCII)
    return name[0] if name else ""


def address(url: str) -> tuple[str, str] | None:
    """Give a link's address fit for ``[…](here)``, and its host; None if it is not http, https or mailto."""
    if len(url) > _LONGEST_ADDRESS:
        return None
    if web := _web.fullmatch(url):
        try:
            host = web[2].encode("idna").decode("ascii")
        except UnicodeError:
            return None
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", host) or int(web[4] or 0) > _LAST_PORT:
            return None
        start, rest = f"{web[1].lower()}://{host}", web[3]
    elif url[:7].lower() == "mailto:" and "@" in url:
        start, rest, host = "mailto:", url[7:], ""
    else:
        return None
    # also what a broken link would show as an address of its own, or JupyterLab as a formula
    rest = re.sub(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9\-._:/?#@!&'+,;=%]|(?<=@)@|(?<=:)/(?=/)|(?<=www)\.", _percent, rest)
    return start + re.sub(r"&(?=#?\w+;)", "&amp;", rest), host


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8"))


def formula(body: str, *, display: bool, cell: bool = False, lines: bool = False) -> str | None:
    """Give ``$body$`` or ``$$body$$``, or None for what acts or would not be read the same everywhere.

    ``lines``: the body may keep its lines; else it is put on one.
    """
    body = entity.sub(_visible_entity, visible(body))
    body = re.sub(r"\\label\s*\{[^{}]*\}", "", body).strip()
    spelt = unescape(body)
    if any(spelt.count(sign) > body.count(sign) for sign in "$\\`"):  # an entity that would end it, or act
        return None
    unfit = not body or body[0] == "$" or body[-1] == "$" or (body[-1] == "\\" and not display) or not _balanced(body)
    if unfit or _acts.search(body) or re.search(r"`|@@|~~~|\$\$|\n\s*\n", body):
        return None
    if not lines and "\n" in body:
        body = " ".join(re.sub(r"(?<!\\)%.*", "", line) for line in body.split("\n"))
    body = re.sub(r"<(?=[A-Za-z/!?])", "< ", body)
    body = re.sub(r"\](?=[(\[:])", "] ", body).replace("![", "! [")
    body = re.sub(r"\\\\(?=[{}$])", r"\\\\ ", body)
    if cell:
        body = escape_bars(body)
    if not display:
        return f"${body}$"
    separator = "\n" if "\n" in body else " " if body[-1] == "\\" else ""
    return f"$${separator}{body}{separator}$$"


def escape_bars(body: str) -> str:
    r"""Write the ``|`` of a formula as macros: a table would split there."""
    return body.replace("\\|", "\\Vert ").replace("|", "\\vert ")


def _balanced(body: str) -> bool:
    depth = 0
    for match in re.finditer(r"\\.|[{}]", body, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth < 0:
            return False
    return depth == 0


LONGEST_NAME = 300  # characters of what a server says of itself


def join_blocks(*blocks: str) -> str:
    """Put blocks of Markdown below one another."""
    return "\n\n".join(block.strip("\n") for block in blocks if block)


def escape_line(text: str, most: int = LONGEST_NAME) -> str:
    """Make what a server or an error says inert, a line of it: neither HTML nor Markdown nor a formula."""
    text = safe_terminal(" ".join(text.split()))[:most].rstrip()
    return "".join(map(_inert, text))


def _inert(sign: str) -> str:
    if sign in "$\\":  # in a text of its own: MathJax reads the page once more
        return f"<span>&#{ord(sign)};</span>"
    return f"&#{ord(sign)};" if sign in "`*_[]()#!|~@:<>&" else sign


def fenced(text: str, language: str = "") -> str:
    """Give a code block that holds a text, whatever fences are in it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"
