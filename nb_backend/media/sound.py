"""Sound: samples as a WAV file, and how long a WAV file is."""

from __future__ import annotations

import io

SAMPLE_RATE = 24_000
"""Samples a second of the raw sound that models send (``pcm16``): 16 bits, the low byte first, one channel."""


def wav(samples: bytes, rate: int = SAMPLE_RATE, channels: int = 1) -> bytes:
    """Return samples of 16 bits, the low byte first, as a WAV file."""
    import wave

    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((channels, 2, rate, 0, "NONE", ""))
        writer.writeframes(samples[: len(samples) // (2 * channels) * 2 * channels])
    return file.getvalue()


def wav_seconds(data: bytes) -> float | None:
    """Return how long a WAV file of samples is, ``None`` for anything else."""
    import wave

    try:
        with wave.open(io.BytesIO(data)) as reader:
            return float(reader.getnframes() / reader.getframerate())
    except (wave.Error, EOFError, ZeroDivisionError):
        return None
