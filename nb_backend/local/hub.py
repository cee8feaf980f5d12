"""Models of the Hugging Face hub: found and described by ``huggingface_hub``, fetched, checked and kept in the cache.

``hf_hub_download`` starts a download anew when its process has ended in the middle. These files have gigabytes, so the
part that has arrived is kept here, and the next fetch continues it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from .engine import EngineError
from .gguf_files import HubModel, NoSuchFileError, choose, complete_models, is_model, model_name, shards
from .weights import Report, cache_folder, progress_bar

RETRIES = 5  # after a broken connection, as long as nothing more arrives
RETRY_DELAY = 1.0  # seconds
TIMEOUT = 30.0  # seconds without data
MARGIN = 100_000_000  # bytes that stay free on the disk
_HUB = "https://huggingface.co"
_REPORT_INTERVAL = 0.2  # seconds
_SHA256 = re.compile(r"[0-9a-f]{64}")


class HubError(EngineError):
    """A model cannot be fetched from the hub."""


class _UnreachableError(HubError):
    """The hub does not answer."""


@dataclass(frozen=True)
class _File:
    """A file on the hub.

    ``size`` is in bytes, 0 if unknown; ``version`` is its sha256, or what the hub names its contents if it has none.
    """

    path: str
    url: str
    size: int
    version: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def fetch(model: HubModel, report: Report = lambda done, total: None) -> Path:
    """Fetch a model unless it is in the cache, and return the path of its file, of the first part if it has several.

    A terminal shows a progress bar. Each file is complete and has the checksum that the hub gives, else it is not
    there; of a hub that gives none, only the size. If the hub cannot be reached, a model that was fetched earlier is
    used. Raises ``HubError``.
    """
    try:
        with _one_line_errors(model):
            files = _describe(model)
    except _UnreachableError:
        if (path := stored(model)) is None:
            raise
        return path
    folder = _folder(model) / _digest(files)
    with _one_line_errors(model, folder):
        folder.mkdir(parents=True, exist_ok=True)
        missing = [file for file in files if not _is_stored(file, folder)]
        if missing:
            done, total, start = 0, sum(file.size for file in missing), _size(_part(folder, missing[0]))
            with progress_bar(f"Fetching {model_name(files[0].name)}", total, report, start) as tell:
                for file in missing:
                    _fetch_file(file, folder, partial(_report, tell, done, total))
                    done += file.size
    return folder / files[0].name


def _report(tell: Report, before: int, total: int, size: int) -> None:
    tell(before + size, total)


def _describe(model: HubModel) -> list[_File]:
    """Return the files of a model, from the hub."""
    hub = _library()
    if is_model(model.file):  # its list of files is not needed
        try:
            return [_metadata(hub, model, path) for path in shards(model.file)]
        except hub.errors.HfHubHTTPError as error:
            if error.response.status_code != 404:
                raise
    return [_metadata(hub, model, path) for path in choose(model, _paths(hub, model.repo))]


def _paths(hub: Any, repo: str) -> list[str]:
    """Return the paths of all files of a repository."""
    api = hub.HfApi(endpoint=_endpoint())
    try:
        return [one.rfilename for one in api.model_info(repo).siblings or []]
    except hub.errors.RepositoryNotFoundError:
        raise
    except hub.errors.HfHubHTTPError:  # a mirror, which may have the other list only
        return [*api.list_repo_files(repo)]


def _metadata(hub: Any, model: HubModel, path: str) -> _File:
    url = hub.hf_hub_url(model.repo, path, endpoint=_endpoint())
    found = hub.get_hf_file_metadata(url, timeout=TIMEOUT)
    version = (found.etag or "").lower()
    if not _SHA256.fullmatch(version):  # a mirror, which may have it in its list
        with suppress(hub.errors.HfHubHTTPError):
            info = hub.HfApi(endpoint=_endpoint()).model_info(model.repo, files_metadata=True)
            stored = [one.lfs for one in info.siblings or [] if one.rfilename == path and one.lfs]
            version = next((one.sha256 for one in stored), version)
    return _File(path, url, found.size or 0, version)


def _fetch_file(file: _File, folder: Path, report: Callable[[int], None]) -> None:
    """Fetch a file, check it, and only then give it its name. Other processes that want it wait."""
    from filelock import FileLock  # huggingface_hub needs it, too

    lock = Path(f"{_part(folder, file)}.lock")
    with FileLock(lock):
        if not _is_stored(file, folder):  # by another process
            _fetch_alone(file, folder, report)
        with suppress(OSError):  # Windows keeps it as long as another process waits
            lock.unlink()


def _fetch_alone(file: _File, folder: Path, report: Callable[[int], None]) -> None:
    part = _part(folder, file)
    if not 0 < _size(part) <= file.size:
        part.unlink(missing_ok=True)
    needed = file.size - _size(part) + MARGIN
    if shutil.disk_usage(folder).free < needed:
        raise HubError(f"{folder} has less than {needed / 1e9:.1f} GB free: make room for {file.name}")
    with part.open("ab") as opened:
        _download(file, opened, report)
    _check(file, part)
    os.replace(part, folder / file.name)


def _download(file: _File, part: BinaryIO, report: Callable[[int], None]) -> None:
    """Append to a part what is missing of the file, and continue it when the connection breaks."""
    hub = _library()
    failures, failure = 0, None
    report(part.tell())
    while part.tell() < file.size or not (file.size or part.tell()):
        before = part.tell()
        if failures > RETRIES:
            raise failure or HubError(f"the hub sends less than the {file.size} bytes of {file.name}: try again later")
        if failures:
            time.sleep(RETRY_DELAY)
        try:
            _receive(_chunks(hub, file, part), file, part, report)
            failure = None
        except OSError:  # of the disk, or a refusal of the hub
            raise
        except Exception as error:  # of the HTTP client, which huggingface_hub chooses
            failure = error
        failures = 1 if part.tell() > before else failures + 1


def _receive(chunks: Iterator[bytes], file: _File, part: BinaryIO, report: Callable[[int], None]) -> None:
    reported = time.monotonic()
    for chunk in chunks:
        part.write(chunk)
        if part.tell() > (file.size or part.tell()):
            raise HubError(f"the hub sends more than the {file.size} bytes of {file.name}: it is not used")
        if time.monotonic() - reported >= _REPORT_INTERVAL:
            reported = time.monotonic()
            report(part.tell())
    report(part.tell())


def _chunks(hub: Any, file: _File, part: BinaryIO) -> Iterator[bytes]:
    """Yield what is missing of a file. If the server sends all of it again, the part is emptied first."""
    start = part.tell()
    # The token goes to the hub only: the client drops this header when it is redirected to another host.
    headers = {**hub.utils.build_hf_headers(), "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with hub.get_session().stream("GET", file.url, headers=headers, timeout=TIMEOUT) as response:
        hub.utils.hf_raise_for_status(response)
        if start and not (response.headers.get("Content-Range") or "").startswith(f"bytes {start}-"):
            part.truncate(0)
            part.seek(0)
        yield from response.iter_bytes()


def _check(file: _File, part: Path) -> None:
    """Raise ``HubError``, and delete the part, if it is not the file that the hub describes."""
    is_right = _size(part) == (file.size or _size(part))
    if is_right and _SHA256.fullmatch(file.version):
        with part.open("rb") as opened:
            is_right = hashlib.file_digest(opened, "sha256").hexdigest() == file.version
    if not is_right:
        part.unlink()
        raise HubError(f"{file.name} arrived damaged (wrong checksum) and was deleted: fetch it again")


def stored(model: HubModel) -> Path | None:
    """Return the file of a model that was fetched earlier; the newest one if there are several versions."""
    folders = sorted(_folder(model).glob("*/"), key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in folders:
        try:
            names = choose(HubModel(model.repo, model.file.rpartition("/")[2]), os.listdir(folder))
        except NoSuchFileError:
            continue
        return folder / names[0]
    return None


def stored_models() -> list[HubModel]:
    """Return the models of the hub that are in the cache, sorted; none without the packages of the extra ``local``."""
    try:
        root = models_folder()
    except ImportError:
        return []
    found = {
        HubModel(f"{folder.parts[-3]}/{folder.parts[-2]}", name)
        for folder in root.glob("*/*/*/")
        for name in complete_models(os.listdir(folder))
    }
    return sorted(found, key=str)


def models_folder() -> Path:
    """Return the folder of all models of the hub in the cache."""
    return cache_folder() / "models"


def _is_stored(file: _File, folder: Path) -> bool:
    """Whether the whole file is there: it got its name when it was checked."""
    size = _size(folder / file.name)
    return size > 0 and size == (file.size or size)


def _folder(model: HubModel) -> Path:
    return models_folder().joinpath(*model.repo.split("/"))


def _digest(files: list[_File]) -> str:
    """Return a name for the contents of these files: another version gets another folder."""
    return hashlib.sha256(" ".join(file.version for file in files).encode()).hexdigest()[:16]


def _part(folder: Path, file: _File) -> Path:
    return folder / f"{file.name}.part"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or _HUB).rstrip("/")


def _library() -> Any:
    """Import huggingface_hub, without its telemetry, progress bars and log messages."""
    for name in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS"):
        os.environ[name] = "1"
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    try:
        import huggingface_hub
        import huggingface_hub.errors
        import huggingface_hub.utils
    except ImportError as error:
        raise HubError(f"models of the hub need huggingface_hub ({error}): pip install 'nb_backend[local]'") from error
    return huggingface_hub


@contextmanager
def _one_line_errors(model: HubModel, folder: Path | None = None) -> Iterator[None]:
    """Raise a failure as a ``HubError`` with one line that says what to do."""
    try:
        yield
    except HubError:
        raise
    except NoSuchFileError as error:
        raise HubError(str(error)) from None
    except Exception as error:
        raise _explained(error, model, folder) from None


def _explained(error: Exception, model: HubModel, folder: Path | None) -> HubError:
    errors, repo = _library().errors, model.repo
    status = getattr(getattr(error, "response", None), "status_code", None)
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    if isinstance(error, errors.GatedRepoError):
        return HubError(
            f"{repo} is gated: accept its terms at {_endpoint()}/{repo}, then set HF_TOKEN to a token of that account"
        )
    if isinstance(error, errors.RepositoryNotFoundError) or status == 404:
        return HubError(
            f"the hub shows no model {repo}: check the name; if it is private, set HF_TOKEN to a token that may read it"
        )
    if status in (401, 403):
        return HubError(f"the hub refuses access to {repo}: set HF_TOKEN to a token that may read it")
    if isinstance(error, errors.OfflineModeIsEnabled):
        return _UnreachableError("HF_HUB_OFFLINE is set, and the model was not fetched before: unset it")
    if status is not None:
        kind = _UnreachableError if status >= 500 else HubError
        return kind(f"the hub answered with status {status} for {repo}: try again later")
    if isinstance(error, OSError):
        advice = ": make room, then fetch it again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        return HubError(f"cannot store {model} in {error.filename or folder}: {error.strerror or error}{advice}")
    return _UnreachableError(
        f"cannot fetch {model} from {_endpoint()} ({reason}): check the connection and HF_ENDPOINT, then try again; "
        "what has arrived is kept. A file of your own works offline: FILE.gguf"
    )
