"""Saved files are valid and complete, whatever a chat contains and whatever happens during the write."""

from __future__ import annotations

import json
import math
import os
import stat
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nb_backend import Chat
from nb_backend.providers.json_pieces import MAX_DEPTH

NAMES = ("chat.json", "chat.md", "chat.ipynb")
posix = pytest.mark.skipif(sys.platform == "win32", reason="is about POSIX")

any_text = st.text(st.characters(exclude_categories=()))  # lone surrogates too
keys = any_text | st.none() | st.integers() | st.floats() | st.tuples(st.integers()) | st.binary(max_size=3)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([10**4000, -(2**64)]) | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=10,
)
roles = st.sampled_from(["user", "assistant", "system", "developer", "tool"]) | any_text
parts = st.lists(
    st.dictionaries(st.sampled_from(["type", "text", "image_url"]) | any_text, values, max_size=3), max_size=3
)
messages = st.lists(
    st.fixed_dictionaries(
        {"role": roles},
        optional={
            "content": st.none() | any_text | parts,
            "stopped": st.booleans(),
            "trimmed": st.integers(0, 99),
            "cell": any_text,
            "system": any_text,
            "images": st.dictionaries(any_text, any_text, max_size=3),
            "tool_calls": values,
        },
    ),
    max_size=4,
)


def chat_of(*said: str) -> Chat:
    chat = Chat()
    chat.messages = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(said)]
    return chat


def write(chat: Chat, path: Path) -> None:
    (chat.save if path.suffix == ".json" else chat.export)(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.none() | any_text, st.none() | any_text, st.dictionaries(any_text, values, max_size=3), messages)
@example("\ud800", "\udfff", {"\udc00": [math.nan, math.inf, {math.nan: -math.inf, None: "\ud800"}]}, [])
@example(None, None, {}, [{"role": "\ud800", "content": [{"\ud800": math.nan}], "images": {"\ud800": "\udc00"}}])
def test_files_are_valid_whatever_a_chat_contains(tmp_path, monkeypatch, model, system, params, messages):
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # four files each time, which would be slow
    chat = Chat(model, system=system)
    chat.params = {name: value for name, value in params.items() if name not in ("model", "messages", "media")}
    chat.messages = messages
    for name in NAMES:
        write(chat, tmp_path / name)
        text = (tmp_path / name).read_bytes().decode("utf-8")  # no lone surrogate
        if name != "chat.md":
            json.loads(text, parse_constant=lambda constant: pytest.fail(constant))
    Chat.load(tmp_path / "chat.json").save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "chat.json").read_bytes()
    nbformat.validate(nbformat.read(tmp_path / "chat.ipynb", as_version=nbformat.NO_CONVERT))


def nested(levels: int) -> list:
    value: list = []
    for _ in range(levels):
        value = [value]
    return value


def deeper(levels: int, call) -> None:
    """Call a function this deep in the stack."""
    return deeper(levels - 1, call) if levels else call()


def test_what_a_service_wants_back_is_kept_however_deep_an_event_may_be(tmp_path):
    chat = chat_of("a", "b")
    state = {"owner": "x", "items": nested(MAX_DEPTH - 1)}
    chat.messages[1] |= {"rounds": [{"text": "b", "steps": [], "state": state}]}
    chat.save(tmp_path / "chat.json")
    saved = Chat.load(tmp_path / "chat.json")
    assert saved.messages[1]["rounds"][0]["state"] == state


def test_a_file_that_was_written_can_be_read_deep_in_the_stack(tmp_path):
    path = tmp_path / "chat.json"
    chat = chat_of("a")
    for levels in (110, 300, 450, 10**5):
        chat.params = {"x": nested(levels)}
        with pytest.raises(ValueError, match="nested too deeply"):
            chat.save(path)
    chat.params = {"x": nested(90)}
    chat.save(path)
    deeper(500, lambda: Chat.load(path))
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**record, "params": {"x": nested(300)}}))
    with pytest.raises(ValueError, match="not a chat saved by nb_backend: its data is nested too deeply"):
        Chat.load(path)


@pytest.mark.parametrize(
    "fields",
    [{"model": 7}, {"provider": ["P"]}, {"params": {"messages": 3}}, {"params": []}, {"messages": [{"role": 7}]}],
    ids=str,
)
def test_a_chat_that_could_not_be_loaded_is_not_saved(tmp_path, fields):
    path = tmp_path / "chat.json"
    chat = chat_of("a", "b")
    chat.save(path)
    before = path.read_bytes()
    for name, value in fields.items():
        setattr(chat, name, value)
    for name in NAMES:
        with pytest.raises(ValueError, match='this chat cannot be written: "'):
            write(chat, tmp_path / name)
    assert [(file, file.read_bytes()) for file in tmp_path.iterdir()] == [(path, before)]


@posix
def test_a_device_is_not_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "chat.json")
    (tmp_path / "chat.md").mkdir()
    for name in ("chat.json", "chat.md"):
        with pytest.raises(ValueError, match=r"chat\.\w+' cannot be written: it exists and is not a regular file"):
            write(chat_of("a"), tmp_path / name)
    assert stat.S_ISFIFO((tmp_path / "chat.json").stat().st_mode)
    assert len([*tmp_path.iterdir()]) == 2


@posix
@pytest.mark.parametrize("name", NAMES)
def test_only_the_owner_reads_it_whatever_the_folder_allows(tmp_path, name):
    tmp_path.chmod(0o2777)
    before = os.umask(0)
    try:
        write(chat_of("a", "b"), tmp_path / name)
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
        (tmp_path / name).chmod(0o666)
        (tmp_path / f"hard-{name}").hardlink_to(tmp_path / name)  # an open old file does not see the new content
        write(chat_of("c", "d"), tmp_path / name)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert (tmp_path / f"hard-{name}").read_bytes() != (tmp_path / name).read_bytes()


def test_an_os_error_names_the_file_of_the_caller(tmp_path):
    for name in NAMES:
        with pytest.raises(FileNotFoundError) as failure:
            write(chat_of("a"), tmp_path / "none" / name)
        assert str(failure.value) == f"[Errno 2] No such file or directory: {str(tmp_path / 'none' / name)!r}"


def run(code: str, folder: Path) -> list[str]:
    """Run a program that writes files of ``NAMES`` into a folder, and give the lines that it prints."""
    command = [sys.executable, "-W", "error", "-c", WRITING + code, str(folder), *NAMES]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()


WRITING = """
import os, random, resource, signal, sys, time
from pathlib import Path
from nb_backend import Chat

folder, names = Path(sys.argv[1]), sys.argv[2:]

def write(name, said, times=1):
    chat = Chat()
    chat.messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": said * times + "the end"}]
    (chat.save if name == "chat.json" else chat.export)(folder / name)

def whole(name):
    if name == "chat.json":
        text = Chat.load(folder / name).messages[1]["content"]
    else:
        text = (folder / name).read_text(encoding="utf-8")
    assert "the end" in text, name
    return text[0]

def start(work, *arguments):
    if (child := os.fork()) == 0:
        try:
            work(*arguments)
        finally:
            os._exit(0)
    return child
"""

FULL = """
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
for name in names:
    try:
        write(name, "d", 20_000)
    except OSError as error:
        print(error)
"""

KILLED = """
def write_on():
    while True:
        for name in names:
            for times in (0, 1_000, 60_000):
                write(name, "y", times)

random_ = random.Random(1)
for name in names:
    write(name, "x")
for _ in range(60):
    child = start(write_on)
    time.sleep(random_.random() * 0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for name in names:
        whole(name)
print("whole")
"""

TOGETHER = """
def write_on(said):
    for at in range(200):
        write("chat.json", said, at % 7 * 5_000)

write("chat.json", "w")
children = {start(write_on, said) for said in "xyz"}
seen = set()
while children:
    seen.add(whole("chat.json"))
    child, status = os.waitpid(-1, os.WNOHANG)
    assert status == 0
    children.discard(child)
print(len(seen & {*"xyz"}) > 1)
"""


@posix
def test_a_full_disk_leaves_the_older_file_and_no_other(tmp_path):
    for name in NAMES:
        write(chat_of("a", "b"), tmp_path / name)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert run(FULL, tmp_path) == [f"[Errno 27] File too large: {str(tmp_path / name)!r}" for name in NAMES]
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@posix
def test_a_kill_at_any_moment_leaves_the_older_file_or_the_newer(tmp_path):
    assert run(KILLED, tmp_path) == ["whole"]


@posix
def test_several_processes_may_write_the_same_file(tmp_path):
    assert run(TOGETHER, tmp_path) == ["True"]
    assert [file.name for file in tmp_path.iterdir()] == ["chat.json"]
