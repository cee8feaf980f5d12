"""What is sent is upright: the EXIF orientation goes into the pixels, once, wherever the image comes from."""

from __future__ import annotations

import io
import struct
import subprocess
import sys

import numpy as np
import pillow_heif
import pytest
from cpu_time import cpu_seconds
from hypothesis import given
from hypothesis import strategies as st
from media_samples import heic
from media_support import PNG, saved
from PIL import Image, ImageOps

from nb_backend import attach, to_data_uri
from nb_backend.media.orientation import jpeg_orientation, png_orientation, webp_orientation
from nb_backend.media.sniff import parse_data_uri

UPRIGHT = Image.new("RGB", (64, 48), (200, 30, 30))
UPRIGHT.paste((0, 0, 250), (0, 0, 24, 12))  # blue at the top left
BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
KINDS = {"JPEG": {"quality": 95, "subsampling": 0}, "PNG": {}, "WEBP": {"quality": 95}}
READ = {"JPEG": jpeg_orientation, "PNG": png_orientation, "WEBP": webp_orientation}


def exif_of(turn: int) -> Image.Exif:
    (exif := Image.Exif())[0x0112] = turn
    exif.get_ifd(0x8825)[1] = "N"  # a place
    return exif


def turned(kind: str, turn: int, **options) -> bytes:
    """Return the picture as a camera stores it that was held this way."""
    image = UPRIGHT.transpose(BACK[turn]) if turn in BACK else UPRIGHT
    return saved(image, kind, exif=exif_of(turn), **KINDS.get(kind, {}), **options)


def shown(data: bytes) -> Image.Image:
    """Return what a server sees that knows nothing of EXIF."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def is_upright(data: bytes) -> bool:
    image = shown(data)
    assert image.getexif().get(0x0112, 1) == 1
    assert not image.getexif().get_ifd(0x8825)
    got, wanted = (np.asarray(one.convert("RGB")).astype(int) for one in (image, UPRIGHT))
    return got.shape == wanted.shape and np.abs(got - wanted).mean() < 8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("turn", range(2, 9))
def test_a_turned_file_is_sent_upright_in_its_format_without_its_exif(kind, turn, tmp_path):
    data = turned(kind, turn)
    (path := tmp_path / "photo.x").write_bytes(data)
    for value in (data, path, path.as_uri(), io.BytesIO(data), memoryview(data)):
        sent = attach(value)
        assert is_upright(sent.data)
        assert sent.media_type == f"image/{kind.lower()}"
        assert sent.remark == "turned upright"
        assert parse_data_uri(to_data_uri(value))[1] == sent.data
    assert attach(sent.data).data == sent.data  # not twice


@pytest.mark.parametrize("kind", [*KINDS, "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("turn", [3, 6, 7])
def test_an_image_of_pillow_is_sent_upright(kind, turn):
    if kind == "HEIF":
        pillow_heif.register_heif_opener()
        data = heic(UPRIGHT.transpose(BACK[turn]), exif=exif_of(turn).tobytes())
    else:
        data = turned(kind, turn)
    lazy, loaded = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(data))
    loaded.load()
    before = loaded.tobytes()
    made = [one(Image.open(io.BytesIO(data))) for one in (Image.Image.copy, lambda image: image.convert("RGBA"))]
    for value in (data, lazy, lazy, loaded, loaded, *made, ImageOps.exif_transpose(Image.open(io.BytesIO(data)))):
        assert is_upright(attach(value).data)
    assert loaded.tobytes() == before
    (by_user := Image.open(io.BytesIO(data))).load()
    ImageOps.exif_transpose(by_user, in_place=True)
    assert is_upright(attach(by_user).data)


def test_what_the_user_has_turned_is_not_turned_again():
    (exif := Image.Exif())[0x0112] = 6
    exif.get_ifd(0x8769).update({0xA002: 48, 0xA003: 64})  # as stored
    data = saved(UPRIGHT.transpose(BACK[6]), "JPEG", exif=exif, quality=95)
    opened = Image.open(io.BytesIO(data))
    assert is_upright(attach(opened.rotate(-90, expand=True)).data)
    assert is_upright(attach(opened.convert("RGB")).data)
    assert is_upright(attach(opened).data)


def test_a_jpeg_is_turned_without_losing_quality():
    noise = Image.effect_noise((64, 48), 90).convert("RGB")
    for options in ({"quality": 40}, {"quality": 97, "subsampling": 1}):
        given = Image.open(io.BytesIO(data := saved(noise, "JPEG", exif=exif_of(6), **options)))
        sent = attach(data).data
        tables = {key: np.reshape(table, (8, 8)).T.ravel().tolist() for key, table in given.quantization.items()}
        assert Image.open(io.BytesIO(sent)).quantization == tables
        got, wanted = (
            np.asarray(one.convert("L")).astype(int) for one in (shown(sent), ImageOps.exif_transpose(given))
        )
        assert np.abs(got - wanted).mean() < 3
    lossless = saved(noise, "WEBP", exif=exif_of(8), lossless=True)
    wanted = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(lossless))).convert("RGB"))
    assert np.array_equal(np.asarray(shown(attach(lossless).data).convert("RGB")), wanted)


def test_a_turned_animation_stays_one():
    second = Image.new("RGB", UPRIGHT.size, "white")
    data = turned("PNG", 6, save_all=True, append_images=[second.transpose(BACK[6])])
    sent = Image.open(io.BytesIO(attach(data).data))
    assert (sent.n_frames, sent.size) == (2, UPRIGHT.size)


@pytest.mark.parametrize("kind", KINDS)
def test_an_upright_file_is_sent_byte_for_byte(kind):
    for exif in (exif_of(1), Image.Exif(), None):
        data = saved(UPRIGHT, kind, **({} if exif is None else {"exif": exif}))
        assert attach(data).data == data
        assert attach(data).remark == ""


def test_a_turned_file_that_cannot_be_read_is_refused():
    data = turned("JPEG", 6)
    damaged = data[: data.index(b"\xff\xc0")] + b"\xff\xda\0\x08" + bytes(6) + b"\xff\xd9"
    message = r"^it\.jpg cannot be sent: it is turned by its EXIF; Pillow cannot turn it.*: save it again, upright$"
    with pytest.raises(ValueError, match=message):
        attach(damaged, "it.jpg")


WITHOUT_PILLOW = """
import sys
sys.modules["PIL"] = None
from nb_backend import attach
one = attach(sys.stdin.buffer.read(), "photo.jpg")
print(one)
"""


def test_without_pillow_it_is_sent_as_it_is_and_the_remark_says_what_to_install():
    code = [sys.executable, "-c", WITHOUT_PILLOW]
    done = subprocess.run(code, input=turned("JPEG", 6), capture_output=True, check=True)
    assert "not turned upright: to turn it, pip install pillow)" in done.stdout.decode()


LAZY = """
import sys
from nb_backend import attach
for _ in range(2):
    assert attach(sys.stdin.buffer.read() or b"\\xff\\xd8\\xff\\xd9").remark == ""
print("PIL" in sys.modules)
"""


def test_an_upright_photo_needs_no_pillow():
    data = saved(UPRIGHT, "JPEG", exif=exif_of(1))
    done = subprocess.run([sys.executable, "-c", LAZY], input=data, capture_output=True, check=True)
    assert done.stdout.decode().strip() == "False"


# -- where it stands in a file


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_orientation_is_read_without_pillow(kind, turn, order):
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, turn, 0)
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    exif = b"Exif\0\0" + mark + struct.pack(order + "IH", 8, 1) + entry + bytes(4)
    data = saved(UPRIGHT, kind, exif=exif, icc_profile=bytes(300))
    assert READ[kind](data) == turn
    assert Image.open(io.BytesIO(data)).getexif()[0x0112] == turn


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_a_value_that_exif_does_not_know_is_upright(value):
    data = saved(UPRIGHT, "JPEG", exif=exif_of(value))
    assert jpeg_orientation(data) == 1
    assert attach(data).data == data


def test_the_exif_of_a_thumbnail_inside_is_not_the_one_of_the_picture():
    inside = turned("JPEG", 6)
    segment = b"\xff\xe2" + (len(inside) + 2).to_bytes(2, "big") + inside
    outside = saved(UPRIGHT, "JPEG")
    assert jpeg_orientation(outside[:2] + segment + outside[2:]) == 1


WHOLE = [turned(kind, 6) for kind in READ]


@given(st.sampled_from([*WHOLE, PNG]), st.integers(0, 400), st.binary(max_size=20), st.sampled_from([*READ.values()]))
def test_damaged_files_have_an_orientation(whole, at, other, read):
    for data in (whole[:at], whole[:at] + other + whole[at:], whole[:at] + other + whole[at + len(other) :]):
        assert 1 <= read(data) <= 8


def test_a_few_fill_bytes_are_passed_over_and_many_are_not_read():
    data = turned("JPEG", 6)
    assert jpeg_orientation(data[:2] + 9 * b"\xff" + data[2:]) == 6
    assert cpu_seconds(lambda: jpeg_orientation(data[:2] + bytes([255]) * 20_000_000)) < 0.5
