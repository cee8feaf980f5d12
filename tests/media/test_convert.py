"""Bytes, files and data URIs become data URIs, and the content decides the type."""

from __future__ import annotations

import base64
import os
import tracemalloc
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from cpu_time import cpu_time
from hypothesis import given
from hypothesis import strategies as st

from nb_backend import attach, to_data_uri
from nb_backend.media import files
from nb_backend.media.sniff import media_type

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
PNG_URI = "data:image/png;base64," + base64.b64encode(PNG).decode()

SAMPLES = {
    "image/png": [PNG],
    "image/jpeg": [b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xdb"],
    "image/gif": [b"GIF87a", b"GIF89a"],
    "image/webp": [b"RIFF\x00\x00\x00\x00WEBPVP8 "],
    "image/svg+xml": [
        b"<svg xmlns='x'/>",
        b"\xef\xbb\xbf <?xml version='1.0'?>\n<!-- a --><!-- b -->\n<!DOCTYPE svg PUBLIC>\n<svg>",
    ],
    "application/pdf": [b"%PDF-1.7"],
    "audio/mpeg": [b"ID3\x03", b"\xff\xfb\x90\x00"],
    "audio/wav": [b"RIFF\x00\x00\x00\x00WAVE"],
    "audio/mp4": [b"\x00\x00\x00\x20ftypM4A "],
    "video/mp4": [b"\x00\x00\x00\x20ftypisom"],
    "video/webm": [b"\x1aE\xdf\xa3"],
}


@pytest.mark.parametrize(("kind", "data"), [(kind, data) for kind, samples in SAMPLES.items() for data in samples])
def test_the_bytes_decide_the_type(kind, data, tmp_path):
    uri = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    file = tmp_path / "a name that lies.txt"
    file.write_bytes(data)
    for value in (data, bytearray(data), memoryview(data), file, str(file), uri, uri.replace(kind, "text/plain")):
        assert to_data_uri(value) == uri


CONVERTED = {
    "image/bmp": [b"BM" + bytes(12) + b"\x28" + bytes(11)],
    "image/tiff": [b"II*\x00", b"MM\x00*", b"II+\x00"],
    "image/avif": [b"\x00\x00\x00\x20ftypavif"],
    "image/heic": [b"\x00\x00\x00\x20ftypheic"],
    "image/jp2": [b"\xff\x4f\xff\x51"],
    "image/x-icon": [b"\0\0\1\0\1\0\x20\x20\0\0"],
    "image/x-portable-anymap": [b"P6\n# made by hand\n2 3\n255\n", b"P1 7 5\n"],
}


@pytest.mark.parametrize(("kind", "data"), [(kind, data) for kind, samples in CONVERTED.items() for data in samples])
def test_the_bytes_decide_what_has_to_be_converted(kind, data):
    assert media_type(data) == kind
    with pytest.raises(ValueError, match=r"^a\.png cannot be sent: it is [A-Z0-9]+; Pillow cannot convert it"):
        to_data_uri(data, "a.png")


@pytest.mark.parametrize(
    "data",
    [
        b"P6 is a processor",
        b"P5 3 x",
        b"\0\0\1\0",
        b"\0\0\1\0\0\0" + bytes(20),
        bytes(2) + b"\2" + bytes(15),
        b"8BPS",
        b"BMW is a car, and this is a text",
        b"plain text",
        b"\xff\xfe\x00\x00",
        b"<html><svg>",
        b"RIFF....AVI ",
        b"<!-- <svg> -->",
        bytes(100),
        b"<!---->" * 140 + b"<html>",
    ],
)
def test_data_of_an_unknown_type_is_refused(data):
    with pytest.raises(ValueError, match=r"a\.png is not an image, audio, video or PDF: put text into the prompt"):
        to_data_uri(data, "a.png")


def test_many_comments_take_no_time():
    with cpu_time(most=1), pytest.raises(ValueError, match="is not an image"):
        to_data_uri(b"<!---->" * 140 + b"<html>")


@pytest.mark.parametrize(
    "uri",
    [
        PNG_URI,
        PNG_URI.replace("image/png", ""),
        PNG_URI.replace("data:image/png", "DATA:IMAGE/PNG;charset=utf-8"),
        PNG_URI.rstrip("="),
        PNG_URI[:40] + "\n " + PNG_URI[40:] + "\n",
        PNG_URI.replace("/", "_", 0),
        "data:image/png," + "".join(f"%{byte:02x}" for byte in PNG),
        "data:image/png;base64," + "".join(f"%{ord(sign):02x}" for sign in PNG_URI.partition(",")[2]),
    ],
)
def test_data_uris_are_normalized(uri):
    assert to_data_uri(uri) == PNG_URI


def test_base64_for_urls_is_read():
    jpeg = b"\xff\xd8\xff" + b"\xfb\xff\xfe"
    assert to_data_uri("data:;base64," + base64.urlsafe_b64encode(jpeg).decode()) == to_data_uri(jpeg)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("data:image/png", "no comma"),
        ("data:image/png;base64,", "is empty"),
        ("data:image/png;base64,%%%", "base64 is damaged"),
        ("data:image/png;base64,AAAAA", "base64 is damaged"),
        ("data:image/png;base64,ä", "base64 is damaged"),
        ("data:image/png;base64,aGVsbG8=", "the data URI is not an image"),
    ],
)
def test_damaged_data_uris_are_refused(uri, message):
    with pytest.raises(ValueError, match=message):
        to_data_uri(uri)


@pytest.mark.parametrize(
    "text", ["https://e.x/" + "%41" * 300_000, "data:" + ";a" * 500_000, "data:," + " " * 900_000, "a/" * 500_000]
)
def test_a_long_text_takes_little_memory(text):
    tracemalloc.start()
    with suppress(ValueError):
        attach(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * len(text)


def test_the_name_of_an_address_is_its_end():
    address = "https://e.x/a%2F" + quote("\U0001f642") * 99 + "b.png"
    assert attach(address).name == "\U0001f642" * 95 + "b.png"


def test_files(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a böld name.png").write_bytes(PNG)
    assert to_data_uri("a böld name.png") == to_data_uri("~/a böld name.png") == PNG_URI
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    for value, message in {
        "missing.png": "there is no file missing.png in ",
        "~nobody-of-that-name/x.png": "there is no file ~nobody",
        Path(): "is a folder",
        "": "is a folder",
        "pipe": "is not a regular file",
        "/dev/zero": "is not a regular file",
        "empty": "is empty",
        "x" * 5000: "cannot be read: File name too long",
        "nul\0": "null byte",
    }.items():
        with pytest.raises(ValueError, match=message) as refusal:
            to_data_uri(value)
        assert len(str(refusal.value)) < 200 + len(str(tmp_path))


def test_too_large_is_refused_without_being_read(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_SIZE", 10 * 2**20)
    with (tmp_path / "big").open("wb") as file:
        file.truncate(3 * 2**30)
    with pytest.raises(ValueError, match="big has 3072 MB, and at most 10 MB can be sent"):
        to_data_uri(tmp_path / "big")
    with pytest.raises(ValueError, match="shot has 11 MB"):
        to_data_uri(bytes(11 * 2**20), "shot")


@pytest.mark.parametrize("value", [None, 7, 1.5, ["a.png"], {}, object()])
def test_other_values_are_a_type_error(value):
    with pytest.raises(TypeError, match=rf"my value is of type {type(value).__name__}: give bytes, a path, a data URI"):
        to_data_uri(value, "my value")


@given(
    st.binary(max_size=300)
    | st.builds(bytes.__add__, st.sampled_from([s for samples in SAMPLES.values() for s in samples]), st.binary())
)
def test_any_bytes_give_a_type_or_a_short_error(data):
    try:
        uri = to_data_uri(data)
    except ValueError as error:
        assert len(str(error)) < 200  # noqa: PT017
    else:
        assert base64.b64decode(uri.partition(",")[2]) == data
        assert to_data_uri(uri) == uri


@given(st.text().map("data:".__add__))
def test_any_data_uri_gives_a_data_uri_or_a_value_error(uri):
    try:
        to_data_uri(uri)
    except ValueError as error:
        assert len(str(error)) < 200  # noqa: PT017
