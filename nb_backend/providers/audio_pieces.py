"""Audio of an answer, joined from its pieces."""

from __future__ import annotations

import base64
import binascii
import struct
from typing import Any

from ..media.sniff import data_uri, media_type

_RATE = 24_000  # samples a second of OpenAI's pcm16


class AudioPieces:
    """Joins audio that arrives in pieces of base64."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def add(self, piece: Any) -> None:
        """Add a piece of base64; damaged ones are left out."""
        try:
            decoded = base64.b64decode(piece + "=" * (-len(piece) % 4)) if isinstance(piece, str) else b""
        except (binascii.Error, ValueError):
            return
        if decoded:
            self._pieces.append(decoded)

    def data_uri(self) -> str:
        """Return the audio as a data URI, ``""`` if there is none. Samples without a header (pcm16) become a WAV."""
        audio, self._pieces = b"".join(self._pieces), []
        kind = media_type(audio) if audio else None
        if not audio:
            return ""
        return data_uri(audio, kind) if kind else data_uri(wav(audio), "audio/wav")


def wav(samples: bytes, rate: int = _RATE) -> bytes:
    """Return 16-bit mono samples, little-endian, as a WAV file; ``rate`` is in samples a second."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    data = struct.pack("<4sI", b"data", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", 4 + len(form) + len(data)) + b"WAVE" + form + data
