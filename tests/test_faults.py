"""A few seconds of ``tests/bench/faults.py``, which runs for ten minutes: no text is lost, and nothing leaks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parent / "bench" / "faults.py"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what a client's kernel has acknowledged")


def test_no_text_is_lost_and_nothing_leaks_whatever_breaks():
    done = subprocess.run(
        [sys.executable, str(RUN), "--seconds", "5", "--seed", "1"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = {name: float(value) for name, value in re.findall(r"^  (.+?) {2,}([\d.]+)$", done.stdout, re.MULTILINE)}
    assert figures["bytes lost of them"] == 0
    for happened in ("answered", "asked again", "failed: ConnectionFailed", "servers killed", "savers killed"):
        assert figures[happened] > 0, done.stdout
    for happened in ("bytes that had arrived before a failure", "cells answered", "saves to a full disk"):
        assert figures[happened] > 0, done.stdout
