"""The line of a magic: split it into words, without its comment, and refuse a key on it."""

from __future__ import annotations

import re
from typing import Final
from unicodedata import normalize

KEY_ON_THE_LINE: Final = (
    "there is a key on this line, which would be saved with the notebook and in the history; it was not used. Delete "
    "the line, then run %backend key: it asks for the key without showing it"
)
DASHES: Final = "\u2010-\u2015\u2212\u2e3a\u2e3b\ufe58\ufe63\uff0d"
"""Dashes that editors and web pages put in place of "-", for a character class of a regular expression."""

_WORD = re.compile(r"""(?:"(?:\\"|[^"])*"|'[^']*'|[^\s"'])+""")
_QUOTED = re.compile(r"""(?P<before>[^"'=\s]+=|-\w|)(?P<quote>["'])(?P<value>.*)(?P=quote)""", re.DOTALL)
_CLOSING = {
    "“": "”“",
    "„": "“”",
    "«": "»",
    "»": "«",
    "‘": "’‘",
    "‚": "‘’",
    "‹": "›",
    "›": "‹",
    "″": "″",
    "＂": "＂",
    "「": "」",
    "『": "』",
    "〝": "〞〟",
}
"""Typographic opening quotes, and the quotes that close each."""
_OPENING = re.compile(rf"""(?P<before>[^\s"'=]+=|-\w|)(?P<quote>[{"".join(_CLOSING)}])""")
_END = re.compile(r"\s*(?:#|\Z)")
_NOT_AN_END = re.compile(r"(?:&#?\w+|=);\Z")  # the ";" of an HTML entity, or the whole value of a parameter
_OPTION = re.compile(rf"(?P<dashes>[-{DASHES}]+)(?P<name>[^\W\d_][^=]*)(?P<value>=.*)?", re.DOTALL)


class Word(str):
    """A word of a line.

    ``is_quoted``: the whole word was in quotes; ``has_quoted_value``: the word was, or what follows its "=".
    """

    is_quoted = False
    has_quoted_value = False


def refuse_key(line: str) -> None:
    """Raise ``ValueError`` if there is a key on the line of a magic, also one that an editor has changed."""
    from ... import settings
    from ...redaction import has_key  # not when the extension is loaded

    known = settings.known_keys()
    if any(has_key(text, known) for text in dict.fromkeys((line, plain(line)))):
        raise ValueError(KEY_ON_THE_LINE)


def plain(text: str) -> str:
    """Return a text with plain dashes, letters and digits, and without hidden characters and HTML entities."""
    from html import unescape  # not when the extension is loaded

    return _without_hidden(re.sub(f"[{DASHES}]", "-", normalize("NFKC", unescape(text))))


def words(line: str) -> list[Word]:
    """Split a line at white space outside of quotes.

    A word that begins with "#" begins a comment, and a ";" at the end is ignored. Quotes around a whole word, or around
    what follows its "=" or the letter of an option, are removed. Other quotes stay, as JSON needs them:
    ``stop=["a","b"]``. Typographic quotes and dashes are understood as plain ones. Outside of quotes, invisible
    characters are ignored. ``ValueError`` if a quote is not closed.
    """
    found: list[Word] = []
    option = ""
    for word, is_plain in _split(line):
        if word.is_quoted and word.startswith("-") and option:  # argparse would read the value as an option
            found[-1] = _quoted(found[-1] + (f"={word}" if option.startswith("--") else word), "-")
        else:
            found.append(word)
        option = word if is_plain and word.startswith("-") and "=" not in word else ""
    return found


def _split(line: str) -> list[tuple[Word, bool]]:
    """Return the words of a line, and whether each is free of quotes."""
    found: list[tuple[Word, bool]] = []
    at, end = 0, len(line)
    while at < end:
        if line[at].isspace():
            at += 1
        elif line[at] == "#":
            break
        elif typographic := _OPENING.match(line, at):
            closing = re.compile(rf"[{_CLOSING[typographic['quote']]}](?=;*(?:\s|\Z))").search(line, typographic.end())
            if closing is None:
                raise _not_closed(line[at:])
            value = line[typographic.end() : closing.start()]
            found.append((_quoted(_plain_dashes(typographic["before"]) + value, typographic["before"]), False))
            at = closing.end()
        elif word := _WORD.match(line, at):
            at = word.end()
            is_last = _END.match(line, at) and not _NOT_AN_END.search(word[0])
            text = word[0].rstrip(";") if is_last else word[0]
            if quoted := _QUOTED.fullmatch(text):
                before = _plain_dashes(quoted["before"])
                found.append((_quoted(before + _unescaped(quoted), before), False))
            elif text := _without_hidden(text):
                found.append((Word(_plain_dashes(text)), True))
        else:
            raise _not_closed(line[at:])
    return found


def _quoted(text: str, before: str) -> Word:
    word = Word(text)
    word.is_quoted, word.has_quoted_value = not before, True
    return word


def _not_closed(rest: str) -> ValueError:
    return ValueError(
        f'a quote is not closed in {rest.strip()[:40]} (write a text in plain quotes: "…"): see %%backend?'
    )


def _unescaped(quoted: re.Match[str]) -> str:
    value = quoted["value"]
    return value.replace('\\"', '"') if quoted["quote"] == '"' else value


def _plain_dashes(word: str) -> str:
    """Return an option as it is written with plain dashes: ``–n`` and ``—new`` are ``-n`` and ``--new``."""
    option = None if word.isascii() else _OPTION.fullmatch(word)
    if option is None:
        return word
    dashes, name = option["dashes"], re.sub(f"[{DASHES}]", "-", normalize("NFKC", option["name"]))
    if dashes == "-":  # a value may follow the letter
        return word
    if dashes != "--":
        dashes = "-" if re.fullmatch(r".[\d.]*", name) else "--"
    return dashes + name + (option["value"] or "")


def _without_hidden(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    from ...text import without_hidden  # not when the extension is loaded

    return without_hidden(text)
