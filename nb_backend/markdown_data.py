"""Images that stand in a text themselves, as ``data:`` addresses in base64: long, and read by nobody."""

from __future__ import annotations

import re
import secrets
from base64 import b64decode

from .media_types import BITMAPS, media_type

MAX_IMAGE = 8 * 2**20  # bytes of an image that is shown
_MAX_LIVE = 20_000  # bytes of an image that is sent again and again while the answer grows
_MAX_TEXT = 200  # signs of base64 that a reader may be shown
_HELD = 2_000  # signs from which on base64 is kept away from the parser
_KEPT = 64  # of them stay: they tell what it is

_HEAD = r"data:[\w.+/;=-]{0,100};base64,"
_data = re.compile(rf"""(?<![^\s(<>"'`\[\]])({_HEAD})([A-Za-z0-9+/]{{{_HELD},}}+={{0,2}})""", re.ASCII)
_picture = re.compile(
    rf"(!\[[^\[\]]*\]\(\s*<?)?{_HEAD}([A-Za-z0-9+/]*+={{0,2}})((?:>?|\s[^()\n]{{0,300}})\))?", re.ASCII
)
_unfinished = re.compile(
    rf"(?:!\[[^\[\]]*\]\(\s*<?|(?<!\]:)(?<!\]: )(?<!\]: <)){_HEAD}([A-Za-z0-9+/]{{{_MAX_TEXT},}}+={{0,2}})\Z", re.ASCII
)
_bitmap = re.compile(r"data:image/(?:png|jpe?g|gif|webp);base64,([A-Za-z0-9+/]++={0,2})")
_payload = re.compile(r"[A-Za-z0-9+/=]*")
_START = ";base64,"


def is_bitmap(url: str) -> bool:
    """Whether an address is a picture in itself, of a kind that cannot act, and small enough to be shown."""
    found = _bitmap.fullmatch(url)
    if found is None or len(found[1]) * 3 // 4 > MAX_IMAGE + 2:
        return False
    start = found[1][:_KEPT].rstrip("=")
    if len(start) % 4 == 1:  # half a byte
        start = start[:-1]
    return media_type(b64decode(start + "=" * (-len(start) % 4))) in BITMAPS


class Held:
    """Keeps long base64 away from a parser: each stands in the text as its first signs and a number."""

    def __init__(self) -> None:
        self._mark = f"h{secrets.token_hex(8)}x"  # which nobody can write who has not seen it
        self._payloads: list[str] = []
        self._standing = re.compile(rf"{self._mark}(\d+)x")

    def hold(self, text: str) -> str:
        """Give the text with stand-ins."""
        return _data.sub(self._stand_in, text) if _START in text else text

    def restore(self, text: str) -> str:
        """Give a text with what its stand-ins stand for."""
        return self._standing.sub(lambda match: self._payloads[int(match[1])], text) if self._payloads else text

    def _stand_in(self, match: re.Match[str]) -> str:
        head, data = match.groups()
        kept = _KEPT if len(data) * 3 // 4 <= MAX_IMAGE + 2 else 0  # without its first signs it is no bitmap
        self._payloads.append(data[kept:] if kept else _amount(data))
        return f"{head}{data[:kept]}{self._mark}{len(self._payloads) - 1}x"


def ended(text: str) -> str:
    """Give Markdown in which an image that it breaks off in is a word; the address of a reference may be whole."""
    return _unfinished.sub(lambda match: _word(match[1]), text) if _START in text else text


def live(text: str) -> str:
    """Give the Markdown of an answer that grows: images that are large, or not all there yet, as a word."""
    return _picture.sub(_live, text) if _START in text else text


def is_live(url: str) -> bool:
    """Whether an address is short enough to be sent again and again."""
    return len(url) * 3 // 4 <= _MAX_LIVE


def _live(match: re.Match[str]) -> str:
    opening, data, closing = match.groups()
    if len(data) <= _MAX_TEXT or (opening and closing and is_live(data)):
        return match[0]
    return _word(data) if opening else f"{_word(data)}{closing or ''}"


def _word(data: str) -> str:
    return f"*(an image of {_size(data)})*"


def _amount(data: str) -> str:
    return f"… ({_size(data)})"


def _size(data: str) -> str:
    """Say how many bytes are in base64, as people do."""
    count = len(data) * 3 // 4
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


class Shortener:
    """Shortens the base64 in a text that comes piece by piece: ``data:image/png;base64,… (1.2 MB)``."""

    def __init__(self) -> None:
        self._before = ""  # the last signs, where what starts the base64 may be cut
        self._data: list[str] | None = None  # of the base64 that has begun

    def feed(self, text: str) -> str:
        """Give what may be shown of the text with this piece."""
        out = []
        while text:
            if self._data is not None:
                found = _payload.match(text)
                end = found.end() if found else 0
                self._data.append(text[:end])
                text = text[end:]
                if text:
                    out.append(self.flush())
                continue
            at = (self._before + text).find(_START)
            end = at + len(_START) - len(self._before) if at >= 0 else len(text)
            out.append(text[:end])
            self._before, self._data = ("", []) if at >= 0 else ((self._before + text)[1 - len(_START) :], None)
            text = text[end:]
        return "".join(out)

    def flush(self) -> str:
        """Give the rest, at the end of the text."""
        data = "".join(self._data or [])
        self._before, self._data = "", None
        return data if len(data) <= _MAX_TEXT else _amount(data)


def shortened(text: str) -> str:
    """Give a text with its base64 shortened, for people who read it as it is."""
    shortener = Shortener()
    return shortener.feed(text) + shortener.flush()
