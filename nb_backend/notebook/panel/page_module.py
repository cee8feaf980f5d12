"""The page's JavaScript as one module: anywidget loads it from a Blob URL, where imports cannot be resolved."""

from __future__ import annotations

import re
from pathlib import Path

_IMPORT = re.compile(r'(?m)^import \{[^}]*\} from "([^"]+)";\n')
_EXPORT = re.compile(r"(?m)^export (?!default)")
_COMMENTS = re.compile(r"(?ms)/\*\*.*?\*/\s*|(?<=[;\s])// .*?$")
_INDENTATION = re.compile(r"(?m)^\s+|\s+$")
_LINE_BREAKS = re.compile(r"(?<=[{;,(\[])\n")
# A string, which stays as it is, or a sign, whose spaces are removed. The modules use only these two kinds of quotes.
_STRING_OR_SIGN = re.compile(r"""("[^"\n]*"|`[^`]*`)| ?([={}(),;:?<>|&]) ?""")


def joined(main: Path) -> str:
    """Return a module and those that it imports as one, each after the modules that it imports.

    All share one scope, so no two modules may give the same name to different things.
    """
    texts: dict[Path, str] = {}

    def add(path: Path) -> None:
        if path not in texts:
            text = path.read_text(encoding="utf-8")
            for name in _IMPORT.findall(text):
                add((path.parent / name).resolve())
            texts[path] = _EXPORT.sub("", _IMPORT.sub("", text))

    add(main.resolve())
    return "\n".join(texts.values())


def minified(module: str) -> str:
    """Return the JavaScript without comments and most spaces: it is sent again with every panel."""
    module = _LINE_BREAKS.sub("", _INDENTATION.sub("", _COMMENTS.sub("", module)))
    return _STRING_OR_SIGN.sub(r"\1\2", module)
