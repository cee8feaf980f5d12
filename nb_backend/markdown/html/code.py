"""Highlight code with Pygments, as HTML with its short class names."""

from __future__ import annotations

import re
import time
from functools import lru_cache
from html import escape

from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES, _TokenType

MAX_CHARS = 50_000  # longer code is not highlighted
MAX_GROWING_CHARS = 8_000  # the same, for code that still grows and is rendered again with each update
_MAX_CPU_SECONDS = 0.5  # checked after each token: the regular expressions of some lexers are slow
# Languages whose lexers were tried with text that is made to be slow to match. No others are highlighted.
_LANGUAGES = frozenset({
    "python", "pycon", "ipython", "bash", "console", "json", "yaml", "toml", "ini", "html", "xml", "css",
    "scss", "javascript", "typescript", "tsx", "jsx", "java", "c", "cpp", "csharp", "go", "rust", "ruby", "php",
    "sql", "postgresql", "r", "julia", "matlab", "latex", "markdown", "diff", "docker", "make", "cmake",
    "haskell", "scala", "kotlin", "swift", "lua", "perl", "powershell", "http", "fortran", "nginx", "graphql",
    "protobuf", "dart", "elixir", "clojure", "ocaml", "fsharp", "vim", "batch",
})  # fmt: skip
CLASSES = frozenset(name for name in STANDARD_TYPES.values() if name)
_slow = re.compile(r"[^\n]{1001}|\n(?:[ \t]*+\n){100}")  # very long lines and very many empty ones slow lexers down


def code_html(code: str, language: str, *, growing: bool = False) -> str:
    """Return code as HTML; without colors if its language is not known, or the code is too long. Never raises."""
    if not language or len(code) > (MAX_GROWING_CHARS if growing else MAX_CHARS) or _slow.search(code):
        return escape(code)
    return _highlight(code, language.lower())


@lru_cache(maxsize=64)  # an update renders all blocks of an open list or quote again, with the same code
def _highlight(code: str, language: str) -> str:
    try:
        spans = _spans(code, language)
    except Exception:  # lexers raise errors of many kinds
        return escape(code)
    return "".join(f'<span class="{name}">{escape(text)}</span>' if name else escape(text) for name, text in spans)


def _spans(code: str, language: str) -> list[tuple[str, str]]:
    """Return the class and the text of each span of code.

    It is one span without a class if highlighting takes too long, or if the lexer changes the text.
    """
    lexer = get_lexer_by_name(language, stripnl=False, stripall=False, ensurenl=False)
    if _LANGUAGES.isdisjoint(lexer.aliases):
        return [("", code)]
    started = time.thread_time()
    classes: list[str] = []
    texts: list[list[str]] = []
    for kind, text in lexer.get_tokens(code):
        name = "" if text.isspace() else _class_name(kind)
        if classes and classes[-1] == name:
            texts[-1].append(text)
        else:
            classes.append(name)
            texts.append([text])
        if time.thread_time() - started > _MAX_CPU_SECONDS:
            return [("", code)]
    spans = [(name, "".join(parts)) for name, parts in zip(classes, texts, strict=True)]
    return spans if "".join(text for _, text in spans) == code else [("", code)]


def _class_name(kind: _TokenType) -> str:
    """Return the CSS class of a token type or of its nearest parent that has one."""
    while kind not in STANDARD_TYPES and kind.parent is not None:
        kind = kind.parent
    name: str = STANDARD_TYPES.get(kind, "")
    return name
