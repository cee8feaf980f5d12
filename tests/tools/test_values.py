"""A value in a prompt is what the notebook shows: all digits, rows, the text of HTML, and no address in memory."""

from __future__ import annotations

import datetime
import decimal
import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
from cpu_time import cpu_seconds
from hypothesis import given
from hypothesis import strategies as st
from IPython.display import HTML, JSON

from nb_backend.notebook.prompt.interpolate import PromptError, render
from nb_backend.tools import table_text
from nb_backend.tools.html_text import html_text

NAN = float("nan")
ID = 1234567890123.0
DIGITS = "1234567890123"


def sent(value: object) -> str:
    prompt = render("{{ value }}", lambda code: value, names=["value"])
    assert not prompt.images
    return prompt.text


def row(value: object, number: int = 0) -> list[str]:
    """Return the cells of a row of the table that is sent."""
    lines = [line for line in sent(value).splitlines() if line.startswith("|")]
    return lines[2 + number].strip("| ").split(" | ")


# -- digits


@pytest.mark.parametrize(
    "value",
    [
        pd.DataFrame({"id": [ID, NAN]}),
        pd.Series([ID, None]),
        pd.Series(["x"], index=[ID]),
        pd.DataFrame([["x"]], columns=[ID]),
        pd.DataFrame([["x"]], index=pd.MultiIndex.from_tuples([(ID, "a")])),
        pd.DataFrame({"id": pd.array([ID, None], dtype="Float64")}),
        pd.DataFrame({"id": [ID, "x"]}),
        pd.DataFrame({"ids": [[ID, 1]]}),
        pd.DataFrame({"ids": [np.array([ID, 0.5])]}),
        pl.DataFrame({"id": [ID, None]}),
        pl.LazyFrame({"id": [ID, None]}),
        pl.Series([ID, None]),
        pl.DataFrame({"ids": [[ID, 1.5]]}),
        np.array([ID, NAN]),
        np.array([[ID, 1], [0.5, 2]]),
        np.array([ID, 1], dtype="float32").astype(float) * 0 + ID,
        [ID],
        {"id": ID},
        [np.array([ID])],
        {"ids": pd.Series([ID, NAN])},
        [pd.DataFrame({"id": [ID, NAN]})],
        (pl.DataFrame({"id": [ID, None]}),),
        pd.DataFrame({"id": [ID, NAN]}).style.format("{:.0f}"),
        np.float64(ID),
        pd.Index([ID, 0.5]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_whole_number_that_is_a_float_keeps_its_digits(value):
    assert DIGITS in sent(value)
    assert "e+" not in sent(value)


def test_numbers_are_as_short_as_they_were_written():
    frame = pd.DataFrame({"a": [0.1 + 0.2], "b": [1e-10], "c": [2.0], "d": [1700000000123.5]})
    assert row(frame) == ["0", "0.3", "1e-10", "2", "1700000000123.5"]
    short = pd.DataFrame({"a": pd.Series([0.1], dtype="float32"), "b": pd.Series([0.1], dtype="float16")})
    assert row(short) == ["0", "0.1", "0.1"]
    assert row(pd.Series([1.5], index=pd.Index([0.1], dtype="float32"))) == ["0.1", "1.5"]
    assert row(pl.DataFrame({"a": [0.1]}, schema={"a": pl.Float32})) == ["0.1"]
    assert row(pl.Series([0.1, None], dtype=pl.Float32), 1) == ["None"]
    assert "array([0.1, 1000000000], dtype=float32)" in sent(np.array([0.1, 1e9], dtype="float32"))
    assert sent(np.array([0.25, 3])) == "ndarray, shape (2,), dtype float64:\narray([0.25, 3.  ])"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (2**70, "1180591620717411303424"),
        (decimal.Decimal("1.10"), "1.10"),
        (pd.NA, "<NA>"),
        (pd.NaT, "NaT"),
        (NAN, "nan"),
        (None, "None"),
        (pd.Timestamp("2024-05-01 12:30"), "2024-05-01 12:30:00"),
        (datetime.date(2024, 5, 1), "2024-05-01"),
        (pd.Timedelta("1h"), "0 days 01:00:00"),
        (np.float32(0.1), "0.1"),
        ("a|b\nc", "a\\|b\\nc"),
        (b"a", "b'a'"),
    ],
)
def test_any_cell_is_readable(value, shown):
    assert row(pd.DataFrame({"x": pd.Series([value, "other"], dtype=object)}))[1] == shown


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        (pd.array([2**60 + 1, None], dtype="Int64"), ["1152921504606846977", "<NA>"]),
        (pd.array([True, None], dtype="boolean"), ["True", "<NA>"]),
        (pd.Categorical(["a", None]), ["a", "nan"]),
        (pd.to_datetime(["2024-05-01", None]), ["2024-05-01 00:00:00", "NaT"]),
        (pd.to_timedelta(["1h", None]), ["0 days 01:00:00", "NaT"]),
        (pd.period_range("2024-05", periods=2, freq="M"), ["2024-05", "2024-06"]),
    ],
)
def test_any_dtype_is_readable(column, shown):
    frame = pd.DataFrame({"x": column})
    assert [row(frame, number)[1] for number in (0, 1)] == shown


def test_the_users_options_are_as_they_were():
    with (
        pd.option_context("display.float_format", "{:.1f}".format),
        np.printoptions(precision=2),
        pl.Config(fmt_float="mixed"),
    ):
        before = repr([pd.Series([ID]), np.array([ID]), pl.Series([ID])])
        assert DIGITS in sent([pd.Series([ID]), np.array([ID])])
        assert repr([pd.Series([ID]), np.array([ID]), pl.Series([ID])]) == before


# -- tables


def test_a_table_that_is_not_computed_is_its_first_rows():
    text = sent(pl.LazyFrame({"a": range(1000), "b": range(1000)}))
    assert text.startswith("LazyFrame, its first 20 rows × 2 columns; dtypes: a Int64, b Int64\n\n| a | b |")
    assert text.endswith("\n| 19 | 19 |")
    assert sent(pl.LazyFrame({"a": [1]})).startswith("LazyFrame, 1 row × 1 column; dtypes")


def test_a_table_that_another_library_has_to_compute_is_what_it_prints(monkeypatch):
    import narwhals

    def collect(self):
        raise ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow")

    monkeypatch.setattr(narwhals.LazyFrame, "collect", collect)
    assert "LazyFrame" in sent(pl.LazyFrame({"a": [1]}))
    assert "0x" not in sent(pl.LazyFrame({"a": [1]}))


@pytest.mark.parametrize(
    "grouped",
    [
        pd.DataFrame({"kind": ["x", "x", "y"], "v": [1, 2, 3]}).groupby("kind"),
        pd.DataFrame({"kind": ["x", "x", "y"], "v": [1, 2, 3]}).groupby("kind")["v"],
        pl.DataFrame({"kind": ["x", "x", "y"], "v": [1, 2, 3]}).group_by("kind", maintain_order=True),
    ],
)
def test_groups_are_sent_with_their_sizes(grouped):
    text = sent(grouped)
    assert text.startswith(f"{type(grouped).__name__} of 2 groups; rows in each:\n\n")
    assert text.endswith("| x | 2 |\n| y | 1 |")


def test_a_styler_is_its_formatted_rows():
    frame = pd.DataFrame({"animal": ["wolf", "owl"], "weight": [41.256, 2.0]})
    styler = frame.style.format({"weight": "{:.1f} kg"}).set_caption("Animals").hide(axis="index").highlight_max()
    rows = "| animal | weight |\n| --- | --- |\n| wolf | 41.3 kg |\n| owl | 2.0 kg |"
    assert sent(styler) == f"Animals\n\n{rows}"
    lines = sent(pd.DataFrame(np.arange(3000).reshape(100, 30)).style).splitlines()
    assert len(lines) == 2 + 21
    assert {line.count(" | ") for line in lines} == {20}
    assert lines[12] == "|" + " … |" * 21
    assert lines[-1].startswith("| 99 | 2970 |")


# -- what an object shows


def showing(own: str | None = None, **hooks: object) -> object:
    """Return an object of a class that has these display hooks, and this ``repr``."""
    members: dict[str, object] = {name: lambda self, shown=shown, **options: shown for name, shown in hooks.items()}
    if own is not None:
        members["__repr__"] = lambda self: own
    return type("Shown", (), members)()


TABLE = "<table><tr><th>a<th>b<tr><td>1<td>2</table>"
ROWS = "| a | b |\n| --- | --- |\n| 1 | 2 |"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (showing(_repr_html_=TABLE), ROWS),
        (showing(_repr_html_=(TABLE, {})), ROWS),
        (showing("Shown(1)", _repr_html_=TABLE), "Shown(1)"),
        (showing("<Shown object at 0x7f00dead>", _repr_html_=TABLE), ROWS),
        (showing("Shown(of=<Other object at 0x7f00dead>)", _repr_html_=TABLE), ROWS),
        (showing(_repr_mimebundle_={"text/html": TABLE}), ROWS),
        (showing(_repr_mimebundle_={"text/html": TABLE, "text/plain": "<a.Shown object at 0x7f00dead>"}), ROWS),
        (showing(_repr_mimebundle_={"text/html": TABLE, "text/plain": "a \x1b[1mbold\x1b[0m table"}), "a bold table"),
        (showing(_repr_mimebundle_={"text/markdown": "**m**", "text/plain": "p"}), "**m**"),
        (showing(_repr_mimebundle_={"text/latex": "$l$", "text/plain": "p"}), "$l$"),
        (showing(_repr_mimebundle_=({"text/plain": "p"}, {})), "p"),
        (showing("own", _repr_mimebundle_={"text/plain": "p"}), "p"),
        (showing("own", _repr_mimebundle_={"text/plain": "\n"}), "own"),
        (showing("own", _repr_mimebundle_=None), "own"),
        (showing(_repr_mimebundle_={"application/json": {"ä": [1]}}), '{"ä": [1]}'),
        (showing(_repr_json_={"a": 1}), '{"a": 1}'),
        (showing("own", _repr_json_={"a": 1}), "own"),
        (HTML("<h1>Hi</h1><p>a <b>b</b></p><script>alert(1)</script>"), "Hi\na b"),
        (HTML("<img src='x' alt='a cat'>"), "a cat"),
        (JSON({"a": 1}), '{"a": 1}'),
        (showing(_repr_html_="<style>p {}</style>"), "<test_values.Shown>"),
    ],
)
def test_an_object_is_the_text_that_a_notebook_shows(value, shown):
    assert sent(value) == shown


def test_a_long_page_is_cut_with_a_note():
    assert sent(HTML("<p>" + "a" * 50_000)).endswith("[30,000 more characters left out]")


class Plain:
    def method(self):
        pass


def generator():
    yield 1


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Plain(), "<test_values.Plain>"),
        ([Plain()], "[<test_values.Plain>]"),
        ({"a": object()}, "{'a': <object>}"),
        (generator(), "<generator object generator>"),
        (Plain().method, "<bound method Plain.method of <test_values.Plain object>>"),
        (showing("Shown(of=<x.Other object at 0x7f00dead>)"), "Shown(of=<x.Other object>)"),
        (pd.Series([Plain()]), "<test_values.Plain>"),
        (type("Said", (), {"__str__": lambda self: "<Said at 0x7f00dead>"})(), "<Said>"),
    ],
    ids=lambda part: part if isinstance(part, str) else type(part).__name__,  # str has addresses
)
def test_an_address_in_memory_is_never_sent(value, shown):
    assert shown in sent(value)
    assert not re.search("0x[0-9a-f]{4}", sent(value))


@pytest.mark.parametrize(
    "value",
    [
        "stopped <at 0x7f00dead>",
        ["stopped <a at 0x7f00dead>"],
        {"where": 'the " <a at 0x7f00dead>'},
        [b"<a at 0x7f00dead>"],
        showing("jumps at 0x7f00dead"),
    ],
)
def test_an_address_that_the_user_wrote_is_sent(value):
    assert "at 0x7f00dead" in sent(value)


@pytest.mark.parametrize("hook", ["__repr__", "_repr_html_", "_repr_mimebundle_", "_repr_json_"])
def test_a_hook_that_fails_is_one_line(hook):
    def fail(self, **options):
        raise RuntimeError("one\ntwo")

    with pytest.raises(PromptError, match=r"\{\{ value \}\} raised RuntimeError: one two: correct it, or use --raw"):
        sent(type("Failing", (), {hook: fail})())


# -- HTML


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("a<br>b", "a\nb"),
        ("<p> a\n  b </p><p>c&amp;d&nbsp;e", "a b\nc&d e"),
        ("<ul><li>x<li>y</ul>", "x\ny"),
        ("<head><title>t</title></head><body>a", "a"),
        ("<div>before" + TABLE + "after</div>", f"before\n\n{ROWS}\n\nafter"),
        (
            "<table><thead><tr><th>a</th>\n<th>b</th></tr></thead>\n<tbody><tr><td>1</td>\n<td>2</td></tr></tbody></table>",
            ROWS,
        ),
        ("<table><tr><td>a<br>b</td><td>x|y</td></tr>", "| a b | x\\|y |\n| --- | --- |"),
        (
            "<table><tr><th colspan=2>a<th>b<tr><td>1<td>2<td>3</table>",
            "| a |  | b |\n| --- | --- | --- |\n| 1 | 2 | 3 |",
        ),
        (
            "<table><tr><th>a<th>b<tr><td rowspan=2>1<td>2<tr><td>3</table>",
            "| a | b |\n| --- | --- |\n| 1 | 2 |\n|  | 3 |",
        ),
        ("<table><tr><td>a<table><tr><td>in<td>side</table><td>b</table>", "| a in side | b |\n| --- | --- |"),
        ("<table><tr><td>1<tr><td>2<td>3</table>", "| 1 |  |\n| --- | --- |\n| 2 | 3 |"),
        ("<table></table>", ""),
        ("<td>loose", "loose"),
        ("<svg><text>x</text></svg>y", "y"),
        ("<b>1</b> < 2 and <c", "1 < 2 and <c"),
        ("<![if !IE]>a<![endif]><![CDATA[x]]>b<![<![ x>c", "abc"),
    ],
)
def test_the_text_of_html(html, text):
    assert html_text(html) == text


@pytest.mark.parametrize(
    "piece", ["<tr><td rowspan=1000 colspan=1000>", "<tr><td rowspan=999>", "<td colspan=1000>", 12 * "<a ", 9 * "<!--"]
)
def test_any_html_takes_time_in_proportion_to_its_length(piece):
    html = "<table>" + 1000 * piece
    assert cpu_seconds(lambda: html_text(html)) < 5  # some took minutes


MARKUP = ["<table>", "</table>", "<tr>", "<td>", "</td>", "<th colspan=3 rowspan=2>", "<br>", "a", "<p>", "</p>", "&"]


@given(st.lists(st.sampled_from([*MARKUP, "<style>", "</style>", "<caption>", "</caption>"])).map("".join))
def test_any_html_has_a_text(html):
    text = html_text(html)
    assert "<t" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)


def test_what_the_tables_show_is_bounded():
    assert len(table_text.grid_text([["x" * 500] * 300] * 300)) < 21 * 21 * 90


# -- what is left out


WIDE = {f"c{at}": range(200) for at in range(45)}


@pytest.mark.parametrize(
    ("value", "remark"),
    [
        (pd.DataFrame({"a": range(200)}), "20 of 200 rows sent"),
        (pd.DataFrame(WIDE), "20 of 200 rows and 20 of 45 columns sent"),
        (pd.DataFrame({"a": ["x" * 81, 1]}), "texts cut at 80 characters"),
        (pd.Series(range(5000)), "20 of 5,000 values sent"),
        (pd.DataFrame({"a": range(30)}).groupby("a"), "20 of 30 groups sent"),
        (pl.DataFrame({"a": ["x" * 81] * 21}), "20 of 21 rows sent, texts cut at 80 characters"),
        (pl.LazyFrame({"a": range(200)}), "its first 20 rows sent"),
        (pd.DataFrame({"a": range(200)}).style, "20 of 200 rows sent"),
        (HTML("<p>" + "a" * 50_000), "20,000 of 50,000 characters sent"),
        (np.arange(1001), "a summary of 1,001 values sent"),
        (b"x" * 6000, "5,000 of 6,000 bytes sent"),
        ([*range(5000)], "the first of 5,000 items sent"),
        (pd.DataFrame({"a": range(20)}), None),
        (pl.LazyFrame({"a": range(20)}), None),
        (np.arange(1000), None),
        ([*range(1000)], None),
        (b"x" * 5000, None),
        ("x" * 50_000, None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_left_out_of_a_value_is_said(value, remark):
    prompt = render("{{ value }} and {{ value }}", lambda code: value, names=["value"])
    assert prompt.remarks == ([f"value: {remark}"] if remark else [])


def test_the_remark_has_no_key_of_an_expression(monkeypatch):
    monkeypatch.setenv("NB_BACKEND_API_KEY", "own-key-0123456789")
    prompt = render("{{ f('own-key-0123456789') }}", lambda code: pd.Series(range(30)), names=["f"])
    assert prompt.remarks == ["f('***'): 20 of 30 values sent"]
