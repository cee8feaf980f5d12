"""Text that is safe to show: shortened to one line, without characters that act instead of being seen; numbers."""

from __future__ import annotations

import re
import struct
import sys
from contextlib import suppress

_SUMMARY_LENGTH = 100  # characters
_MAX_WHOLE = 1e22  # from here on, the digits of a whole float are noise
_FLOAT_DIGITS = {"f": range(6, 10), "e": range(3, 6)}  # of the floats of struct, by their form


def error_summary(error: BaseException) -> str:
    """Return what an exception says in at most 100 characters.

    The name of its class comes first, except for ``OSError`` and ``ValueError``, whose messages speak for themselves.
    """
    if isinstance(error, OSError) and error.strerror:
        return shorten(error.strerror, _SUMMARY_LENGTH)
    name, message = type(error).__name__, ""
    with suppress(Exception):
        message = str(error)
    speaks_for_itself = message and isinstance(error, ValueError | OSError)
    return shorten(message if speaks_for_itself else f"{name}: {message}".rstrip(": "), _SUMMARY_LENGTH)


def shorten(text: str, limit: int = 80) -> str:
    """Return a text in one line of at most ``limit`` characters; ``…`` stands for its middle if it is longer.

    Characters that are not printable become U+FFFD.
    """
    half = limit // 2
    text = text if len(text) <= limit else f"{text[:half]}…{text[1 - half :]}"
    return " ".join("".join(char if char.isprintable() or char.isspace() else "\ufffd" for char in text).split())


def truncate(text: str, limit: int) -> str:
    """Return the text, cut at its end with an ellipsis if it has more than ``limit`` characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: ``1 token``, ``1,234 tokens``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a time as people write it: ``0.4 s``, ``1 min 1 s``, ``2 h 5 min``."""
    if (tenths := f"{seconds:.1f}") != "60.0" and seconds < 60:
        return f"{tenths} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


def letters_and_digits(name: str) -> str:
    """Return a name in small letters, without punctuation: that of ``maxTokens``, ``max_tokens`` and ``MAX-TOKENS``."""
    return "".join(filter(str.isalnum, name.casefold()))


def float_text(value: float, form: str = "d") -> str:
    """Return a float as a decimal number. A whole number keeps all its digits.

    ``form`` says how the float was stored, as in ``struct``: a double ("d") has 15 digits, which are those that every
    decimal number keeps in it; a single ("f") and a half ("e") have as few as distinguish it from the next one.
    """
    if value.is_integer() and abs(value) < _MAX_WHOLE:
        return str(int(value))
    for digits in _FLOAT_DIGITS.get(form, ()):
        text = f"{value:.{digits}g}"
        if struct.pack(form, float(text)) == struct.pack(form, value):
            return text
    return f"{value:.15g}"


_JOINER_SCRIPTS = "\u0600-\u109f\u1780-\u18af\ufb50-\ufefe"  # scripts written with zero-width (non-)joiners
_EMOJI = "\u200d\u2190-\u2bff\u3030\u303d\u3297\u3299\ufe0f\U0001f000-\U0001faff"
_RTL_SCRIPTS = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefe"  # scripts written with direction marks
HIDDEN = (
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    "\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
    f"|(?<=[^{_JOINER_SCRIPTS}{_EMOJI}])[\u200c\u200d]|(?<![{_RTL_SCRIPTS}])[\u061c\u200e\u200f]"
    r"|(?<=[\ufe00-\ufe0f\s!\"$-)+-/:-~])[\ufe00-\ufe0f]"
)
"""A regular expression for one invisible character: a control, a direction override, or a joiner, direction mark or
variation selector where no script and no emoji needs it."""
_hidden = re.compile(HIDDEN)


def unicode_text(text: str) -> str:
    """Return text that can be encoded: surrogate pairs are joined, lone ones become U+FFFD, and lines end with LF."""
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def visible(text: str) -> str:
    """Write each invisible character of ``HIDDEN`` as its code point, like ``[U+202E]``; LF and tab stay."""
    return _hidden.sub(lambda match: f"[U+{ord(match[0]):04X}]", text)


def has_hidden(text: str) -> bool:
    """Whether ``visible`` would change the text after a letter."""
    return _hidden.search(f"a{text}") is not None


def without_hidden(text: str) -> str:
    """Return the text without its invisible characters, those of ``HIDDEN``."""
    return _hidden.sub("", text)


def entities(text: str) -> str:
    """Write ASCII punctuation as HTML entities, so that no parser finds Markdown, maths or a link in the text."""
    return re.sub(r"[^A-Za-z0-9 \x80-\U0010ffff]", lambda match: f"&#{ord(match[0])};", visible(text))


def safe_terminal(text: str) -> str:
    """Return text that cannot control a terminal: ESC and other controls, and direction overrides, become visible."""
    return visible(unicode_text(text))


def print_safely(text: str) -> None:
    """Print a text without control characters; characters that the terminal cannot encode are replaced."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(safe_terminal(text).encode(encoding, "replace").decode(encoding), end="", flush=True)  # noqa: T201
