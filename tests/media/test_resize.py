"""Images above the limits, and thumbnails: what is kept, and what is refused."""

from __future__ import annotations

import base64
import io
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_support import PEAK, on_linux, run, saved
from PIL import Image, ImageOps

from nb_backend.media import resize
from nb_backend.media.resize import fit_within, thumbnail
from nb_backend.media.sniff import format_size, media_type

MUCH = 10**8
Y, X = np.mgrid[0:120, 0:200]
COLOURS = np.dstack([X * 255 // 199, Y * 255 // 119, (X + Y) // 2, np.where((X // 40 + Y // 40) % 2, 255, 0)])
PICTURE = Image.fromarray(COLOURS.astype(np.uint8))
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8))
MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("L", "P", "RGBA"),
    "BMP": ("1", "L", "P", "RGB"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I;16B", "I", "F"),
    "AVIF": ("L", "RGB", "RGBA"),
}
CASES = [(kind, mode) for kind, modes in MODES.items() for mode in modes]


def in_mode(mode: str) -> Image.Image:
    if mode in ("I;16", "I;16B", "I", "F"):
        kinds = {"I;16": "<u2", "I;16B": ">u2", "I": "<i4", "F": "<f4"}
        return Image.fromarray((X * 300 + Y).astype(kinds[mode]))
    return PICTURE.convert("RGB").convert(mode) if mode == "P" else PICTURE.convert(mode)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def values(image: Image.Image) -> np.ndarray:
    """Return the colors on a black background, and alpha; the values themselves if they have more than 8 bits."""
    if image.mode in ("F", "I") or image.mode.startswith("I;"):
        return np.asarray(image).astype(float)
    seen = np.asarray(image.convert("RGBA")).astype(float)
    seen[..., :3] *= seen[..., 3:] / 255
    return seen


def refusal(*args) -> str:
    with pytest.raises(ValueError, match=r"\A[^\n]{1,120}[^.\n]\Z") as raised:
        fit_within(*args)
    assert len(str(raised.value)) <= 120
    return str(raised.value)


@pytest.mark.parametrize(("kind", "mode"), CASES)
def test_scaled_by_side(kind, mode):
    data = saved(in_mode(mode), kind)
    smaller, remark = fit_within(data, media_type(data), MUCH, 100)
    got, was = opened(smaller), opened(data)
    assert remark == "scaled from 200×120 to 100×60"
    assert (got.format, got.size) == (kind, (100, 60))
    plain = was if values(was).ndim == 2 else was.convert("RGBA")
    wanted = plain.convert("I" if plain.mode.startswith("I;") else plain.mode).resize(
        (100, 60), Image.Resampling.LANCZOS
    )
    spread = np.ptp(values(was))
    assert abs(values(got) - values(wanted)).mean() < spread * 0.025
    assert fit_within(smaller, media_type(data), MUCH, 100) == (smaller, "")


@pytest.mark.parametrize(("kind", "mode"), CASES)
def test_within_the_limits_nothing_is_changed(kind, mode):
    data = saved(in_mode(mode), kind)
    assert fit_within(data, media_type(data), len(data), 200) == (data, "")


@pytest.mark.parametrize("kind", MODES)
def test_made_smaller_by_bytes(kind):
    data = saved(NOISE, kind)
    smaller, remark = fit_within(data, media_type(data), len(data) // 3, 200)
    assert len(smaller) <= len(data) // 3
    assert media_type(smaller) == media_type(data)
    assert remark.startswith("scaled from 200×120 to ")
    width, height = opened(smaller).size
    assert abs(width / height - 200 / 120) < 0.1


def test_first_the_same_size_is_tried():
    data = saved(NOISE, "JPEG", quality=100, subsampling=0)
    smaller, remark = fit_within(data, "image/jpeg", len(data) * 2 // 3, 200)
    assert opened(smaller).size == NOISE.size
    assert remark == f"made smaller, from {format_size(len(data))} to {format_size(len(smaller))}"


def test_the_short_side_keeps_a_pixel():
    data = saved(Image.new("L", (5000, 2)), "PNG")
    assert opened(fit_within(data, "image/png", MUCH, 100)[0]).size == (100, 1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_the_orientation_is_put_into_the_pixels(kind, turn):
    (exif := Image.Exif())[0x0112] = turn
    exif.get_ifd(0x8825)[1] = "N"
    options = {"quality": 95} if kind in ("JPEG", "WEBP", "AVIF") else {}
    data = saved(PICTURE.convert("RGB"), kind, exif=exif, **options)
    smaller, remark = fit_within(data, media_type(data), MUCH, 50)
    upright = ImageOps.exif_transpose(opened(data))
    wanted = upright.resize((50, 30) if turn < 5 else (30, 50), Image.Resampling.LANCZOS)
    got = opened(smaller)
    assert remark == ("scaled from 200×120 to 50×30" if turn < 5 else "scaled from 120×200 to 30×50")
    assert got.size == wanted.size
    assert abs(values(got) - values(wanted)).mean() < 6
    assert not got.getexif().get_ifd(0x8825)
    assert got.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("P", {"transparency": 3}),
        ("L", {"transparency": 0}),
        ("RGB", {"transparency": (0, 0, 0)}),
        ("RGBA", {}),
        ("LA", {}),
    ],
)
def test_transparency_stays(mode, options):
    image = PICTURE.convert("RGBA" if mode in ("LA", "RGBA") else "RGB").convert(mode).copy()
    clear = options.get("transparency", (0, 0, 0, 0) if mode == "RGBA" else (0, 0))
    image.paste(clear, (0, 0, 100, 120))
    smaller, _ = fit_within(saved(image, "PNG", **options), "image/png", MUCH, 20)
    alpha = np.asarray(opened(smaller).getchannel("A"))
    assert alpha[:, :8].max() < 10
    assert alpha[:, 12:].max() > 245


def test_a_color_profile_stays():
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "AVIF"):
        data = saved(PICTURE.convert("RGB"), kind, icc_profile=profile)
        assert opened(fit_within(data, media_type(data), MUCH, 100)[0]).info["icc_profile"] == profile


def frames(clear: bool) -> list[Image.Image]:
    drawn = [Image.new("RGBA" if clear else "RGB", (80, 60)) for _ in range(5)]
    for number, image in enumerate(drawn):
        image.paste((255, 40 * number, 0), (10 * number, 5 * number, 10 * number + 20, 5 * number + 20))
    return drawn


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("clear", [False, True])
def test_an_animation_stays_an_animation(kind, clear):
    first, *others = frames(clear)
    times, turn = [100, 200, 300, 400, 500], {"disposal": 2 if kind == "GIF" else 0}
    data = saved(first, kind, save_all=True, append_images=others, duration=times, loop=3, **turn)
    smaller, remark = fit_within(data, media_type(data), MUCH, 40)
    was, got = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(smaller))
    assert remark == "scaled from 80×60 to 40×30"
    assert got.n_frames == 5
    assert got.info.get("loop") == was.info.get("loop")
    for number, time in enumerate(times):
        for image in (was, got):
            image.seek(number)
            image.load()
        assert got.info["duration"] == time
        wanted = was.convert("RGBA").resize((40, 30), Image.Resampling.LANCZOS)
        assert abs(values(got) - values(wanted)).mean() < 4


def test_too_large_an_animation_keeps_its_first_frame(monkeypatch):
    first, *others = frames(clear=False)
    monkeypatch.setattr(resize, "_MAX_ANIMATION_PIXELS", 4 * resize._MIN_FRAME_PIXELS)
    data = saved(first, "GIF", save_all=True, append_images=others)
    smaller, remark = fit_within(data, "image/gif", MUCH, 40)
    assert remark == "scaled from 80×60 to 40×30, its first frame only"
    assert opened(smaller).n_frames == 1
    data = saved(first, "TIFF", save_all=True, append_images=others)
    assert fit_within(data, "image/tiff", MUCH, 40)[1] == "scaled from 80×60 to 40×30, its first page only"


def test_a_later_frame_larger_than_the_image_is_not_read():
    first, second = Image.new("P", (64, 64), 1), Image.effect_noise((64, 64), 90)
    data = bytearray(saved(first, "GIF", save_all=True, append_images=[second], duration=10))
    frame = b"\x2c\0\0\0\0\x40\0\x40\0"  # an image descriptor: at 0,0, 64 by 64
    at = data.index(frame, data.index(frame) + 1)
    data[at + 5 : at + 9] = (9000).to_bytes(2, "little") * 2
    assert fit_within(bytes(data), "image/gif", MUCH, 32)[1] == "scaled from 64×64 to 32×32, its first frame only"


def test_a_default_image_outside_the_animation_is_kept():
    first, *others = frames(clear=False)
    options = {"save_all": True, "append_images": others, "duration": [100, 200, 300, 400]}
    data = saved(first, "PNG", default_image=True, **options)
    got = Image.open(io.BytesIO(fit_within(data, "image/png", MUCH, 40)[0]))
    assert (got.default_image, got.n_frames) == (True, 5)
    got.seek(1)
    assert got.info["duration"] == 100


JPEG = saved(NOISE, "JPEG")
HEIC = (
    b"\0\0\0\x18ftypheic\0\0\0\0mif1heic\0\0\0\x34meta\0\0\0\0\0\0\0\x28iprp\0\0\0\x20ipco\0\0\0\x14ispe\0\0\0\0"
    b"\0\0\x17\x70\0\0\x0f\xa0\0\0\0\4"
)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            (JPEG[:2000], "image/jpeg", MUCH, 100),
            "it has 200×120 pixels, and the limit is 100; Pillow cannot scale",
        ),
        (
            (HEIC, "image/heic", MUCH, 2048),
            "it has 6000×4000 pixels, and the limit is 2048; Pillow cannot scale it: make ",
        ),
        ((b"GIF89a" + bytes(2**20), "image/gif", 2**19, 10), "it has 1.0 MB, and the limit is 524.3 kB; Pillow cannot"),
        ((bytes(2**20), "image/x-icon", 2**19, 100), "it has 1.0 MB, and the limit is 524.3 kB"),
        ((JPEG, "image/jpeg", 100, 100), "it cannot be scaled to 0.1 kB, the limit: make it smaller yourself"),
        (
            (saved(Image.new("1", (20_000, 10_000)), "PNG"), "image/png", MUCH, 2048),
            "it has 20000×10000 pixels, and at most 134 million can be scaled: make it smaller yourself",
        ),
    ],
)
def test_what_cannot_be_scaled_is_refused(args, message):
    assert message in refusal(*args)


@pytest.mark.parametrize("kind", ["audio/wav", "application/pdf", "image/svg+xml", "", "image/heic", "image/x-icon"])
def test_other_types_are_returned_unchanged(kind):
    assert fit_within(b"anything", kind, 100, 1) == (b"anything", "")


@on_linux
def test_a_large_picture_takes_no_more_memory_than_its_pixels():
    code = f"""
import sys
from nb_backend.media.resize import fit_within
print(fit_within(sys.stdin.buffer.read(), "image/png", 8_000_000, 2048)[1])
print({PEAK})
"""
    remark, megabytes = run(code, data=saved(Image.new("1", (16_000, 8_000)), "PNG")).splitlines()
    assert remark == "scaled from 16000×8000 to 2048×1024"
    assert int(megabytes) < 600


WITHOUT_PILLOW = """
import sys

class Blocked:
    def find_spec(self, name, *rest):
        if name == "PIL" or name.startswith("PIL."):
            raise ModuleNotFoundError(name)

if sys.argv[1] == "blocked":
    sys.meta_path.insert(0, Blocked())
from nb_backend.media.resize import fit_within, thumbnail
data = sys.stdin.buffer.read()
assert fit_within(data, "image/png", 10**8, 200) == (data, "")
assert fit_within(b"x", "image/heic", 10**8, 200) == (b"x", "")
assert thumbnail(data, "image/png", side=200, most=10**6).startswith("data:image/png;base64,")
assert "PIL" not in sys.modules
if sys.argv[1] == "blocked":
    for args in ((data, "image/png", 10**8, 50), (data, "image/png", 10, 50), (data, "image/png", 10, 200)):
        try:
            fit_within(*args)
        except ValueError as error:
            print(error)
    print(bool(thumbnail(data, "image/png", side=100, most=10**6)), thumbnail(data, "image/png", side=99, most=10**6))
    print(thumbnail(data, "image/png", most=100), thumbnail(b"II*\\0", "image/tiff"))
"""


@pytest.mark.parametrize("how", ["blocked", "there"])
def test_without_pillow(how):
    data = saved(NOISE, "PNG")
    lines = run(WITHOUT_PILLOW, how, data=data).splitlines()
    install = "to scale it, pip install pillow"
    wanted = [f"it has 200×120 pixels, and the limit is 50: {install}"] * 2
    wanted += [f"it has {format_size(len(data))}, and the limit is 0.0 kB: {install}", "True None", "None None"]
    assert lines == (wanted if how == "blocked" else [])
    assert max(map(len, lines), default=0) <= 120


@pytest.mark.parametrize(("kind", "mode"), CASES)
def test_thumbnails(kind, mode):
    uri = thumbnail(saved(in_mode(mode), kind), f"image/{kind.lower()}")
    image = opened(base64.b64decode(uri.partition(",")[2]))
    assert uri.startswith(f"data:image/{image.format.lower()};base64,")
    assert image.size == (160, 96)
    assert len(uri) <= 40_000
    assert ("A" in image.getbands()) == (mode in ("LA", "RGBA"))


def test_a_thumbnail_is_upright_and_small_whatever_it_shows():
    (exif := Image.Exif())[0x0112] = 6
    shown = thumbnail(saved(NOISE, "JPEG", exif=exif), "image/jpeg")
    assert opened(base64.b64decode(shown.partition(",")[2])).size == (96, 160)
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 4), dtype=np.uint8)
    for picture in (noise, noise[..., :3].copy()):
        for most in (40_000, 3_000):
            assert 0 < len(thumbnail(saved(Image.fromarray(picture), "PNG"), "image/png", most=most)) <= most


def test_a_small_picture_is_its_own_thumbnail():
    data = saved(PICTURE.resize((160, 90)), "PNG")
    assert thumbnail(data, "image/png") == f"data:image/png;base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "image/png"),
        (JPEG[:2000], "image/jpeg"),
        (HEIC, "image/heic"),
        (b"%PDF-1.7", "application/pdf"),
        (b"", ""),
    ],
)
def test_no_thumbnail(data, kind):
    assert thumbnail(data, kind) is None


KINDS = [*(f"image/{kind.lower()}" for kind in MODES), "image/heic", "image/svg+xml", "image/x", "audio/wav", ""]


@given(
    st.one_of(st.binary(), st.sampled_from([saved(NOISE.resize((40, 30)), kind) for kind in MODES])),
    st.sampled_from(KINDS),
    st.integers(0, 3000),
    st.binary(max_size=20),
    st.integers(1, 5000),
    st.integers(1, 60),
)
def test_only_short_errors_are_raised(data, kind, at, other, most, side):
    for damaged in (data, data[:at], data[:at] + other + data[at + len(other) :]):
        try:
            smaller, remark = fit_within(damaged, kind, most, side)
        except ValueError as error:
            assert len(str(error)) <= 120  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert len(remark) <= 80
            assert bool(remark) == (smaller != damaged)
            assert len(smaller) <= most or kind in ("image/svg+xml", "audio/wav", "")
        thumbnail(damaged, kind)


def test_the_warnings_of_others_stay_as_they_were():
    before = list(warnings.filters)
    large = saved(NOISE, "PNG")
    with ThreadPoolExecutor(6) as threads:
        assert len(set(threads.map(lambda _: fit_within(large, "image/png", MUCH, 50), range(18)))) == 1
    assert warnings.filters == before


def test_who_changes_the_warnings_meanwhile_gets_them_back(monkeypatch):
    before, resized = list(warnings.filters), resize._resized
    inside, goes_on = threading.Event(), threading.Event()

    def wait(*args):
        inside.set()
        assert goes_on.wait(10)
        return resized(*args)

    monkeypatch.setattr(resize, "_resized", wait)
    with ThreadPoolExecutor() as threads:
        job = threads.submit(fit_within, saved(NOISE, "PNG"), "image/png", MUCH, 50)
        assert inside.wait(10)
        with warnings.catch_warnings():
            goes_on.set()
            job.result()
    assert warnings.filters == before


def test_odd_metadata_does_no_harm():
    data = saved(NOISE, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\7\0")
    with pytest.warns(UserWarning, match="EXIF"):
        Image.open(io.BytesIO(data)).getexif()
    assert fit_within(data, "image/jpeg", MUCH, 100)[1] == "scaled from 200×120 to 100×60"


def test_an_image_of_unknown_size_is_left_as_it_is(monkeypatch):
    data = saved(NOISE, "TIFF")
    monkeypatch.setattr(resize, "pixel_size", lambda *args: None)
    assert fit_within(data, "image/tiff", MUCH, 10) == (data, "")
    assert fit_within(data, "image/tiff", len(data) - 1, 10)[1] == "scaled from 200×120 to 10×6"
