"""Where links and images lead: destinations that are safe to write, and the addresses that stand for others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from .elements import ASCII_PUNCTUATION, ENTITY, decode_entity

MAX_ALT_CHARS = 200
_MAX_DESTINATION_CHARS = 4096
_MAX_LABEL_CHARS = 999  # CommonMark 6.3
_MAX_PORT = 65_535
_escape_or_entity = re.compile(rf"\\([{ASCII_PUNCTUATION}])|{ENTITY}", re.IGNORECASE)
_http_url = re.compile(r"(https?)://([^\s/?#\\@:]{1,253})((?::(\d{1,5}))?(?:[/?#].*)?)", re.IGNORECASE | re.DOTALL)
_destination_and_title = re.compile(
    r"""\(\s*(?:<([^<>\n]*+)>|((?:[^\s()<>]++|\([^\s()<>]*+\))*+))"""
    r"""(?:\s+(?:"(?:\\.|[^"\\])*+"|'(?:\\.|[^'\\])*+'|\((?:\\.|[^()\\])*+\)))?\s*\)""",
    re.DOTALL,
)
_label = re.compile(rf"\[([^\[\]]{{0,{_MAX_LABEL_CHARS}}})\]")
_unescaped_bracket = re.compile(r"(?<!\\)[\[\]]")
# What a broken link would show as a URL of its own (`www.`, `://`), or JupyterLab as a formula (`@@0@@`).
_percent_encoded = re.compile(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9\-._:/?#@!&'+,;=%]|(?<=@)@|(?<=:)/(?=/)|(?<=www)\.")


class Links(Protocol):
    """What the links and images of a text lead to."""

    def reference(self, label: str) -> str:
        """Return the destination that a label is defined as, or ""."""

    def resolve(self, address: str, *, image: bool) -> str:
        """Return what the address of an image or a link stands for."""


def reference_budget(chars: int) -> int:
    """Return how many characters the destinations of references may have in a text of so many characters.

    Without a limit, many references to one long destination would take quadratic space.
    """
    return 65_536 + 4 * chars


def link_destination(source: str, start: int, end: int, links: Links) -> tuple[str, int]:
    """Return the destination of the link with the text ``source[start:end]``, and where the link ends.

    The link is inline or a reference (CommonMark 6.3). The destination is "" if there is no link.
    """
    if found := _destination_and_title.match(source, end + 1):
        return unescape_destination(found[1] or found[2] or ""), found.end()
    label = _label.match(source, end + 1)
    if label and label[1]:
        return links.reference(label[1]), label.end()
    after = label.end() if label else end + 1
    is_label = end - start <= _MAX_LABEL_CHARS and not _unescaped_bracket.search(source, start, end)
    return (links.reference(source[start:end]) if is_label else ""), after


def unescape_destination(text: str) -> str:
    """Resolve backslash escapes and entities (CommonMark 2.4, 2.5)."""
    return _escape_or_entity.sub(lambda match: match[1] or decode_entity(match[0]) or match[0], text)


def safe_destination(url: str) -> tuple[str, str] | None:
    """Return a URL as a link's destination, and its host; None if it is not a valid http, https or mailto URL."""
    if len(url) > _MAX_DESTINATION_CHARS:
        return None
    if web := _http_url.fullmatch(url):
        try:
            host = web[2].encode("idna").decode("ascii")
        except UnicodeError:
            return None
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", host) or int(web[4] or 0) > _MAX_PORT:
            return None
        start, rest = f"{web[1].lower()}://{host}", web[3]
    elif url[:7].lower() == "mailto:" and "@" in url:
        start, rest, host = "mailto:", url[7:], ""
    else:
        return None
    rest = _percent_encoded.sub(_percent_encode, rest)
    return start + re.sub(r"&(?=#?\w+;)", "&amp;", rest), host


def _percent_encode(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8"))


def resolve(address: str, addresses: Mapping[str, str], *, image: bool) -> tuple[str, str]:
    """Return what an address stands for, and the key of ``addresses`` that led there (the address itself if none did).

    It is looked up twice: a relative address may stand for a full one, and that one for a ``data:`` URI. Only an image
    gets a ``data:`` URI.
    """
    key = address
    for _ in range(2):
        target = addresses.get(address, address)
        if target == address or (not image and target.startswith("data:")):
            break
        key, address = address, target
    return address, key


def full_address(address: str, addresses: Mapping[str, str]) -> str:
    """Return the full address of an image, which is the same for all ways to write it."""
    target = addresses.get(address, address)
    return address if target.startswith("data:") else target
