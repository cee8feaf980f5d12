"""Pixels, and what becomes of them: sent, taken apart again, or refused."""

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


def content(thing, name=None) -> bytes:
    return base64.b64decode(to_data_uri(thing, name).partition(";base64,")[2], validate=True)


def opened(thing) -> Image.Image:
    image = Image.open(io.BytesIO(content(thing)))
    image.load()
    return image


def refusal(thing, error=ValueError) -> str:
    with pytest.raises(error) as raised:
        to_data_uri(thing)
    said = str(raised.value)
    assert type(raised.value) is error
    assert len(said) < 200
    assert "\n" not in said
    return said


def saved(image: Image.Image, kind: str, **options) -> bytes:
    image.save(file := io.BytesIO(), kind, **options)
    return file.getvalue()


def encoded(kind: str, **options) -> bytes:
    Image.fromarray(RGB).resize((64, 64)).save(file := io.BytesIO(), kind, **options)
    return file.getvalue()


PNG = encoded("PNG")
SVG_TEXT = "<svg xmlns='http://www.w3.org/2000/svg'>ä</svg>"


def run(code: str, *args: str, data: bytes = b"") -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *args],
        input=data,
        stdout=subprocess.PIPE,
        check=True,
    )
    return done.stdout.decode()


# the most memory that a process had: ru_maxrss counts what its parent had as well
STATUS = "__import__('pathlib').Path('/proc/self/status').read_text()"
PEAK = f"int({STATUS}.partition('VmHWM:')[2].split()[0]) // 2**10"
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is read from /proc")
