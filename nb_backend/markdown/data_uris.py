"""Images that stand in a text themselves, as ``data:`` addresses in base64: long, and read by nobody."""

from __future__ import annotations

import re
import secrets
from base64 import b64decode
from functools import partial

from ..media.probe import pixel_size
from ..media.sniff import BITMAPS, media_type

MAX_IMAGE = 8 * 2**20  # bytes of an image that is shown
MAX_PIXELS = 2**27  # of it: whoever opens the notebook has them all in memory
MAX_LIVE = 20_000  # bytes of an image that is sent again and again while the answer grows
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
_START = ";base64,"
_payload = re.compile(r"[A-Za-z0-9+/=]*")
_long = re.compile(rf"(?<={_START})[A-Za-z0-9+/=]{{{_MAX_TEXT + 1},}}+")


def is_bitmap(url: str) -> bool:
    """Whether an address is a picture in itself, of a kind that cannot act, and small enough to be shown."""
    found = _bitmap.fullmatch(url)
    return found is not None and _is_small(found[1]) and media_type(_start(found[1])) in BITMAPS


def _is_small(data: str) -> bool:
    """Whether an image in base64 has no more bytes, nor as far as it says pixels, than one that is shown."""
    if len(data) * 3 // 4 > MAX_IMAGE + 2:
        return False
    start = _start(data)
    width, height = pixel_size(start, media_type(start) or "") or (0, 0)
    return width * height <= MAX_PIXELS


def _start(data: str) -> bytes:
    """Give the first bytes of what is in base64, where its kind and size stand; of a JPEG all."""
    start = (data if data.startswith("/9j/") else data[:_KEPT]).rstrip("=")
    if len(start) % 4 == 1:  # half a byte
        start = start[:-1]
    return b64decode(start + "=" * (-len(start) % 4))


class DataUriPlaceholders:
    """Keeps long base64 away from a parser: each stands in the text as its first signs and a number."""

    def __init__(self) -> None:
        self._mark = f"h{secrets.token_hex(8)}x"  # which nobody can write who has not seen it
        self._payloads: list[str] = []

    def hold(self, text: str) -> str:
        """Give the text with stand-ins."""
        return _data.sub(self._stand_in, text) if _START in text else text

    def restore(self, text: str) -> str:
        """Give a text with what its stand-ins stand for."""
        if not self._payloads:
            return text
        return re.sub(rf"{self._mark}(\d+)x", lambda match: self._payloads[int(match[1])], text)

    def _stand_in(self, match: re.Match[str]) -> str:
        head, data = match.groups()
        kept = _KEPT if _is_small(data) else 0  # without its first signs it is no bitmap
        self._payloads.append(data[kept:] if kept else _amount(data))
        return f"{head}{data[:kept]}{self._mark}{len(self._payloads) - 1}x"


def close_open_image(text: str) -> str:
    """Give Markdown in which an image that it breaks off in is a word; the address of a reference may be whole."""
    return _unfinished.sub(lambda match: _word(match[1]), text) if _START in text else text


def shorten_images(text: str, most: int = MAX_LIVE) -> str:
    """Give the Markdown of an answer that grows: images above ``most`` bytes, or not all there yet, as a word."""
    return _picture.sub(partial(_live, most), text) if _START in text else text


def is_shown(url: str, most: int) -> bool:
    """Whether an address, if it is an image in itself, has no more bytes than ``most``."""
    return len(url) * 3 // 4 <= most


def _live(most: int, match: re.Match[str]) -> str:
    opening, data, closing = match.groups()
    if len(data) <= _MAX_TEXT or (opening and closing and is_shown(data, most)):
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
        out, at = [], len(self._before)
        text = self._before + text
        while at < len(text):
            if self._data is None:
                found = text.find(_START, max(0, at - len(_START) + 1))
                end = found + len(_START) if found >= 0 else len(text)
                out.append(text[at:end])
                self._data = [] if found >= 0 else None
            else:
                payload = _payload.match(text, at)
                end = payload.end() if payload else at
                self._data.append(text[at:end])
                if end < len(text):
                    out.append(self.flush())
            at = end
        self._before = text[1 - len(_START) :] if self._data is None else ""
        return "".join(out)

    def flush(self) -> str:
        """Give the rest, at the end of the text."""
        data = "".join(self._data or [])
        self._before, self._data = "", None
        return data if len(data) <= _MAX_TEXT else _amount(data)


def shorten_data_uris(text: str) -> str:
    """Give a text with its base64 shortened, for people who read it as it is."""
    return _long.sub(lambda match: _amount(match[0]), text)
