"""The line of a magic: split it into words, and refuse a key on it."""

from __future__ import annotations

import re
from typing import Final

KEY_ON_THE_LINE: Final = (
    "there is a key on this line, which would be saved with the notebook and in the history; it was not used. Delete "
    "the line, then run %backend key: it asks for the key without showing it"
)
_WORD = re.compile(r"""(?:"(?:\\"|[^"])*"|'[^']*'|[^\s"'])+""")
_QUOTED = re.compile(r"""(?P<before>[^"'=\s]+=|)(?P<quote>["'])(?P<value>.*)(?P=quote)""", re.DOTALL)


def refuse_key(line: str) -> None:
    """Raise ``ValueError`` if there is a key on the line of a magic."""
    from ... import settings
    from ...redaction import has_key  # not when the extension is loaded

    if has_key(line, settings.known_keys()):
        raise ValueError(KEY_ON_THE_LINE)


def words(line: str) -> list[str]:
    """Split a line at white space outside of quotes.

    Quotes around a whole word, or around what follows its "=", are removed. Other quotes stay, as JSON needs them:
    ``stop=["a","b"]``. ``ValueError`` if a quote is not closed.
    """
    found: list[str] = []
    at, option = 0, ""
    for word in _WORD.finditer(line):
        if line[at : word.start()].strip():
            break
        at = word.end()
        quoted = _QUOTED.fullmatch(word[0])
        text = word[0] if quoted is None else quoted["before"] + _unescaped(quoted)
        if quoted is not None and text.startswith("-") and option:  # argparse would read the value as an option
            found[-1] += f"={text}" if option.startswith("--") else text
        else:
            found.append(text)
        option = text if quoted is None and text.startswith("-") and "=" not in text else ""
    if line[at:].strip():
        raise ValueError(f"a quote is not closed in {line[at:].strip()[:40]}: see %%backend?")
    return found


def _unescaped(quoted: re.Match[str]) -> str:
    value = quoted["value"]
    return value.replace('\\"', '"') if quoted["quote"] == '"' else value
