"""Text that is safe to show in one line or in a terminal."""

from __future__ import annotations

import re
from contextlib import suppress


def error_summary(error: BaseException) -> str:
    """Say what an exception says, in half a line."""
    if isinstance(error, OSError) and error.strerror:
        return shorten(error.strerror, 100)
    kind, said = type(error).__name__, ""
    with suppress(Exception):
        said = str(error)
    return shorten(said if said and isinstance(error, ValueError | OSError) else f"{kind}: {said}".rstrip(": "), 100)


def shorten(name: str, most: int = 80) -> str:
    """Give a text in one line of at most so many characters, without its middle if need be; no sign in it acts."""
    half = most // 2
    name = name if len(name) <= most else f"{name[:half]}…{name[1 - half :]}"
    return " ".join("".join(sign if sign.isprintable() or sign.isspace() else "\ufffd" for sign in name).split())


def truncate(text: str, limit: int) -> str:
    """Return the text, cut at its end with an ellipsis if it has more than ``limit`` characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


_JOINED = "\u0600-\u109f\u1780-\u18af\ufb50-\ufefe"  # scripts that need joiners and non-joiners
_EMOJI = "\u200d\u2190-\u2bff\u3030\u303d\u3297\u3299\ufe0f\U0001f000-\U0001faff"
_RIGHT_TO_LEFT = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefe"  # scripts that need marks of direction
HIDDEN = (
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    "\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
    f"|(?<=[^{_JOINED}{_EMOJI}])[\u200c\u200d]|(?<![{_RIGHT_TO_LEFT}])[\u061c\u200e\u200f]"
    r"|(?<=[\ufe00-\ufe0f\s!\"$-)+-/:-~])[\ufe00-\ufe0f]"
)
_hidden = re.compile(HIDDEN)


def unicode_text(text: str) -> str:
    """Rejoin split surrogates, replace lone ones; lines end at LF."""
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def visible(text: str) -> str:
    """Write controls, bidi controls and invisible characters as ``[U+202E]``; LF and tab stay."""
    return _hidden.sub(lambda match: f"[U+{ord(match[0]):04X}]", text)


def has_hidden(text: str) -> bool:
    """Whether ``visible`` would change a character that stands after a letter."""
    return _hidden.search(f"a{text}") is not None


def entities(text: str) -> str:
    """Write every ASCII sign as an entity: no parser of Markdown, mathematics or addresses finds anything in it."""
    return re.sub(r"[^A-Za-z0-9 \x80-\U0010ffff]", lambda match: f"&#{ord(match[0])};", visible(text))


def safe_terminal(text: str) -> str:
    r"""Give text that cannot drive a terminal: controls (ESC first of all) and bidi visible; LF and tab stay."""
    return visible(unicode_text(text))
