"""Handle ``data:`` URIs in text: check bitmaps, keep long base64 away from the parser, shorten it for readers."""

from __future__ import annotations

import re
import secrets
from base64 import b64decode
from functools import partial

from ..media.probe import pixel_size
from ..media.sniff import BITMAPS, media_type

MAX_IMAGE_BYTES = 8 * 2**20  # a larger image is not shown
MAX_LIVE_BYTES = 20_000  # a larger image is not sent while the answer grows, because each repaint would send it again
_MAX_PIXELS = 2**27  # whoever opens the notebook has all of them in memory
_MAX_SHOWN_CHARS = 200  # of base64 in a text that people read
_MIN_HELD_CHARS = 2_000  # shorter base64 is given to the parser
_HELD_HEAD_CHARS = 64  # of held base64, these stay in the text: they tell the media type
_SCHEME = r"data:[\w.+/;=-]{0,100};base64,"
_START = ";base64,"
_long_data_uri = re.compile(
    rf"""(?<![^\s(<>"'`\[\]])({_SCHEME})([A-Za-z0-9+/]{{{_MIN_HELD_CHARS},}}+={{0,2}})""", re.ASCII
)
_image = re.compile(
    rf"(!\[[^\[\]]*\]\(\s*<?)?{_SCHEME}([A-Za-z0-9+/]*+={{0,2}})((?:>?|\s[^()\n]{{0,300}})\))?", re.ASCII
)
_open_image = re.compile(
    rf"(?:!\[[^\[\]]*\]\(\s*<?|(?<!\]:)(?<!\]: )(?<!\]: <)){_SCHEME}([A-Za-z0-9+/]{{{_MAX_SHOWN_CHARS},}}+={{0,2}})\Z",
    re.ASCII,
)
_bitmap = re.compile(r"data:image/(?:png|jpe?g|gif|webp);base64,([A-Za-z0-9+/]++={0,2})")
_payload = re.compile(r"[A-Za-z0-9+/=]*")
_long_payload = re.compile(rf"(?<={_START})[A-Za-z0-9+/=]{{{_MAX_SHOWN_CHARS + 1},}}+")


def is_bitmap(url: str) -> bool:
    """Whether a URL is a ``data:`` URI of a PNG, JPEG, GIF or WebP image that is small enough to be shown."""
    found = _bitmap.fullmatch(url)
    return found is not None and _is_small(found[1]) and media_type(_head(found[1])) in BITMAPS


def _is_small(payload: str) -> bool:
    """Whether an image in base64 is within the limits on bytes and, if its head tells its size, on pixels."""
    if len(payload) * 3 // 4 > MAX_IMAGE_BYTES + 2:
        return False
    head = _head(payload)
    width, height = pixel_size(head, media_type(head) or "") or (0, 0)
    return width * height <= _MAX_PIXELS


def _head(payload: str) -> bytes:
    """Decode the first bytes of an image, which tell its type and size; of a JPEG, all bytes."""
    head = (payload if payload.startswith("/9j/") else payload[:_HELD_HEAD_CHARS]).rstrip("=")
    if len(head) % 4 == 1:  # a single character is not a whole byte
        head = head[:-1]
    return b64decode(head + "=" * (-len(head) % 4))


class DataUriPlaceholders:
    """Table of long base64 that is kept away from a parser: the text has its first characters and a placeholder."""

    def __init__(self) -> None:
        self._mark = f"h{secrets.token_hex(8)}x"  # random, so that no text contains it
        self._payloads: list[str] = []

    def hold(self, text: str) -> str:
        """Return the text with placeholders."""
        return _long_data_uri.sub(self._placeholder, text) if _START in text else text

    def restore(self, text: str) -> str:
        """Return the text with the base64 in place of its placeholders."""
        if not self._payloads:
            return text
        return re.sub(rf"{self._mark}(\d+)x", lambda match: self._payloads[int(match[1])], text)

    def _placeholder(self, match: re.Match[str]) -> str:
        scheme, payload = match.groups()
        kept = _HELD_HEAD_CHARS if _is_small(payload) else 0  # without its head, `is_bitmap` is false
        self._payloads.append(payload[kept:] if kept else _size_mark(payload))
        return f"{scheme}{payload[:kept]}{self._mark}{len(self._payloads) - 1}x"


def close_open_image(text: str) -> str:
    """Replace an image that the end of the text cuts by a word; a reference definition at the end may be complete."""
    return _open_image.sub(lambda match: _word(match[1]), text) if _START in text else text


def shorten_images(text: str, max_bytes: int = MAX_LIVE_BYTES) -> str:
    """Replace images of more than ``max_bytes`` by a word in the Markdown of an answer that grows, and cut ones too."""
    return _image.sub(partial(_shorten_image, max_bytes), text) if _START in text else text


def is_at_most(url: str, max_bytes: int) -> bool:
    """Whether a URL, if it is a ``data:`` URI, has at most ``max_bytes``."""
    return len(url) * 3 // 4 <= max_bytes


def _shorten_image(max_bytes: int, match: re.Match[str]) -> str:
    opening, payload, closing = match.groups()
    if len(payload) <= _MAX_SHOWN_CHARS or (opening and closing and is_at_most(payload, max_bytes)):
        return match[0]
    return _word(payload) if opening else f"{_word(payload)}{closing or ''}"


def _word(payload: str) -> str:
    return f"*(an image of {_format_size(payload)})*"


def _size_mark(payload: str) -> str:
    return f"… ({_format_size(payload)})"


def _format_size(payload: str) -> str:
    """Return the size of decoded base64, in kB or MB."""
    count = len(payload) * 3 // 4
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


class DataUriShortener:
    """Shortens the base64 in a text that arrives in parts: ``data:image/png;base64,… (1.2 MB)``."""

    def __init__(self) -> None:
        self._recent = ""  # the last characters, in case the start of base64 is cut
        self._payload: list[str] | None = None  # parts of the base64 that is open

    def feed(self, text: str) -> str:
        """Return what can be shown after this part of the text."""
        out, at = [], len(self._recent)
        text = self._recent + text
        while at < len(text):
            if self._payload is None:
                found = text.find(_START, max(0, at - len(_START) + 1))
                end = found + len(_START) if found >= 0 else len(text)
                out.append(text[at:end])
                self._payload = [] if found >= 0 else None
            else:
                payload = _payload.match(text, at)
                end = payload.end() if payload else at
                self._payload.append(text[at:end])
                if end < len(text):
                    out.append(self.flush())
            at = end
        self._recent = text[1 - len(_START) :] if self._payload is None else ""
        return "".join(out)

    def flush(self) -> str:
        """Return the rest, at the end of the text."""
        payload = "".join(self._payload or [])
        self._recent, self._payload = "", None
        return payload if len(payload) <= _MAX_SHOWN_CHARS else _size_mark(payload)


def shorten_data_uris(text: str) -> str:
    """Return a text with its base64 shortened, for people who read it as it is."""
    return _long_payload.sub(lambda match: _size_mark(match[0]), text)
