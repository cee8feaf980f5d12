"""Sample pixels, and what ``to_data_uri`` makes of a value: its bytes, its image, or its error."""

from __future__ import annotations

import base64
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from nb_backend import to_data_uri

RANDOM = np.random.default_rng(0)
RGBA = RANDOM.integers(0, 256, (5, 7, 4), dtype=np.uint8)
RGB, GREY = RGBA[..., :3].copy(), RGBA[..., 0].copy()
UNIT = RANDOM.random((5, 7, 3))


def content(value, name=None) -> bytes:
    """Return the bytes that are sent for a value."""
    return base64.b64decode(to_data_uri(value, name).partition(";base64,")[2], validate=True)


def opened(value) -> Image.Image:
    """Return the image that is sent for a value."""
    image = Image.open(io.BytesIO(content(value)))
    image.load()
    return image


def refusal(value, error=ValueError) -> str:
    """Return the error message for a value: one short line."""
    with pytest.raises(error) as raised:
        to_data_uri(value)
    message = str(raised.value)
    assert type(raised.value) is error
    assert len(message) < 200
    assert "\n" not in message
    return message


def saved(image: Image.Image, kind: str, **options) -> bytes:
    image.save(file := io.BytesIO(), kind, **options)
    return file.getvalue()


def encoded(kind: str, **options) -> bytes:
    Image.fromarray(RGB).resize((64, 64)).save(file := io.BytesIO(), kind, **options)
    return file.getvalue()


PNG = encoded("PNG")
SVG_TEXT = "<svg xmlns='http://www.w3.org/2000/svg'>ä</svg>"


def run(code: str, *args: str, data: bytes = b"") -> str:
    """Run code in a process of its own, where warnings are errors; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *args],
        input=data,
        stdout=subprocess.PIPE,
        check=True,
    )
    return done.stdout.decode()


# Code for the largest memory of a process in MB. (ru_maxrss also counts the memory of the parent before the fork.)
STATUS = "__import__('pathlib').Path('/proc/self/status').read_text()"
PEAK = f"int({STATUS}.partition('VmHWM:')[2].split()[0]) // 2**10"
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is read from /proc")
