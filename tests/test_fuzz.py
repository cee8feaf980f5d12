"""What must hold whatever the bytes: for the seeds everywhere, and for what a fuzzer makes of them.

The fuzzer tries a fixed number of inputs from a fixed seed. For longer, and how to try one again: ``fuzz/run.py``.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzz.growth import PIECES, WORKS, is_quadratic
from fuzz.targets import TARGETS
from hypothesis import given, settings
from hypothesis import strategies as st

RUN = Path(__file__).parent / "fuzz" / "run.py"


@pytest.mark.parametrize("name", TARGETS)
def test_what_must_hold_holds_for_the_seeds(name: str) -> None:
    for seed in TARGETS[name].seeds():
        TARGETS[name].check(seed)


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this Python")
@pytest.mark.parametrize("name", TARGETS)
def test_what_must_hold_holds_for_what_a_fuzzer_makes(name: str, tmp_path: Path) -> None:
    options = [
        "-seed=1",
        f"-runs={TARGETS[name].runs}",
        f"-artifact_prefix={tmp_path}/",
        "-timeout=60",
        "-rss_limit_mb=0",  # it would count what this process has taken
    ]
    done = subprocess.run([sys.executable, str(RUN), name, *options], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", WORKS)
@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(
    before=st.lists(st.sampled_from(PIECES), max_size=2).map(b"".join),
    unit=st.lists(st.sampled_from(PIECES), min_size=1, max_size=3).map(b"".join),
    after=st.sampled_from([b"", *PIECES]),
)
def test_no_part_takes_quadratic_time(part: str, before: bytes, unit: bytes, after: bytes) -> None:
    assert not is_quadratic(WORKS[part], before, unit, after)


def test_quadratic_time_is_noticed() -> None:
    def is_noticed(times: Callable[[bytes], int]) -> bool:
        def work(data: bytes) -> None:
            for _ in range(times(data)):
                sum(data)

        return any(is_quadratic(work, b"", b"a", b"") for _ in range(10))  # a busy machine may hide it once

    assert is_noticed(lambda data: len(data) // 20)
    assert not is_noticed(lambda data: 2_000)
