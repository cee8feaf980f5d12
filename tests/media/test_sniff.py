"""Types that are easily mistaken, truncated files, and pixel sizes."""

from __future__ import annotations

import io

import pytest
from cpu_time import cpu_time
from hypothesis import given
from hypothesis import strategies as st
from media_samples import HEIC, MP3, PDF, WHOLE, box
from media_support import RGBA, SVG_TEXT, content, encoded, refusal
from PIL import Image

from nb_backend import to_data_uri
from nb_backend.media import formats, probe
from nb_backend.media.probe import pixel_size
from nb_backend.media.sniff import data_uri, format_size, media_type, shown_bytes
from nb_backend.media.types import TYPES


@pytest.mark.parametrize("kind", WHOLE)
def test_truncated_files_are_refused(kind, tmp_path):
    whole = WHOLE[kind]
    assert media_type(whole) == kind
    assert to_data_uri(whole)
    (path := tmp_path / "cut").write_bytes(whole[: len(whole) * 3 // 4])
    if kind != "image/tiff":  # whose first directory may stand anywhere
        assert f"cut is {kind} and cut off: copy or save it again" in refusal(str(path))[-80:]


@pytest.mark.parametrize("whole", [encoded("JPEG", progressive=True), encoded("PNG"), encoded("WebP", lossless=True)])
def test_a_truncated_image_is_refused_at_any_length(whole):
    for end in range(40, len(whole) - 3, 7):
        refusal(whole[:end])
    assert content(whole + b"\0\0") == whole + b"\0\0"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (box(b"ftyp", b"mif1\0\0\0\0mif1avif"), "image/avif"),
        (box(b"ftyp", b"mif1\0\0\0\0mif1heic"), "image/heic"),
        (box(b"ftyp", b"hevc\0\0\0\0"), "image/heic"),
        (box(b"ftyp", b"M4B \0\0\0\0"), "audio/mp4"),
        (box(b"ftyp", b"qt  \0\0\0\0"), "video/quicktime"),
        (box(b"ftyp", b"3gp4\0\0\0\0"), "video/3gpp"),
        (box(b"ftyp", b"crx \0\0\0\0"), None),
        (b"\x1aE\xdf\xa3\x93B\x82\x88matroska", "video/x-matroska"),
        (b"\x1aE\xdf\xa3\x9fB\x82\x84webm", "video/webm"),
        (MP3, "audio/mpeg"),
        (b"ID3 tags are a text", None),
        (b"\xff\xfb\xff\xff", None),
        (
            b"<?xml version='1.0'?>\n<!DOCTYPE svg PUBLIC '-//W3C'\n 'http://x'>\n<!-- graphviz -->\n<svg/>",
            "image/svg+xml",
        ),
        (b'<!DOCTYPE svg PUBLIC "x" [\n<!ENTITY ns "http://x">\n]>\n<svg>', "image/svg+xml"),
        (b"<!--" + b"licence " * 300 + b"--><svg></svg>", "image/svg+xml"),
        (b"<svgs>", None),
        (b"<!DOCTYPE html><svg>", None),
    ],
)
def test_types_that_are_easily_mistaken(data, kind):
    assert media_type(data) == kind


def test_a_signature_alone_counts_as_truncated():
    assert "the bytes is image/png and cut off" in refusal(b"\x89PNG\r\n\x1a\n")


@given(st.one_of(st.sampled_from([*WHOLE.values(), MP3]), st.binary()), st.integers(0, 3000), st.binary(max_size=40))
def test_damaged_files_give_their_type_or_a_short_error(whole, at, other):
    for data in (whole[:at], whole[:at] + other + whole[at:], other + whole):
        try:
            kind = to_data_uri(data).partition(";")[0]
        except ValueError as error:
            assert len(str(error)) < 200  # noqa: PT017
        else:
            assert kind == f"data:{media_type(data)}" or TYPES[media_type(data)].is_converted


def saved(kind: str, mode: str, **options) -> bytes | None:
    """Return an image of 7×5 pixels, or ``None`` if Pillow cannot write this format in this mode."""
    try:
        Image.fromarray(RGBA).convert("F" if mode == "F" else "RGBA").convert(mode).save(
            file := io.BytesIO(), kind, **options
        )
    except (OSError, ValueError, KeyError):
        return None
    return file.getvalue()


FORMATS = {
    "PNG": {},
    "JPEG": {"progressive": True},
    "GIF": {},
    "WebP": {"lossless": True},
    "BMP": {},
    "TIFF": {"big_tiff": False},
    "AVIF": {},
}
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "F", "CMYK", "YCbCr")


@pytest.mark.parametrize("kind", FORMATS)
def test_the_size_is_what_pillow_says(kind):
    written = [saved(kind, mode, **options) for mode in MODES for options in ({}, FORMATS[kind])]
    assert len([data for data in written if data]) >= 6
    for data in filter(None, written):
        assert pixel_size(data, f"image/{kind.lower()}") == Image.open(io.BytesIO(data)).size == (7, 5)


def test_the_size_is_as_it_is_stored():
    (exif := Image.Exif())[0x0112] = 6
    assert pixel_size(encoded("JPEG", exif=exif, comment=b"\xff\xc0" * 99), "image/jpeg") == (64, 64)
    for kind in ("JPEG", "PNG", "TIFF"):
        Image.fromarray(RGBA[..., :3].copy()).save(file := io.BytesIO(), kind, exif=exif)
        assert pixel_size(file.getvalue(), f"image/{kind.lower()}") == (7, 5)


@pytest.mark.parametrize(
    ("data", "kind", "size"),
    [
        (HEIC, "image/heic", (4032, 3024)),
        (b"BM" + bytes(12) + b"\x0c\0\0\0" + b"\x07\0\x05\0", "image/bmp", (7, 5)),
        (b"BM" + bytes(12) + b"\x28\0\0\0" + b"\x07\0\0\0" + b"\xfb\xff\xff\xff", "image/bmp", (7, 5)),
        (b"MM\0*\0\0\0\x08\0\x02\1\0\0\3\0\0\0\1\0\7\0\0\1\1\0\4\0\0\0\1\0\0\0\5", "image/tiff", (7, 5)),
        (b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + b"\6\0\0\4\0\0", "image/webp", (7, 5)),
        (b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" + bytes(8), "image/png", None),
        (b"\xff\xd8" + b"\xff\xe0\0\2" * 10_000, "image/jpeg", None),
        (PDF, "application/pdf", None),
        (SVG_TEXT.encode(), "image/svg+xml", None),
    ],
)
def test_sizes_in_headers(data, kind, size):
    assert pixel_size(data, kind) == size


@given(
    st.one_of(st.binary(), st.sampled_from([*WHOLE.values(), HEIC])),
    st.sampled_from([*WHOLE, "image/heic", "image/x-icon", ""]),
    st.integers(0, 200),
    st.binary(max_size=30),
)
def test_whatever_the_bytes_their_size_is_two_numbers_or_none(data, kind, at, other):
    for damaged in (data, data[:at], data[:at] + other + data[at + len(other) :]):
        size = pixel_size(damaged, kind)
        assert size is None or min(size) > 0


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_the_end_is_searched_for_within_bounds(kind, monkeypatch):
    monkeypatch.setattr(formats, "_MAX_CHUNKS", 10)
    head, part = {
        "jpeg": (b"\xff\xd8", b"\xff\xff\xe0\0\2"),
        "png": (b"\x89PNG\r\n\x1a\n" + bytes(4) + b"IHDR" + bytes(4), bytes(4) + b"teSt" + bytes(4)),
    }[kind]
    assert probe.is_truncated(head + part * 8 + b"\xff\xe0\xff", f"image/{kind}")
    assert not probe.is_truncated(head + part * 20 + b"\xff\xe0\xff", f"image/{kind}")


@pytest.mark.parametrize(
    ("head", "part", "kind"),
    [
        (b"\xff\xd8", b"\xff", "image/jpeg"),
        (b"\xff\xd8", b"\xff\xe0\0\2", "image/jpeg"),
        (b"\xff\xd8", b"\xff\xda", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n" + bytes(4) + b"IHDR" + bytes(4), bytes(4) + b"teSt" + bytes(4), "image/png"),
        (box(b"ftyp", b"heic"), box(b"free", b""), "image/heic"),
    ],
)
def test_hostile_bytes_are_read_in_no_time(head, part, kind):
    data = head + part * (2**25 // len(part))
    with cpu_time(most=1):
        probe.is_truncated(data, kind)
        pixel_size(data, kind)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"a", b"a"),
        (memoryview(b"a"), b"a"),
        ("YQ==\n", b"a"),
        ("\ufeff <svg/>", "\ufeff <svg/>".encode()),
        ("<\ud800", b""),
        ("é", b""),
        ("YQ", b""),
        (None, b""),
        (["YQ=="], b""),
    ],
)
def test_bytes_from_display_hooks(data, found):
    assert shown_bytes(data) == found


def test_bytes_are_sent_as_a_data_uri():
    assert data_uri(b"a", "image/png") == "data:image/png;base64,YQ=="


@pytest.mark.parametrize(
    ("size", "formatted"),
    [
        (0, "0.0 kB"),
        (7_949, "7.9 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (12_345_678, "12.3 MB"),
        (3 * 10**9, "3,000.0 MB"),
    ],
)
def test_sizes_are_formatted(size, formatted):
    assert format_size(size) == formatted
