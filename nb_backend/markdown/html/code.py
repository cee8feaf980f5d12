"""Code as HTML with Pygments' classes."""

from __future__ import annotations

import re
import time
from functools import lru_cache
from html import escape

from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES, _TokenType

MOST = 50_000  # characters of code that is coloured
MOST_LIVE = 8_000  # of code that still grows, and is rendered again with each piece of it
_SECONDS = 0.5  # of the processor, looked at after each piece: some languages are read slowly


# whose rules were tried with what is made to be slow to read
_LANGUAGES = frozenset({
    "python", "pycon", "ipython", "bash", "console", "json", "yaml", "toml", "ini", "html", "xml", "css",
    "scss", "javascript", "typescript", "tsx", "jsx", "java", "c", "cpp", "csharp", "go", "rust", "ruby", "php",
    "sql", "postgresql", "r", "julia", "matlab", "latex", "markdown", "diff", "docker", "make", "cmake",
    "haskell", "scala", "kotlin", "swift", "lua", "perl", "powershell", "http", "fortran", "nginx", "graphql",
    "protobuf", "dart", "elixir", "clojure", "ocaml", "fsharp", "vim", "batch",
})  # fmt: skip
CLASSES = frozenset(name for name in STANDARD_TYPES.values() if name)
_slow = re.compile(r"[^\n]{1001}|\n(?:[ \t]*+\n){100}")  # long lines and much space: no rules are made for them


def code_html(code: str, language: str, *, live: bool = False) -> str:
    """Give code as HTML, plain if its language is not known, or it is too long; never raises."""
    if not language or len(code) > (MOST_LIVE if live else MOST) or _slow.search(code):
        return escape(code)
    return _coloured(code, language.lower())


@lru_cache(maxsize=64)  # a block that is open is rendered again and again with all the code in it
def _coloured(code: str, language: str) -> str:
    try:
        pieces = _pieces(code, language)
    except Exception:  # of rules for hundreds of languages
        return escape(code)
    return "".join(f'<span class="{name}">{escape(text)}</span>' if name else escape(text) for name, text in pieces)


def _pieces(code: str, language: str) -> list[tuple[str, str]]:
    """Give the pieces of code with the class of each; all in one if it takes too long, or would be another text."""
    lexer = get_lexer_by_name(language, stripnl=False, stripall=False, ensurenl=False)
    if _LANGUAGES.isdisjoint(lexer.aliases):
        return [("", code)]
    started = time.thread_time()
    classes: list[str] = []
    texts: list[list[str]] = []
    for kind, text in lexer.get_tokens(code):
        name = "" if text.isspace() else _class(kind)
        if classes and classes[-1] == name:
            texts[-1].append(text)
        else:
            classes.append(name)
            texts.append([text])
        if time.thread_time() - started > _SECONDS:
            return [("", code)]
    pieces = [(name, "".join(parts)) for name, parts in zip(classes, texts, strict=True)]
    return pieces if "".join(text for _, text in pieces) == code else [("", code)]


def _class(kind: _TokenType) -> str:
    while kind not in STANDARD_TYPES and kind.parent is not None:
        kind = kind.parent
    name: str = STANDARD_TYPES.get(kind, "")
    return name
