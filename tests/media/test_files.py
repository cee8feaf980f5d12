"""Open files, odd paths, memoryviews and web addresses."""

from __future__ import annotations

import array
import io
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_support import PNG, content, refusal

from nb_backend import attach, to_data_uri
from nb_backend.media import files


class Once:
    """An open file that cannot seek and returns little at a time; if ``endless``, it never ends."""

    def __init__(self, *parts, endless=False):
        self.parts, self.endless, self.given = list(parts), endless, 0

    def read(self, size=-1):
        self.given += 1
        return self.parts[0] if self.endless else self.parts.pop(0) if self.parts else b""


def test_open_files_keep_their_position(tmp_path):
    (path := tmp_path / "ä b.png").write_bytes(PNG)
    with path.open("rb") as plain, path.open("rb", buffering=0) as raw, tempfile.NamedTemporaryFile() as temporary:
        temporary.write(PNG)
        for file in (plain, raw, temporary, io.BytesIO(PNG)):
            for stood in (0, 5, len(PNG)):
                file.seek(stood)
                assert content(file) == PNG
                assert file.tell() == stood
                assert not file.closed
    assert content(Once(PNG[:9], PNG[9:])) == PNG


def test_open_files_that_are_refused(tmp_path, monkeypatch):
    (path := tmp_path / "a.png").write_bytes(PNG)
    with path.open(encoding="latin-1") as text:
        assert "a.png cannot be sent: it is open as text: open it with mode 'rb'" in refusal(text)
        assert text.tell() == 0
    assert "I/O operation on closed file" in refusal(text) or "open as text" in refusal(text)
    (closed := io.BytesIO(PNG)).close()
    assert "the file cannot be sent: I/O operation on closed file" in refusal(closed) or "closed" in refusal(closed)
    assert "open as text" in refusal(io.StringIO("a"))
    assert "open as text" in refusal(Once("a"))
    assert "its read() returns int instead of bytes" in refusal(Once(7))
    assert "the file is empty" in refusal(Once())
    assert "the file is not an image" in refusal(io.BytesIO(b"text"))
    monkeypatch.setattr(files, "MAX_SIZE", 2**20)
    assert "the file has" in refusal(endless := Once(bytes(2**19), endless=True))
    assert endless.given <= 4
    with path.open("r+b") as large:
        large.truncate(3 * 2**30)
        monkeypatch.setattr(files, "_read_blocks", None)
        assert "it has 3072 MB, and at most 1 MB can be sent" in refusal(large)


def test_memoryviews():
    doubled = bytes(byte for byte in PNG for _ in "ab")
    assert content(memoryview(doubled)[::2]) == PNG
    assert content(memoryview(PNG).cast("c")) == PNG
    assert "items have 4 bytes: give its bytes, with .cast('B')" in refusal(memoryview(array.array("I", [1])))
    (gone := memoryview(PNG)).release()
    assert "released" in refusal(gone)


@pytest.mark.parametrize("url", ["https://example.org/ä.png?x=1#y", "HTTP://127.0.0.1:8080/a.png", " http://a/b "])
def test_addresses_are_passed_on(url):
    assert to_data_uri(url) == url.strip()


@pytest.mark.parametrize(
    "url", ["http://", "https:///a.png", "http://[::1/a.png", "http://a/b c.png", "http://a/\ud800"]
)
def test_wrong_addresses_are_refused(url):
    assert "the URL is not a web address: 'http" in refusal(url)


class OwnPath:
    """A path class of the user's own."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        if isinstance(self.path, Exception):
            raise self.path
        return self.path


def test_odd_paths(tmp_path, monkeypatch):
    (tmp_path / "a b ä.png").write_bytes(PNG)
    (tmp_path / "text.png").write_text("text")
    assert content(OwnPath(str(tmp_path / "a b ä.png"))) == PNG
    assert content(OwnPath(os.fsencode(tmp_path / "a b ä.png"))) == PNG
    assert "text.png is not an image" in refusal(tmp_path / "text.png") or len(str(tmp_path)) > 60
    assert "the OwnPath is not a path: KeyError: broken" in refusal(OwnPath(KeyError("broken"))).replace("'", "")
    assert "the OwnPath is not a path" in refusal(OwnPath(7))
    assert "no file name can have" in refusal("a\ud800b.png")
    assert "there is no file a b in " in refusal("a\nb")
    (gone := tmp_path / "gone").mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert "in the working directory, which was deleted" in refusal("a.png")
    assert "character" in refusal("data:image/png,\ud800")


@pytest.mark.parametrize(
    "name", ["photo.png", "my photo.png", "ä b%20c#1?.png", "100%.png", "a+b&c.png", "\U0001f642.png"]
)
def test_the_address_of_a_file_is_its_path(name, tmp_path):
    (path := tmp_path / name).write_bytes(PNG)
    address = path.as_uri()
    spellings = [
        address,
        address.replace("file://", "file://localhost"),
        address.replace("file://", "FILE:"),
        f" {address}\n",
    ]
    if "%" not in name:
        spellings.append(f"file://{path}")  # typed by hand
    for one in [*spellings, Path(address)]:
        assert attach(one).data == PNG
        assert attach(one).name == name


@pytest.mark.parametrize(
    ("url", "on_windows", "path"),
    [
        ("file:///home/me/a.png", False, "/home/me/a.png"),
        ("file:/home/me/a.png", False, "/home/me/a.png"),
        ("file:///C:/My%20Pictures/a.png", True, "C:/My Pictures/a.png"),
        ("file:///c|/a.png", True, "c:/a.png"),
        ("file:/C:/a.png", True, "C:/a.png"),
        ("file://C:/a.png", True, "C:/a.png"),
        ("file://localhost/C:/a.png", True, "C:/a.png"),
        ("file:///C:/a.png", False, "/C:/a.png"),
        ("file:////server/share/a.png", True, "//server/share/a.png"),
    ],
)
def test_the_path_in_an_address(url, on_windows, path):
    assert files._path_of_url(url, on_windows) == path


@pytest.mark.parametrize("url", ["file://server/share/a.png", "file://tmp/a.png", "file://~/a.png"])
def test_the_address_of_a_file_elsewhere_is_refused(url):
    assert refusal(url) == f"{url} names a file on the machine {url.split('/')[2]}: give a path"


def test_a_missing_file_is_named_by_its_path():
    assert refusal("file:///no%20where/a.png").startswith("there is no file /no where/a.png in ")


@given(st.text().map("file:/".__add__) | st.text(st.characters(), max_size=300))
def test_any_text_is_a_file_or_a_short_error(text):
    try:
        to_data_uri(text)
    except ValueError as error:
        assert len(str(error)) < 200  # noqa: PT017
