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


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the fuzzer says of each target, and a folder with the inputs that fail."""
    folder = tmp_path_factory.mktemp("fuzzed")
    subprocess.run([sys.executable, str(RUN), "every", str(folder)], cwd=folder, check=True)
    return folder


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this Python")
@pytest.mark.parametrize("name", TARGETS)
def test_fuzzed_inputs_pass_the_checks(name: str, fuzzed: Path) -> None:
    log = (fuzzed / f"{name}.log").read_text(errors="replace")
    assert (fuzzed / f"{name}.end").read_text() == "0", log[-3000:]
    assert f"Done {TARGETS[name].runs} runs" in log
    assert list((fuzzed / name).iterdir()) == []


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
