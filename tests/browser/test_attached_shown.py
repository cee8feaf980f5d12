"""Attachments of a prompt in a real JupyterLab: thumbnails above the answer, which are there when reopened."""

from __future__ import annotations

import pytest
from jupyter_page import Notebook
from serving import Backend

from nb_backend.local.scripted import ScriptedEngine

SETUP = """%load_ext nb_backend
import numpy as np
from PIL import Image
wide = Image.effect_noise((3000, 1000), 90)
dots = np.eye(9, dtype=bool)"""
SIZES = (
    "() => [...document.querySelectorAll('.jp-OutputArea img')].map(image => [image.naturalWidth, image.naturalHeight])"
)
HOSTILE = "](http://evil.example/x) `<img src=x onerror=alert(1)>`.png"


@pytest.fixture(scope="module")
def lab_env(server: Backend) -> dict[str, str]:
    return server.env


def test_attachments_are_shown_as_thumbnails(nb: Notebook, engine: ScriptedEngine) -> None:
    engine.enqueue("Noise, and dots.")
    nb.open(SETUP, "%%backend -i wide -i dots\nWhat is it?")
    nb.run(0)
    nb.run(1)
    for _ in range(2):
        nb.page.wait_for_function(f"({SIZES})().toString() === '160,53,9,9'")
        shown = nb.out(1)
        assert shown.index("wide.png (image/png, 2048×683, ") < shown.index("Noise, and dots.")
        assert "scaled from 3000×1000 to 2048×683" in shown
        saved = nb.save()
        nb.reload()
    small = saved.cells[1].outputs[0].data["text/markdown"]
    assert max(map(len, small.split("![image]"))) < 41_000


def test_a_hostile_name_never_acts(nb: Notebook, engine: ScriptedEngine) -> None:
    nb.open(f"{SETUP}\nfrom nb_backend import attach\nhostile = attach(dots, {HOSTILE!r})\nhostile",
            "%%backend -i hostile\nWhat is it?", "%%backend -i hostile --dry-run\nWhat is it?")  # fmt: skip
    for number in range(3):
        engine.enqueue("Dots.")
        nb.run(number)
        output = nb.output(number)
        assert "onerror=alert(1)" in output.inner_text()
        assert output.locator("a[href*='evil.example'], img:not([src^='data:'])").count() == 0
