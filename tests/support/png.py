"""PNG files as tests need them: of any size in pixels or bytes."""

from __future__ import annotations

import hashlib
import struct
import zlib


def png(width: int = 5, height: int = 5, filler: bytes = b"", *, seed: int | None = None) -> bytes:
    """A red picture, or noise that depends on ``seed``; ``filler`` makes the file larger by about so many bytes."""
    pixels = b"\xff\0\0" * width * height if seed is None else _noise(seed, width * height * 3)
    rows = b"".join(b"\0" + pixels[at : at + 3 * width] for at in range(0, len(pixels), 3 * width))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    text = _chunk(b"teSt", filler) if filler else b""
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + text + _chunk(b"IDAT", zlib.compress(rows)) + _END


def png_of_size(size: int, seed: int = 0) -> bytes:
    """A picture whose file has exactly ``size`` bytes, other ones for another ``seed``."""
    least = len(png(2, 2, b"x", seed=seed)) - 1
    return png(2, 2, bytes([seed]) * (size - least), seed=seed)


def _noise(seed: int, size: int) -> bytes:
    return hashlib.shake_128(bytes([seed])).digest(size)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


_END = _chunk(b"IEND", b"")
