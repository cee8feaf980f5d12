"""The clipboard, which Pillow reads through programs; here scripts stand in for them."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image, ImageGrab

from nb_backend.media.clipboard import clipboard

pytestmark = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="there Pillow runs no such program")


@pytest.fixture(params=["wl-paste", "xclip"])
def program(request, tmp_path, monkeypatch):
    """Install a script as the only program that reads the clipboard."""
    session = {"wl-paste": "WAYLAND_DISPLAY", "xclip": "DISPLAY"}
    for variable in session.values():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(session[request.param], "0")
    monkeypatch.setenv("PATH", str(tmp_path))

    def install(script: str) -> None:
        (tmp_path / request.param).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / request.param).chmod(0o755)

    return install


def refused(*words: str) -> None:
    """Check that the clipboard is refused in one line, with these words and whose clipboard it is."""
    with pytest.raises(ValueError, match=r"the clipboard is that of the machine the kernel runs on$") as caught:
        clipboard()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_picture(program, tmp_path):
    Image.new("RGB", (7, 3)).save(tmp_path / "plot.png")
    program(f"exec /bin/cat {tmp_path}/plot.png")
    (found,) = clipboard()
    assert isinstance(found, Image.Image)
    assert found.size == (7, 3)


@pytest.mark.parametrize("message", ["Nothing is copied", "Error: target image/png not available", "No selection"])
def test_no_picture(program, message):
    program(f"echo '{message}' >&2; exit 1")
    refused("no image in the clipboard", "copy one")


def test_no_program(program):
    refused("install wl-clipboard", "xclip")


def test_a_program_that_fails(program):
    program("printf 'Error: no \\n display\\n' >&2; exit 1")
    refused("cannot be read", "Error: no display")
    program("exit 3")
    refused("cannot be read")
    program("printf '\\377' >&2; exit 1")
    refused("cannot be read")


@pytest.mark.parametrize("keep", [0, 1, 1000])
def test_something_else_than_a_picture(program, tmp_path, keep):
    Image.effect_noise((100, 100), 99).save(file := io.BytesIO(), "png")
    (tmp_path / "plot.png").write_bytes(file.getvalue()[:keep])
    program(f"exec /bin/cat {tmp_path}/plot.png")
    refused("cannot be read" if keep == 1000 else "Pillow cannot read")


def test_it_can_be_interrupted(program, tmp_path):
    begun, end = tmp_path / "begun", time.monotonic() + 20
    program(f"trap '' INT; echo > {begun}; exec /bin/sleep 60")
    script = "from nb_backend.media.clipboard import clipboard; clipboard()"
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True) as python:
        try:
            while not begun.exists():
                assert python.poll() is None, python.communicate()[1]
                assert time.monotonic() < end, "it does not begin"
                time.sleep(0.01)
            python.send_signal(signal.SIGINT)
            assert python.communicate(timeout=20)[1].endswith("KeyboardInterrupt\n")
        finally:
            python.kill()


def test_copied_files(monkeypatch):
    monkeypatch.setattr(ImageGrab, "grabclipboard", lambda: [r"C:\plot.png", r"C:\map.png"])  # as on Windows
    assert clipboard() == [r"C:\plot.png", r"C:\map.png"]
    monkeypatch.setattr(ImageGrab, "grabclipboard", list)
    refused("no image")


def test_pillow_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ValueError, match="pip install pillow"):
        clipboard()


def test_it_imports_no_pillow_before_it_needs_it():
    script = "import sys, nb_backend.media.clipboard; assert 'PIL' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2])
