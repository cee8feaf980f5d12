"""What a tool returned is text that a model reads well, at most 20 kB of it, and pictures."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import io
import json
import math
import threading
from collections import defaultdict, namedtuple
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.display import HTML, Markdown
from matplotlib.figure import Figure
from PIL import Image
from pydantic import BaseModel

from nb_backend import Answer, Attachment, settings
from nb_backend.media.convert import attach
from nb_backend.tools.results import MAX_IMAGES, MAX_RESULT, open_figures, result_of
from nb_backend.tools.table_text import exact_numbers

mpl.use("agg")
RED = Image.new("RGB", (3, 2), "red")


def text(value: Any) -> str:
    found, images = result_of(value)
    assert images == []
    return found


@dataclasses.dataclass
class Point:
    x: int
    when: datetime.date
    inner: Any = None
    hidden: str = dataclasses.field(default="secret", repr=False)


class Model(BaseModel):
    title: str
    points: list[Point] = []


class Color(enum.Enum):
    RED = "red"


DAY = datetime.date(2026, 1, 2)
Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("line\nand é", "line\nand é"),
        ("", ""),
        (None, "None"),
        (True, "True"),
        (0.1, "0.1"),
        (12345678901234567, "12345678901234567"),
        (b"abc", "b'abc'"),
        ({"a": [1, None, True], "b": "é"}, '{"a": [1, null, true], "b": "é"}'),
        ([1, (2, 3)], "[1, [2, 3]]"),
        ([], "[]"),
        (Pair(1, 2), "[1, 2]"),
        (defaultdict(list, a=[1]), '{"a": [1]}'),
        ({(1, 2): "a"}, "{(1, 2): 'a'}"),
        (Point(1, DAY), '{"x": 1, "when": "2026-01-02", "inner": null}'),
        ([Point(1, DAY, {"b"})], '[{"x": 1, "when": "2026-01-02", "inner": ["b"]}]'),
        (Model(title="t", points=[Point(1, DAY)]), '"points": [{"x": 1,'),
        ({"c": Color.RED, "n": np.int64(3), "f": np.float32(0.5)}, '{"c": "red", "n": 3, "f": 0.5}'),
        (iter([1, 2]), "[1, 2]"),
        ((n for n in "ab"), '["a", "b"]'),
        ({"rows": map(str, [1])}, '{"rows": ["1"]}'),
        (io.StringIO("a\nb"), '["a\\n", "b"]'),
        ({"b", "a"}, "{'a', 'b'}"),
        (ValueError("bad"), "ValueError: bad"),
        (Answer(text="It rains."), "It rains."),
        (Markdown("**bold**"), "**bold**"),
        (HTML("<p>one</p><script>two</script>"), "one"),
        (pd.DataFrame({"a": [1, 2]}), "1 column; dtypes: a int64\n\n|  | a |\n| --- | --- |\n| 0 | 1 |"),
        ({"table": pl.DataFrame({"a": [1]})}, "DataFrame, 1 row × 1 column"),
        (np.zeros((2, 2)), "shape (2, 2), dtype float64"),
    ],
)
def test_a_value_is_text(value, shown):
    found = text(value)
    assert shown == found or (len(shown) > 10 and shown in found)


def test_circles_and_failing_reprs_are_text():
    circle: list[Any] = [1]
    circle.append(circle)
    assert text(circle) == "[1, [...]]"

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

    assert text(Broken()) == "<Broken: it cannot be shown: RuntimeError: no repr>"
    assert json.loads(text({"a": Broken()})) == {"a": "<Broken: it cannot be shown: RuntimeError: no repr>"}
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert len(text(deep)) < 200_000
    assert "it cannot be shown" in text(10**5000)


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10**8,
        "é" * 15_000,
        "😀" * MAX_RESULT,
        [*range(10**6)],
        {"a": {"b": "x" * 10**6}},
        pd.Series(["x" * 10_000] * 10),
        (n for n in iter(int, 1)),
        b"\x00" * 10**6,
        type("Big", (), {"__repr__": lambda self: "é" * 10**7})(),
    ],
)
def test_a_long_text_is_cut_and_says_so(value):
    found = text(value)
    assert len(found.encode()) <= MAX_RESULT
    assert "…" in found[-200:] or "only the first 1,000 items" in found[-50:]


def test_the_note_counts_what_is_missing():
    found = text("é" * 15_000)
    kept = found.count("é")
    assert found == f"{'é' * kept}\n… [cut: {15_000 - kept:,} more characters left out]"
    assert kept > 9_800
    assert text("x" * MAX_RESULT) == "x" * MAX_RESULT


@given(
    st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists, max_leaves=5)
    | st.dictionaries(st.text(), st.text())
)
def test_json_stays_json(value):
    assert json.loads(text([value])) == [value]


@given(st.text(st.characters(exclude_categories=()), max_size=100), st.integers(0, 30_000))
def test_any_text_can_be_sent(part, times):
    found = text(part * times)
    assert len(found.encode()) <= MAX_RESULT
    assert "\0" not in found


def test_what_is_not_written_to_its_end_has_no_count():
    assert text([*range(10**6)]).endswith("\n… [cut: it has more than half a million characters]")
    assert text(np.zeros(10_000)).startswith("ndarray, shape (10000,)")
    assert text("x" * 10**7).endswith(f"[cut: {10**7 - MAX_RESULT + 200:,} more characters left out]")


def test_keys_are_masked_before_the_cut(monkeypatch):
    key = "a-key-of-forty-characters-0123456789abcd"
    monkeypatch.setenv("ANTHROPIC_API_KEY", key)
    assert text(f"key: {key}") == "key: ***"
    assert text({"key": [key]}) == '{"key": ["***"]}'
    for before in range(MAX_RESULT - 300, MAX_RESULT - 150, 7):
        assert key[:12] not in text("x" * before + key + "y" * MAX_RESULT)


def test_pictures_go_along():
    plot = Figure(figsize=(1, 1))
    axes = plot.subplots()
    photo = attach(RED, "photo.png")
    cases: list[tuple[Any, str, int]] = [
        (RED, "[image: image.png]", 1),
        (photo, "[image: photo.png]", 1),
        (photo.data, "[image: image.png]", 1),
        (plot, "[image: image.png]", 1),
        (axes, "[image: image.png]", 1),
        (["Two of them:", photo, photo], "Two of them:\n[image: photo.png]\n[image: photo_2.png]", 2),
        ((plot, {"n": 1}), '[image: image.png]\n{"n": 1}', 1),
        ((plot, axes), "[image: image.png]\n[image: image.png]", 1),
        ({"plot": axes, "photo": RED}, '{"plot": "[image: image.png]", "photo": "[image: image_2.png]"}', 2),
        ((one for one in [photo]), "[image: photo.png]", 1),
        (attach(b"%PDF-1.4\n%%EOF", "a.pdf"), "[a.pdf (application/pdf, 0.0 kB): not sent]", 0),
    ]
    for value, shown, count in cases:
        found, images = result_of(value)
        assert (found, len(images)) == (shown, count)
        assert all(isinstance(one, Attachment) and one.is_image for one in images)


def test_pictures_are_scaled_and_few(monkeypatch):
    monkeypatch.setattr(settings.current, "max_image_side", 10)
    found, images = result_of([Image.new("RGB", (40, 20), (n, 0, 0)) for n in range(MAX_IMAGES + 2)])
    assert len(images) == MAX_IMAGES
    assert found.endswith(f"[image: image.png, not sent: {MAX_IMAGES} are sent at most]")
    with Image.open(io.BytesIO(images[0].data)) as image:
        assert image.size == (10, 5)


def test_a_text_that_looks_like_a_picture_is_text():
    assert text(["[image: image.png]", "b"]) == '["[image: image.png]", "b"]'


def test_a_figure_that_the_tool_opened_is_closed():
    from matplotlib import pyplot

    mine = pyplot.figure()
    try:
        before = open_figures()
        figure, axes = pyplot.subplots()
        result_of([axes, "text"], before)
        assert open_figures() == before
        result_of(mine, before)
        assert open_figures() == before
        result_of(figure, before)  # closed already
        other = pyplot.figure()
        result_of("text", before)
        assert other.number in open_figures()  # which the user's own code may have opened meanwhile
    finally:
        pyplot.close("all")


def test_numbers_printed_in_two_threads_leave_the_options_of_pandas_alone():
    printing, done = threading.Event(), threading.Event()

    class Slow:
        def __str__(self) -> str:
            printing.set()
            done.wait(10)
            return "slow"

    slow = threading.Thread(target=lambda: text(Slow()))
    slow.start()
    printing.wait(10)
    other = threading.Thread(target=lambda: text(pd.DataFrame({"a": [math.pi]})))
    other.start()
    done.set()
    slow.join()
    other.join()
    assert pd.get_option("display.float_format") is None


def test_a_value_that_hangs_keeps_no_other_from_being_printed(monkeypatch):
    from nb_backend.tools import table_text

    monkeypatch.setattr(table_text, "_PATIENCE", 0.01)
    hangs, done = threading.Event(), threading.Event()

    def hang() -> None:
        with exact_numbers():
            hangs.set()
            done.wait(10)

    thread = threading.Thread(target=hang)
    thread.start()
    hangs.wait(10)
    try:
        assert "| 0 | 1.5 |" in text(pd.DataFrame({"a": [1.5]}))
    finally:
        done.set()
        thread.join()
    assert pd.get_option("display.float_format") is None


def test_an_iterator_that_fails_is_a_failure_of_the_tool():
    def rows() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        result_of(rows())
