"""Run the checks of ``fuzz/targets.py`` on their seeds, and on inputs that a fuzzer derives from them.

The fuzzer tries a fixed number of inputs from a fixed random seed. ``fuzz/run.py`` tries more, or one input again.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzz.growth import FRAGMENTS, FUNCTIONS, is_quadratic
from fuzz.targets import TARGETS
from hypothesis import given, settings
from hypothesis import strategies as st

RUN = Path(__file__).parent / "fuzz" / "run.py"


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_pass_the_checks(name: str) -> None:
    for seed in TARGETS[name].seeds():
        TARGETS[name].check(seed)


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this Python")
@pytest.mark.parametrize("name", TARGETS)
def test_fuzzed_inputs_pass_the_checks(name: str, tmp_path: Path) -> None:
    options = [
        "-seed=1",
        f"-runs={TARGETS[name].runs}",
        f"-artifact_prefix={tmp_path}/",
        "-timeout=60",
        "-rss_limit_mb=0",  # a limit would count the memory of this process too
    ]
    done = subprocess.run([sys.executable, str(RUN), name, *options], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(
    before=st.lists(st.sampled_from(FRAGMENTS), max_size=2).map(b"".join),
    unit=st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=3).map(b"".join),
    after=st.sampled_from([b"", *FRAGMENTS]),
)
def test_no_function_takes_quadratic_time(name: str, before: bytes, unit: bytes, after: bytes) -> None:
    assert not is_quadratic(FUNCTIONS[name], before, unit, after)


def test_quadratic_time_is_noticed() -> None:
    def is_noticed(times: Callable[[bytes], int]) -> bool:
        def work(data: bytes) -> None:
            for _ in range(times(data)):
                sum(data)

        return any(is_quadratic(work, b"", b"a", b"") for _ in range(10))  # a busy machine may hide it a few times

    assert is_noticed(lambda data: len(data) // 80)
    assert not is_noticed(lambda data: 400)
