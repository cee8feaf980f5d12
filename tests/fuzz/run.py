"""Fuzz one target with atheris, guided by coverage: ``python tests/fuzz/run.py wire -runs=10000``.

The other arguments are those of libFuzzer (https://llvm.org/docs/LibFuzzer.html): ``-max_total_time=3600`` for an hour,
a folder to keep inputs that reach new code. An input that fails is saved to ``-artifact_prefix``, by default the
working directory; pass its file to run it again. ``python tests/fuzz/run.py every FOLDER`` does what the tests need.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from itertools import islice
from pathlib import Path

import atheris

sys.path += [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent / "support")]
with atheris.instrument_imports(include=["nb_backend"]):
    from fuzz.targets import TARGETS


def main(name: str, options: list[str]) -> None:
    """Fuzz a target, starting from its seeds; ends the process."""
    target = TARGETS[name]
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(islice(target.seeds(), 0, None, target.stride)):
            Path(folder, f"{number:04}").write_bytes(seed)
        files = any(Path(option).is_file() for option in options)
        atheris.Setup([sys.argv[0], *options, *([] if files else [folder])], target.check)
        atheris.Fuzz()


def every(folder: Path) -> None:
    """Fuzz each target for a fixed number of inputs, keeping its log, exit code and failing inputs.

    They share the instrumented modules, whose import takes longer than most of the targets.
    """
    for name, target in TARGETS.items():
        own = folder / name
        own.mkdir()
        if not (child := os.fork()):
            with (folder / f"{name}.log").open("wb") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            options = ["-seed=1", f"-runs={target.runs}", f"-artifact_prefix={own}/"]
            options += ["-timeout=60", "-rss_limit_mb=0"]  # a limit would count the memory of this process too
            os.chdir(own)
            main(name, options)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        (folder / f"{name}.end").write_text(str(os.waitstatus_to_exitcode(status)))


if __name__ == "__main__":
    if sys.argv[1] == "every":
        every(Path(sys.argv[2]).resolve())
    else:
        main(sys.argv[1], sys.argv[2:])
