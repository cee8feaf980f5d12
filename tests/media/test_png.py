"""Arrays and images of Pillow become PNG: the pixels are the same, and the value is not changed."""

from __future__ import annotations

import io

import numpy as np
import pytest
from media_samples import ARRAYS, IMAGES
from media_support import GREY, PNG, RGB, UNIT, opened, refusal
from PIL import Image


@pytest.mark.parametrize("name", ARRAYS)
def test_the_pixels_of_an_array_survive(name):
    given, wanted = ARRAYS[name]
    before = np.array(given)
    image = opened(given)
    assert np.array_equal(np.asarray(image), wanted)
    assert image.mode == {2: "L"}.get(wanted.ndim) or {3: "RGB", 4: "RGBA"}[wanted.shape[2]]
    assert np.array_equal(given, before)


NEAR = np.float32([[np.nextafter(np.float32(1), np.float32(2)), 1.0009], [-1e-7, 0.5]])


@pytest.mark.parametrize(
    "value", [NEAR, NEAR.astype(float), np.float16([[1.001, 1], [-0.0009, 0.5]]), Image.fromarray(NEAR)]
)
def test_floats_that_rounding_has_moved_out_of_0_to_1_are_clipped(value):
    assert np.asarray(opened(value)).tolist() == [[255, 255], [0, 128]]


def test_lab_is_seen_as_it_is():
    from PIL import ImageCms

    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    given = ImageCms.profileToProfile(Image.new("RGB", (4, 4), (200, 90, 40)), srgb, lab, outputMode="LAB")
    assert np.abs(np.asarray(opened(given)).astype(int) - (200, 90, 40)).max() <= 3


class Tensor:
    """A tensor as in torch or JAX: it has ``__array__``."""

    def __init__(self, values, **other):
        self.values = values
        self.shape = other.get("shape", getattr(values, "shape", ()))

    def __array__(self, dtype=None, copy=None):
        if isinstance(self.values, Exception):
            raise self.values
        return self.values


def test_objects_with_an_array_method():
    assert np.array_equal(np.asarray(opened(Tensor(UNIT))), np.round(UNIT * 255))
    assert "shape is 3×5×7" in refusal(Tensor(RGB.transpose(2, 0, 1)))
    assert "put the channels last" in refusal(Tensor(RGB.transpose(2, 0, 1)))
    assert refusal(Tensor(TypeError("can't convert cuda:0\n" + "x" * 500), shape=(4, 4))).startswith(
        "the Tensor cannot"
    )
    assert "pixels" in refusal(Tensor(AssertionError("never made"), shape=(2**20, 2**20)))
    assert "returns list" in refusal(Tensor([1], shape=(4, 4)))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.uint8([1, 2]), "its shape is 2, and that of an image is H×W"),
        (np.uint8(7), "its shape is ()"),
        (np.zeros((2, 2, 2), np.uint8), "its shape is 2×2×2"),
        (np.zeros((2, 2, 3, 1), np.uint8), "its shape is 2×2×3×1"),
        (np.zeros((0, 4), np.uint8), "no pixels: 4×0"),
        (np.zeros((2, 2), np.int64), "values of int64: give uint8"),
        (np.zeros((2, 2), np.uint16), "values of uint16"),
        (np.zeros((2, 2), complex), "values of complex128"),
        (np.array([[None, "a"]]), "values of object"),
        (np.float32([[0, 255]]), "its floats are 0..255 and have to be in 0..1"),
        (np.float32([[-0.1, 1]]), "its floats are -0.1..1"),
        (np.float32([[0, np.nan]]), "its floats are nan..nan"),
        (np.float32([[0.5, 1.01]]), "its floats are 0.5..1.01 and"),
        (np.float64([[0.5, 1.0012345678901]]), "its floats are 0.5..1.0012345678901 and"),
        (np.float16([[-0.1, 65504]]), "its floats are -0.1..65504 and"),
        (np.float64([[0, 1234567890123.0]]), "its floats are 0..1234567890123 and"),
        (np.float64([[0, np.inf]]), "its floats are 0..inf and"),
        (np.ma.masked_array(GREY, GREY > 9), "are masked"),
        (
            np.broadcast_to(np.float64(0), (120_000, 125_000)),
            "125000×120000 pixels, and at most 134 million can",
        ),
    ],
)
def test_other_arrays_are_refused_with_the_reason(value, message):
    assert message in refusal(value)


@pytest.mark.parametrize("name", IMAGES)
def test_the_pixels_of_an_image_survive(name):
    given = IMAGES[name]
    before, mode, info = given.tobytes(), given.mode, dict(given.info)
    got = opened(given)
    if mode == "F":
        wanted = np.round(np.asarray(given) * (255 if np.asarray(given).max() <= 1 else 1))
    elif mode.startswith("I"):
        wanted = np.asarray(given).astype(int)
    else:
        alpha = "transparency" in info or mode in ("La", "LA", "PA", "RGBA", "RGBa")
        how = "RGBA" if alpha else "RGB"
        first = given.convert({"La": "LA"}.get(mode, how))
        got, wanted = got.convert(how), np.asarray(first.convert(how))
    assert np.array_equal(np.asarray(got), wanted)
    assert (given.tobytes(), given.mode, given.info) == (before, mode, info)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Image.new("I", (2, 2), 70_000), "values of 70000..70000: give 0..65535"),
        (Image.new("I", (2, 2), -1), "values of -1..-1"),
        (Image.new("F", (2, 2), 256), "values of 256..256: give 0..1"),
        (Image.new("F", (2, 2), -0.1), "values of -0.1..-0.1: give 0..1"),
        (Image.new("F", (2, 2), float("nan")), "values of nan..nan"),
        (Image.new("L", (0, 2)), "no pixels"),
        (Image.open(io.BytesIO(PNG[:-60])), "truncated"),
    ],
)
def test_other_images_are_refused_with_the_reason(value, message):
    assert message in refusal(value)
