"""Images of figures and of objects that show themselves. The objects are not changed."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from IPython.display import SVG, Audio
from IPython.display import Image as Displayed
from matplotlib.animation import FuncAnimation
from matplotlib.figure import Figure
from media_support import PNG, RGBA, SVG_TEXT, content, encoded, opened, refusal
from PIL import Image, ImageFile

from nb_backend import to_data_uri


def figure() -> Figure:
    drawn = Figure(figsize=(2, 1.5), dpi=60)
    left, right = drawn.subplots(1, 2)
    left.plot([1, 3, 2], label="a")
    left.set_title("äöü")
    right.bar([1, 2], [3, 4])
    return drawn


PARTS = {
    "figure": lambda fig: fig,
    "axes": lambda fig: fig.axes[0],
    "line": lambda fig: fig.axes[0].lines[0],
    "lines": lambda fig: list(fig.axes[0].lines),
    "bars": lambda fig: fig.axes[1].containers[0],
    "what hist gives": lambda fig: (np.arange(3), np.arange(4), fig.axes[1].containers[0]),
    "what subplots gives": lambda fig: (fig, np.array(fig.axes, dtype=object)),
    "array of axes": lambda fig: np.array([fig.axes], dtype=object),
    "mosaic": lambda fig: {"left": fig.axes[0], "right": fig.axes[1]},
    "title": lambda fig: fig.axes[0].title,
    "the artists of axes": lambda fig: fig.axes[0].lines,
    "canvas": lambda fig: fig.canvas,
    "Series of axes": lambda fig: pd.Series(fig.axes, dtype=object),
}


@pytest.mark.parametrize("name", PARTS)
def test_figures(name):
    fig = figure()
    part = PARTS[name](fig)

    def state():
        return (
            *(fig.get_size_inches().tolist(), fig.dpi, id(fig.canvas), fig.get_facecolor(), len(fig.get_children())),
            *((axes.get_xlim(), axes.get_ylim(), axes.get_position().bounds) for axes in fig.axes),
        )

    before = state()
    got = opened(part)
    fig.savefig(file := io.BytesIO(), format="png", bbox_inches="tight")
    assert np.array_equal(np.asarray(got), np.asarray(Image.open(file)))
    assert state() == before


def test_a_figure_of_pyplot_stays_open(monkeypatch):
    mpl.use("agg")
    from matplotlib import pyplot as plt

    lines = plt.plot([1, 2])
    number, active = plt.gcf().number, plt.gcf()
    try:
        assert opened(lines).size == opened(active).size
        assert plt.fignum_exists(number)
        assert plt.gcf() is active
    finally:
        plt.close(active)


def test_a_part_of_a_subfigure():
    fig = Figure(figsize=(2, 1))
    axes = fig.subfigures(1, 2)[0].subplots()
    assert opened(axes).size == opened(fig).size


def test_what_belongs_to_a_figure():
    fig = Figure(figsize=(3, 2))
    axes = fig.subplots()
    image = axes.imshow(np.eye(3))
    for part in (fig.colorbar(image), Figure().subplots().pie([1, 2]), FuncAnimation(fig, lambda number: [image], 1)):
        assert opened(part).size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it was never rendered
        del part


def test_what_lies_far_outside_is_left_out():
    fig = Figure(figsize=(2, 1), dpi=50)
    axes = fig.subplots()
    axes.text(60, 60, "far")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    assert opened(fig).size == (100, 50)


def test_threads_take_turns():
    fig = figure()
    alone, size = content(fig), fig.get_size_inches().tolist()
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(content, [fig] * 24)) == {alone}
    assert fig.get_size_inches().tolist() == size
    Image.fromarray(RGBA).save(file := io.BytesIO(), "PNG")
    photo = Image.open(file)
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(content, [photo] * 24))) == 1


def test_figures_that_cannot_be_drawn():
    one, other = figure(), figure()
    assert "its parts belong to 2 figures" in refusal([one.axes[0], other.axes[0]])
    (line := one.axes[0].lines[0]).remove()
    one.axes[1].set_title("$\\wrong{$")
    assert "the Figure cannot be sent: " in refusal(one)
    assert "does not belong to a figure" in refusal(line)
    assert "pixels" in refusal(Figure(figsize=(500, 500)))


class Shows:
    """An object with the repr methods that it is given."""

    def __new__(cls, **hooks):
        def method(shown):
            def show(self, **options):
                if isinstance(shown, BaseException):
                    raise shown
                return shown

            return show

        return object.__new__(type("Shows", (), {name: method(shown) for name, shown in hooks.items()}))


CODED = base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (Shows(_repr_png_=PNG), PNG),
        (Shows(_repr_png_=CODED), PNG),
        (Shows(_repr_png_=(PNG, {"width": 3})), PNG),
        (Shows(_repr_png_=None, _repr_jpeg_=encoded("JPEG")), encoded("JPEG")),
        (Shows(_repr_png_=ValueError("no"), _repr_svg_=SVG_TEXT), SVG_TEXT.encode()),
        (Shows(_repr_mimebundle_={"text/html": "", "image/svg+xml": SVG_TEXT, "image/png": CODED}), PNG),
        (Shows(_repr_mimebundle_=({"image/jpeg": PNG}, {})), PNG),
        (Shows(_repr_mimebundle_=None, _repr_svg_="\ufeff" + SVG_TEXT), ("\ufeff" + SVG_TEXT).encode()),
        (Shows(_repr_mimebundle_=NotImplementedError(), _repr_png_=PNG), PNG),
        (Displayed(data=PNG), PNG),
        (Displayed(data=PNG, width=3), PNG),
        (SVG(data=SVG_TEXT), content(SVG(data=SVG_TEXT))),
        (mpl.colormaps["viridis"], mpl.colormaps["viridis"]._repr_png_()),
    ],
)
def test_objects_that_show_an_image(value, wanted):
    assert content(value)[:8] == wanted[:8]
    assert content(value) == wanted or isinstance(value, mpl.colors.Colormap)  # which writes the date


def test_what_ipython_displays():
    assert to_data_uri(Audio(np.zeros(100), rate=8000, normalize=False)).startswith("data:audio/wav;base64,")
    assert to_data_uri(Displayed(url="https://example.org/a.png")) == "https://example.org/a.png"


class Hostile:
    """An object that raises an error in its file name or in its image."""

    def __init__(self, error, where):
        self.error, self.where = error, where

    @property
    def filename(self):
        if self.where == "filename":
            raise self.error

    def _repr_png_(self):
        raise self.error


class Unsayable(Exception):
    def __str__(self):
        raise ZeroDivisionError


@pytest.mark.parametrize("error", [RuntimeError("a\nb"), Unsayable(), SystemExit(2), GeneratorExit(), MemoryError()])
@pytest.mark.parametrize("where", ["filename", "picture"])
def test_whatever_is_raised_is_one_line(error, where):
    assert f"the Hostile cannot be sent: {type(error).__name__}" in refusal(Hostile(error, where))


def test_a_class_that_raises_is_one_line():
    lazy = type("Lazy", (), {"__class__": property(lambda self: 1 / 0)})()
    assert "the Lazy cannot be sent: ZeroDivisionError" in refusal(lazy)


def test_circular_references_end():
    class Round(mpl.artist.Artist):
        figure = property(lambda self: self.other)

    one, other = Round(), Round()
    one.other, other.other = other, one
    assert "does not belong to a figure" in refusal(one)
    assert "is of type list" in refusal([[[]] * 10**6] * 10, TypeError)


def test_objects_without_an_image_are_refused():
    assert "the Shows cannot be sent: KeyError: one two" in refusal(Shows(_repr_png_=KeyError("one\ntwo"))).replace(
        "'", ""
    ).replace("\\n", " ")
    assert "is of type Shows" in refusal(Shows(_repr_png_=b"no picture", _repr_mimebundle_={}), TypeError)
    for value in (Shows, io.BytesIO, np.ndarray, lambda: 1, [Shows], (), sys, iter([])):
        assert "is of type" in refusal(value, TypeError)
    assert "is of type xxx" in refusal(type("x" * 300, (), {})(), TypeError)
    loop: list = []
    loop.append(loop)
    assert "is of type list" in refusal(loop, TypeError)


def test_a_jpeg_that_pillow_has_opened_is_sent_as_that_jpeg(tmp_path):
    (path := tmp_path / "me.jpg").write_bytes(data := encoded("JPEG", quality=77, comment=b"mine"))
    in_memory, on_disk, loaded = Image.open(io.BytesIO(data)), Image.open(path), Image.open(path)
    loaded.load()
    with Image.open(path) as closed:
        pass
    for image in (in_memory, in_memory, on_disk, on_disk, loaded, loaded, closed):
        assert content(image) == data
    assert in_memory.tobytes() == loaded.tobytes() == on_disk.tobytes()  # Pillow can still read them
    (both := tmp_path / "both.jpg").write_bytes(data)
    with Image.open(path) as first:
        first.save(both, "MPO", save_all=True, append_images=[Image.new("RGB", (64, 64))])
    with Image.open(both) as image:
        assert content(image) == both.read_bytes()
        image.load()
        assert content(image) == both.read_bytes()
        image.seek(1)
        assert opened(image).format == "PNG"


CHANGES = {
    "drawn on": lambda image: image.putpixel((3, 4), (1, 2, 3)),
    "pasted into": lambda image: image.paste((9, 9, 9), (0, 0, 20, 20)),
    "made transparent": lambda image: image.putalpha(99),
    "made small": lambda image: image.thumbnail((20, 20)),
    "read small": lambda image: image.draft("L", (16, 16)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_jpeg_that_was_changed_since_is_sent_as_it_is_now(change, tmp_path):
    (path := tmp_path / "me.jpg").write_bytes(encoded("JPEG"))
    image = Image.open(path)
    CHANGES[change](image)
    sent = opened(image)
    assert sent.format == "PNG"
    assert np.array_equal(np.asarray(sent), np.asarray(image))


def test_a_jpeg_whose_file_is_another_one_by_now_is_sent_as_it_was(tmp_path):
    (path := tmp_path / "me.jpg").write_bytes(encoded("JPEG"))
    (image := Image.open(path)).load()
    Image.new("RGB", (64, 64), "red").save(path)
    assert np.array_equal(np.asarray(opened(image)), np.asarray(image))
    path.unlink()
    assert opened(image).format == "PNG"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP"])
@pytest.mark.parametrize("lenient", [False, True])
def test_an_image_that_pillow_has_not_read_whole_is_refused(kind, lenient, monkeypatch, tmp_path):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    data = encoded(kind)
    (path := tmp_path / "cut").write_bytes(data[: len(data) * 2 // 3])
    with Image.open(io.BytesIO(path.read_bytes())) as in_memory, Image.open(path) as on_disk:
        for image in (in_memory, in_memory, on_disk):
            assert refusal(image).endswith("cannot be sent: its file is truncated: copy or save it again")


def test_an_image_whose_file_was_closed_too_early_is_refused():
    with Image.open(io.BytesIO(PNG)) as image:
        pass
    assert "its file is closed, and it was not loaded before: open it again" in refusal(image)


LAZY = """
import sys
from nb_backend import to_data_uri
def heavy(): return sorted({"numpy", "PIL", "matplotlib", "IPython"} & set(sys.modules))
for value in (bytes(9), "https://a/b", object(), [1], open(sys.executable, "rb")):
    try:
        to_data_uri(value)
    except (TypeError, ValueError):
        pass
print(heavy())
import numpy
print(to_data_uri(numpy.zeros((2, 2), bool))[:15], heavy())
"""


def test_no_heavy_package_is_imported():
    code = [sys.executable, "-W", "error::ImportWarning", "-c", LAZY]
    done = subprocess.run(code, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout.splitlines() == ["[]", "data:image/png; ['numpy']"]
