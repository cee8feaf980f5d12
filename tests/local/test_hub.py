"""Models of the Hugging Face hub: they are fetched, continued, checked, and refused in one line."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hub_server import hub_server
from local_support import ask, real_weights
from test_serve import address_of, serve
from wait import PATIENCE, eventually

from nb_backend.local import hub as module
from nb_backend.local.gguf_files import HubModel
from nb_backend.local.hub import HubError, fetch

pytest.importorskip("huggingface_hub")

MODEL = HubModel("org/Small-GGUF")
DATA = bytes(range(256)) * 4096


@pytest.fixture
def hub(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr(module, "RETRY_DELAY", 0)
    with hub_server() as serving:
        monkeypatch.setenv("HF_ENDPOINT", serving.url)
        serving.repos["org/Small-GGUF"] = {"README.md": b"", "Small-Q4_K_M.gguf": DATA, "Small-Q8_0.gguf": DATA[::-1]}
        yield serving


def stored() -> list[str]:
    """Return the names of all files in the cache."""
    return sorted(path.name for path in module.cache_folder().rglob("*") if path.is_file())


def line_of(model: HubModel = MODEL) -> str:
    """Return the one line of the error with which a fetch fails."""
    with pytest.raises(HubError) as error:
        fetch(model)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_default_file_is_fetched_once_with_its_progress(hub):
    reports: list[tuple[int, int]] = []
    path = fetch(MODEL, lambda done, total: reports.append((done, total)))
    assert path.read_bytes() == DATA
    assert reports == sorted(reports)
    assert (reports[0], reports[-1]) == ((0, len(DATA)), (len(DATA), len(DATA)))
    assert stored() == ["Small-Q4_K_M.gguf"]
    assert fetch(MODEL) == path
    assert hub.downloads() == [None]
    assert module.stored_models() == [HubModel(MODEL.repo, "Small-Q4_K_M.gguf")]


@pytest.mark.parametrize("file", ["Q8_0", "Small-Q8_0.gguf", "small-q8_0"])
def test_another_file_is_fetched_by_its_name_or_its_quantization(hub, file):
    assert fetch(HubModel(MODEL.repo, file)).read_bytes() == DATA[::-1]


def test_all_parts_are_fetched_into_one_folder_and_the_first_is_loaded(hub):
    parts = {f"Q4_K_M/Big-Q4_K_M-0000{n}-of-00002.gguf": DATA[:n] for n in (1, 2)}
    hub.repos["org/Big"] = {**parts, "mmproj-Q4_K_M.gguf": DATA}
    assert "no file for mmproj-Q4_K_M.gguf: " in line_of(HubModel("org/Big", "mmproj-Q4_K_M.gguf"))
    for file in ("", "Q4_K_M/Big-Q4_K_M-00002-of-00002.gguf"):
        path = fetch(HubModel("org/Big", file))
        assert path.name == "Big-Q4_K_M-00001-of-00002.gguf"
        assert [one.read_bytes() for one in sorted(path.parent.iterdir())] == [*parts.values()]
    assert len(hub.downloads()) == 2


def test_a_new_version_on_the_hub_is_fetched(hub):
    fetch(MODEL)
    hub.repos[MODEL.repo]["Small-Q4_K_M.gguf"] = DATA[:100]
    assert fetch(MODEL).read_bytes() == DATA[:100]


def test_several_that_want_a_model_at_the_same_time_fetch_it_once(hub):
    with ThreadPoolExecutor(4) as pool:
        assert len({*pool.map(fetch, [MODEL] * 4)}) == 1
    assert hub.downloads() == [None]
    assert stored() == ["Small-Q4_K_M.gguf"]


# --- broken connections


def test_a_download_whose_connection_breaks_continues_where_it_was(hub):
    hub.cuts[:] = [400_000, 700_000]
    assert fetch(MODEL).read_bytes() == DATA
    assert hub.downloads() == [None, "bytes=400000-", "bytes=700000-"]


def test_the_next_process_continues_what_one_that_was_killed_has_left(hub):
    hub.cuts[:], hub.hold = [400_000], True
    command = [sys.executable, "-m", "nb_backend.local", "fetch", str(MODEL)]
    killed = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert hub.on_cut.wait(PATIENCE)
    eventually(lambda: any(path.stat().st_size > 0 for path in module.cache_folder().rglob("*.part")))
    killed.kill()
    killed.communicate()
    assert "Small-Q4_K_M.gguf" not in stored()
    assert module.stored_models() == []
    kept = next(module.cache_folder().rglob("*.part")).stat().st_size
    assert fetch(MODEL).read_bytes() == DATA
    assert hub.downloads() == [None, f"bytes={kept}-"]
    assert stored() == ["Small-Q4_K_M.gguf"]


def test_a_connection_that_always_breaks_is_one_line_and_what_arrived_is_kept(hub):
    hub.cuts[:] = [400_000] + [0] * 10
    line = line_of()
    assert "cannot fetch hf:org/Small-GGUF from http://127.0.0.1:" in line
    assert "what has arrived is kept" in line
    assert "Small-Q4_K_M.gguf" not in stored()
    hub.cuts.clear()
    assert fetch(MODEL).read_bytes() == DATA
    assert hub.downloads()[-1] == "bytes=400000-"


# --- checksums and the disk


def test_a_file_with_a_wrong_checksum_is_refused_and_deleted(hub):
    hub.checksum = "0" * 64
    assert line_of() == "Small-Q4_K_M.gguf arrived damaged (wrong checksum) and was deleted: fetch it again"
    assert "Small-Q4_K_M.gguf" not in stored()
    assert "Small-Q4_K_M.gguf.part" not in stored()
    hub.checksum = ""
    assert fetch(MODEL).read_bytes() == DATA


def test_a_damaged_part_is_noticed(hub):
    hub.cuts[:] = [400_000] + [0] * 10
    line_of()
    hub.cuts.clear()
    part = next(module.cache_folder().rglob("*.part"))
    part.write_bytes(b"x" * 400_000)
    assert "wrong checksum" in line_of()
    assert fetch(MODEL).read_bytes() == DATA


def test_a_mirror_may_have_the_checksum_in_its_list_or_nowhere(hub):
    hub.etag = "a-mirror-of-the-hub"
    path = fetch(MODEL)
    assert path.read_bytes() == DATA
    hub.checksum = "0" * 64
    hub.repos[MODEL.repo]["Small-Q4_K_M.gguf"] = DATA[:100]
    assert "wrong checksum" in line_of()
    hub.checksum = "none"
    assert fetch(MODEL).read_bytes() == DATA[:100]


def test_a_mirror_may_have_the_list_of_files_only(hub):
    hub.has_info = False
    assert fetch(MODEL).read_bytes() == DATA


def test_a_full_disk_is_one_line_before_the_download(hub, monkeypatch):
    free = namedtuple("free", "free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: free(module.MARGIN))
    assert "GB free: make room for Small-Q4_K_M.gguf" in line_of()
    assert hub.downloads() == []


def test_a_disk_that_gets_full_is_one_line(hub, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, "_receive", full)
    line = line_of()
    assert line.startswith("cannot store hf:org/Small-GGUF in ")
    assert line.endswith(": No space left on device: make room, then fetch it again")


def test_a_folder_that_cannot_be_written_is_one_line(hub):
    module.cache_folder().parent.mkdir(parents=True)
    module.cache_folder().write_bytes(b"")
    line = line_of()
    assert line.startswith("cannot store hf:org/Small-GGUF in ")
    assert "make room" not in line


# --- the hub's refusals


def test_a_repository_that_is_not_there(hub):
    line = line_of(HubModel("org/nothing"))
    assert line.startswith("the hub shows no model org/nothing: check the name; if it is private, set HF_TOKEN")


@pytest.mark.parametrize(
    ("gated", "line"),
    [
        (True, "org/Small-GGUF is gated: accept its terms at http://127.0.0.1:"),
        (False, "set HF_TOKEN to a token that may read it"),
    ],
)
@pytest.mark.parametrize("file", ["", "Small-Q4_K_M.gguf"])
def test_a_token_opens_what_is_gated_or_private_and_goes_to_the_hub_only(hub, monkeypatch, gated, line, file):
    hub.token, hub.gated = "hf_secret", gated
    model = HubModel(MODEL.repo, file)
    assert line in (shown := line_of(model))
    assert "HF_TOKEN" in shown
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "HF_TOKEN" in (shown := line_of(model))
    assert "hf_wrong" not in shown
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert fetch(model).read_bytes() == DATA
    at_the_cdn = [headers for server, _, _, headers in hub.requests if server == "cdn"]
    assert at_the_cdn
    assert "hf_secret" not in str(at_the_cdn)


def test_a_file_that_is_not_there_lists_those_that_are(hub):
    line = line_of(HubModel(MODEL.repo, "Small-Q2_K.gguf"))
    assert line.endswith(
        "has no file for Small-Q2_K.gguf: write hf:org/Small-GGUF:FILE with one of Small-Q4_K_M.gguf, Small-Q8_0.gguf"
    )


# --- no network


def test_no_network_is_one_line_or_the_model_that_was_fetched_before(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    line = line_of()
    assert line.startswith("cannot fetch hf:org/Small-GGUF from http://127.0.0.1:9 (")
    assert "check the connection" in line
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    path = fetch(MODEL)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert fetch(MODEL) == path
    assert fetch(HubModel(MODEL.repo, "Q4_K_M")) == path
    assert "check the connection" in line_of(HubModel(MODEL.repo, "Q8_0"))


@pytest.mark.parametrize("endpoint", ["nonsense", "http://127.0.0.1:1:2"])
def test_an_endpoint_that_is_not_an_address_is_one_line(hub, monkeypatch, endpoint):
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert "check the connection and HF_ENDPOINT" in line_of()


def test_without_huggingface_hub_the_extra_is_named(hub, monkeypatch):
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    assert module.stored_models() == []
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert line_of().endswith("pip install 'nb_backend[local]'")


# --- the commands


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nb_backend.local", *arguments], capture_output=True, text=True, timeout=PATIENCE
    )


def test_fetch_prints_the_path_and_a_failure_is_one_line(hub):
    done = command("fetch", "hf:org/Small-GGUF:Q8_0")
    assert Path(done.stdout.strip()).read_bytes() == DATA[::-1]
    assert done.stderr == ""
    failed = command("fetch", "hf:org/nothing")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("nb-backend: the hub shows no model org/nothing")
    assert failed.stderr.count("\n") == 1


def test_the_hub_is_told_nothing_but_what_a_download_needs(hub):
    command("fetch", "hf:org/Small-GGUF")
    assert {path.partition("?")[0] for server, _, path, _ in hub.requests if server == "hub"} == {
        "/api/models/org/Small-GGUF",
        "/org/Small-GGUF/resolve/main/Small-Q4_K_M.gguf",
    }


async def test_serve_a_model_of_the_hub(hub, monkeypatch):
    weights = real_weights()
    hub.repos["org/Real"] = {"Real-Q8_0.gguf": b"other", "Real-Q4_K_M.gguf": weights}
    with serve("--model", "hf:org/Real") as server:
        assert server.stdout is not None
        address = await asyncio.to_thread(address_of, server)
        assert await ask(address, grammar='root ::= "of the hub"') == "of the hub"
        server.kill()
