"""Fuzz one target with atheris, guided by coverage: ``python tests/fuzz/run.py wire -runs=10000``.

The other arguments are those of libFuzzer (https://llvm.org/docs/LibFuzzer.html): ``-max_total_time=3600`` for an hour,
a folder to keep inputs that reach new code. An input that fails is saved to ``-artifact_prefix``, by default the
working directory; pass its file to run it again.
"""

from __future__ import annotations

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


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
