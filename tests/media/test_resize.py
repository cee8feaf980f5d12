"""Images above the limits, and thumbnails: what is kept, and what is refused."""

from __future__ import annotations

import base64
import io
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_samples import EVERY_TYPE
from media_support import PEAK, RGB, on_linux, run, saved
from PIL import Image, ImageOps

from nb_backend.media import resize
from nb_backend.media.resize import fit_within, thumbnail
from nb_backend.media.sniff import format_size, media_type
from nb_backend.media.types import TYPES

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
CONVERTED = ("BMP", "TIFF", "AVIF")
KEPT = [case for case in CASES if case[0] not in CONVERTED]


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


@pytest.mark.parametrize(("kind", "mode"), [case for case in CASES if case[1] != "F"])
def test_scaled_by_side(kind, mode):
    data = saved(in_mode(mode), kind)
    smaller, remark = fit_within(data, media_type(data), MUCH, 100)
    got, was = opened(smaller), opened(data)
    assert remark == f"{f'converted from {kind}, ' * (kind in CONVERTED)}scaled from 200×120 to 100×60"
    assert got.format in (("PNG", "JPEG") if kind in CONVERTED else (kind,))
    assert got.size == (100, 60)
    plain = was if values(was).ndim == 2 else was.convert("RGBA")
    wanted = plain.convert("I" if plain.mode.startswith("I;") else plain.mode).resize(
        (100, 60), Image.Resampling.LANCZOS
    )
    spread = np.ptp(values(was))
    assert abs(values(got) - values(wanted)).mean() < spread * 0.025
    assert fit_within(smaller, media_type(smaller), MUCH, 100) == (smaller, "")


@pytest.mark.parametrize(("kind", "mode"), KEPT)
def test_within_the_limits_nothing_is_changed(kind, mode):
    data = saved(in_mode(mode), kind)
    assert fit_within(data, media_type(data), len(data), 200) == (data, "")


@pytest.mark.parametrize("kind", MODES)
def test_made_smaller_by_bytes(kind):
    data = saved(NOISE, kind)
    most = min(len(data), len(saved(NOISE, "JPEG"))) // 3
    smaller, remark = fit_within(data, media_type(data), most, 200)
    assert len(smaller) <= most
    assert media_type(smaller) == media_type(data) or kind in CONVERTED
    assert "scaled from 200×120 to " in remark
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
    assert remark.endswith("scaled from 200×120 to 50×30" if turn < 5 else "scaled from 120×200 to 30×50")
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


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
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
            "it is HEIC; Pillow cannot convert it (cannot identify image file): save it as PNG or JPEG",
        ),
        ((b"GIF89a" + bytes(2**20), "image/gif", 2**19, 10), "it has 1.0 MB, and the limit is 524.3 kB; Pillow cannot"),
        ((bytes(2**20), "image/x-other", 2**19, 100), "it has 1.0 MB, and the limit is 524.3 kB"),
        ((JPEG, "image/jpeg", 100, 100), "it cannot be scaled to 0.1 kB, the limit: make it smaller yourself"),
        (
            (saved(Image.new("1", (20_000, 10_000)), "PNG"), "image/png", MUCH, 2048),
            "it has 20000×10000 pixels, and at most 134 million can be scaled: make it smaller yourself",
        ),
    ],
)
def test_what_cannot_be_scaled_is_refused(args, message):
    assert message in refusal(*args)


@pytest.mark.parametrize("kind", ["audio/wav", "application/pdf", "image/svg+xml", "", "image/x-other"])
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
assert thumbnail(data, "image/png", side=200, most=10**6).startswith("data:image/png;base64,")
assert "PIL" not in sys.modules
if sys.argv[1] == "blocked":
    for args in (
        (data, "image/png", 10**8, 50), (data, "image/png", 10, 50), (data, "image/png", 10, 200),
        *((b"anything", f"image/{kind}", 10**8, 50) for kind in ("tiff", "heic", "jp2")),
    ):
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
    wanted += [f"it has {format_size(len(data))}, and the limit is 0.0 kB: {install}"]
    for kind in ("TIFF", "HEIC", "JP2"):
        wanted += [f"it is {kind}, which many services refuse: to convert it, pip install pillow"]
    wanted += ["True None", "None None"]
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
            assert media_type(smaller) in (kind, "image/png", "image/jpeg") or not remark
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
    data = saved(NOISE, "PNG")
    monkeypatch.setattr(resize, "pixel_size", lambda *args: None)
    assert fit_within(data, "image/png", MUCH, 10) == (data, "")
    assert fit_within(data, "image/png", len(data) - 1, 10)[1] == "scaled from 200×120 to 10×6"


# -- bitmaps that not every service reads


@pytest.mark.parametrize("name", [row.name for row in TYPES.values() if row.is_converted and row.name != "image/jxl"])
def test_other_bitmaps_become_png_or_jpeg(name):
    data = EVERY_TYPE[name]
    sent, remark = fit_within(data, name, MUCH, 2048)
    assert media_type(sent) in ("image/png", "image/jpeg")
    assert remark == f"converted from {TYPES[name].suffix.upper()}"
    lossy = name in ("image/avif", "image/heic", "image/jp2")
    wanted = Image.fromarray(RGB).resize((64, 64)).convert("RGBA")
    assert abs(values(opened(sent)) - values(wanted)).mean() < (12 if lossy else 3)


@pytest.mark.parametrize(("kind", "mode"), [case for case in CASES if case[0] in CONVERTED and case[1] != "F"])
def test_what_is_drawn_becomes_png_and_a_photo_jpeg(kind, mode):
    drawn = Image.new("RGB", (200, 120), "white")
    drawn.paste((0, 0, 250), (20, 20, 60, 40))
    photo = NOISE.resize((400, 240), Image.Resampling.BICUBIC)
    for image, wanted in ((drawn, "image/png"), (photo, "image/jpeg")):
        given = image.convert("RGB" if mode in ("CMYK", "P") else "L" if mode.startswith("I") else mode).convert(mode)
        sent, remark = fit_within(saved(given, kind), f"image/{kind.lower()}", MUCH, 400)
        assert remark == f"converted from {kind}"
        assert opened(sent).size == image.size
        if image is drawn or mode in ("RGB", "CMYK"):
            assert media_type(sent) == wanted
        if kind != "AVIF":  # which leaves out an alpha that is opaque
            assert ("A" in opened(sent).mode) == ("A" in mode)


def test_colors_are_those_of_the_profile_after_the_conversion():
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for mode, kept in (("RGB", profile), ("CMYK", None)):
        data = saved(PICTURE.convert("RGB").convert(mode), "TIFF", icc_profile=profile)
        assert opened(fit_within(data, "image/tiff", MUCH, 200)[0]).info.get("icc_profile") == kept


@pytest.mark.parametrize(("kind", "part"), [("TIFF", "page"), ("AVIF", "frame")])
def test_of_several_pages_the_first_is_sent_and_the_remark_says_so(kind, part):
    first, *others = frames(clear=False)
    data = saved(first, kind, save_all=True, append_images=others)
    sent, remark = fit_within(data, f"image/{kind.lower()}", MUCH, 80)
    assert remark == f"converted from {kind}, its first {part} only"
    assert resize.is_reduced(remark)
    assert abs(values(opened(sent)) - values(first.convert("RGBA"))).mean() < 3


def test_values_that_no_picture_has_are_refused():
    assert "it has the mode F and values of 0..59819: give 0..1" in refusal(
        saved(in_mode("F"), "TIFF"), "image/tiff", MUCH, 2048
    )


def test_a_format_that_pillow_lacks_names_what_to_install(monkeypatch):
    Image.init()
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    heif = EVERY_TYPE["image/heic"]
    install = "which many services refuse: to convert it, pip install"
    assert refusal(heif, "image/heic", MUCH, 99) == f"it is HEIC, {install} pillow-heif"
    assert refusal(EVERY_TYPE["image/jxl"], "image/jxl", MUCH, 99) == f"it is JXL, {install} pillow-jxl-plugin"
    monkeypatch.delitem(Image.OPEN, "AVIF", raising=False)
    assert refusal(EVERY_TYPE["image/avif"], "image/avif", MUCH, 99) == f"it is AVIF, {install} --upgrade pillow"


@pytest.mark.parametrize("kind", ["TIFF", "JPEG2000", "PPM"])
def test_a_bitmap_that_is_cut_off_is_refused(kind):
    data = saved(NOISE, kind)
    found = media_type(data)
    assert "Pillow cannot convert it (" in refusal(data[: len(data) // 2], found, MUCH, 2048)
