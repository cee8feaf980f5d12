"""Decompress the body of a response, as far as it has arrived.

No request asks for compression, but some servers, and proxies before them, compress anyway. aiohttp would lose the text
before a damaged part, and not say what to do about a coding that it cannot read.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from yarl import URL

from ..errors import ProtocolError

_START_BYTES = 16  # of a body, enough to tell plain text from compressed data
_NOT_COMPRESSED = ("", "identity", "chunked", "aws-chunked")  # the last is of uploads
_PACKAGES = {"br": "Brotli", "zstd": "backports.zstd"}
_TURN_OFF = "turn off compression in the server, or in the proxy before it"


class Decompressor:
    """Decompresses the chunks of a body whose ``Content-Encoding`` is ``coding``.

    Plain text is returned as it is: proxies that decompress may forget to change the header. ``ProtocolError`` says
    what to do if the body cannot be decompressed, after all that stands before a damaged part was returned.
    """

    def __init__(self, coding: str, url: URL) -> None:
        self._coding = coding
        self._origin = url.origin()
        self._start = b""
        self._codec: Any = None  # has the methods of the codecs of the standard library

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the pieces that a chunk holds."""
        if self._codec is None:
            self._start += chunk
            if len(self._start) < _START_BYTES:
                return
            self._codec, chunk = self._choose(), self._start
        yield from self._pieces(chunk)

    def end(self) -> Iterator[bytes]:
        """Yield what is left at the end of the body. ``ProtocolError`` if the compressed data has not ended."""
        if self._codec is None and self._start:
            self._codec = self._choose()
            yield from self._pieces(self._start)
        if self._codec is not None and not self._codec.eof and not isinstance(self._codec, _Plain):
            raise ProtocolError(
                f"{self._origin} sent a compressed answer ({self._coding}) without its end: ask again, or {_TURN_OFF}"
            )

    def _choose(self) -> Any:
        if _is_text(self._start):
            return _Plain()
        if (codec := _codec(self._coding, self._start)) is not None:
            return codec
        package = _PACKAGES.get(self._coding)
        raise ProtocolError(
            f"{self._origin} compressed its answer with {self._coding!r}, which nobody asked for and nb_backend cannot"
            f" read: {f'pip install {package}, or ' if package else ''}{_TURN_OFF}"
        )

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        """Decompress in small steps: a few bytes can hold megabytes, and a step that fails returns nothing."""
        size = 512 if hasattr(self._codec, "copy") else 16
        for at in range(0, len(data), size):
            part = data[at : at + size]
            while part:
                codec = self._codec
                if codec is None or codec.eof:
                    if part[:1] != self._start[:1]:  # not another file of gzip or zstd: padding
                        return
                    codec = self._codec = self._choose()
                before = codec.copy() if hasattr(codec, "copy") else None
                try:
                    piece = codec.decompress(part)
                except Exception:  # each package has exceptions of its own
                    if piece := _before_damage(before, part):
                        yield piece
                    raise ProtocolError(
                        f"{self._origin} sent a damaged answer (its compression, {self._coding}, is wrong): ask again,"
                        f" or {_TURN_OFF}"
                    ) from None
                if piece:
                    yield piece
                part = codec.unused_data if codec.eof else b""


def decompressor_for(codings: Iterable[str], url: URL) -> Decompressor | None:
    """Return the decompressor for a body with these ``Content-Encoding`` and ``Transfer-Encoding`` headers, if any."""
    codings = [one.strip().lower() for one in ",".join(codings).split(",")]
    codings = [one for one in codings if one not in _NOT_COMPRESSED]
    return Decompressor(", ".join(codings)[:60], url) if codings else None


def _codec(coding: str, start: bytes) -> Any:
    """Return the codec for a body that begins like this; ``None`` if this Python has no such codec."""
    if coding in ("gzip", "x-gzip"):
        return zlib.decompressobj(16 + zlib.MAX_WBITS)
    if coding == "deflate":
        has_header = start[0] & 15 == 8 and int.from_bytes(start[:2]) % 31 == 0  # RFC 1950; some servers send none
        return zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
    for module, make in _OPTIONAL.get(coding, {}).items():
        with suppress(ImportError, AttributeError):
            return make(importlib.import_module(module))
    return None


def _is_text(start: bytes) -> bool:
    """Whether bytes look like UTF-8 without control characters; the last character may be cut."""
    printable = not any(byte < 32 and byte not in b"\t\n\r" for byte in start)
    return printable and "\ufffd" not in start.decode("utf-8", "replace").rstrip("\ufffd")


def _before_damage(codec: Any, part: bytes) -> bytes:
    """Return what stands before the byte that is wrong, by a copy of the codec from before this part."""
    pieces: list[bytes] = []
    with suppress(zlib.error):  # which ends the list, and leaves what is in it
        pieces.extend(codec.decompress(part[at : at + 1]) for at in range(len(part) if codec is not None else 0))
    return b"".join(pieces)


class _Plain:
    """Codec of a body that is not compressed."""

    eof = False
    unused_data = b""

    def decompress(self, data: bytes) -> bytes:
        """Return the bytes."""
        return data


class _Brotli:
    """Codec of ``brotli`` or ``brotlicffi``."""

    unused_data = b""

    def __init__(self, module: Any) -> None:
        self._decompressor = module.Decompressor()

    @property
    def eof(self) -> bool:
        """Whether the compressed data has ended."""
        return bool(self._decompressor.is_finished())

    def decompress(self, data: bytes) -> bytes:
        """Return what these bytes add."""
        piece: bytes = self._decompressor.process(data)
        return piece


_OPTIONAL: dict[str, dict[str, Callable[[Any], Any]]] = {
    "br": {"brotli": _Brotli, "brotlicffi": _Brotli},
    "zstd": {
        "compression.zstd": lambda module: module.ZstdDecompressor(),  # from Python 3.14 on
        "backports.zstd": lambda module: module.ZstdDecompressor(),
        "zstandard": lambda module: module.ZstdDecompressor().decompressobj(),
    },
}
