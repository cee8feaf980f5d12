"""``map`` takes the rows of a table of any library, and answers in a form that fits it."""

from __future__ import annotations

import re
from types import SimpleNamespace

import narwhals
import pandas as pd
import polars as pl
import pytest
from png import png

import nb_backend
from nb_backend import Answer
from nb_backend.batch.tables import Rows, read_rows

ROWS = {"id": [12345678901.0, None, 3.0], "text": ["wolf", "owl", None], "share": [0.1, 0.5, None]}
TABLE = pl.DataFrame(ROWS).with_columns(pl.col("share").cast(pl.Float32))
FILLED = ["12345678901 wolf 0.1", " owl 0.5", "3  "]
REVIEW = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a", "b"]}


def sent(backend) -> list[str]:
    return [body["messages"][-1]["content"] for body in backend.engine.history]


@pytest.mark.parametrize(
    "table",
    [
        TABLE,
        TABLE.lazy(),
        narwhals.from_native(TABLE),
        TABLE.to_dicts(),
        TABLE.iter_rows(named=True),
        pd.DataFrame(ROWS).astype({"share": "float32"}),
        pd.DataFrame(ROWS).convert_dtypes().astype({"share": "Float32"}),
    ],
    ids=["polars", "lazy", "narwhals", "dicts", "generator", "pandas", "nullable"],
)
def test_a_row_is_a_prompt_and_its_numbers_keep_their_digits(backend, table):
    if isinstance(table, list) or hasattr(table, "__next__"):
        table = [{**row, "share": row["share"] and round(row["share"], 6)} for row in table]
    answers = nb_backend.map(table, template="{{ id }} {{ text }} {{ share }}", concurrency=1)
    assert sent(backend) == FILLED
    assert [str(answer) for answer in answers] == FILLED


def test_polars_gets_a_series_of_answers_that_can_be_a_column(backend):
    answers = nb_backend.map(TABLE, template="{{ id }}")
    assert isinstance(answers, pl.Series)
    assert answers.name == "answer"
    assert isinstance(answers[0], Answer)
    assert isinstance(answers[1], ValueError)  # its prompt is empty
    assert list(TABLE.with_columns(answers)["answer"]) == list(answers)
    named = nb_backend.map(pl.Series("animal", ["wolf", "owl"]), template="{{ animal }}, {{ prompt }}")
    assert (named.name, [str(one) for one in named]) == ("animal", ["wolf, wolf", "owl, owl"])
    assert [str(one) for one in nb_backend.map(pl.Series(["wolf"]))] == ["wolf"]
    assert [str(one) for one in nb_backend.map(TABLE.select("text").head(2))] == ["wolf", "owl"]


def test_polars_gets_a_table_of_the_schemas_columns(backend):
    for reply in (
        '{"a": 1, "b": "x"}',
        {"type": "error", "error": "Boom", "message": "it broke"},
        '{"a": 3, "b": "z"}',
    ):
        backend.engine.enqueue(reply)
    found = nb_backend.map(TABLE, template="{{ id }}!", schema=REVIEW, concurrency=1)
    assert found.to_dicts() == [
        {"a": 1, "b": "x", "error": None},
        {"a": None, "b": None, "error": "it broke"},
        {"a": 3, "b": "z", "error": None},
    ]


def test_columns_of_several_types_stay_as_they_are(backend):
    for reply in ('{"a": 1, "b": "x"}', '{"a": 2, "b": 2}', '{"a": 3, "b": {"c": [1]}}'):
        backend.engine.enqueue(reply)
    found = nb_backend.map(TABLE, template="{{ id }}!", schema=REVIEW, concurrency=1)
    assert isinstance(found, pl.DataFrame)
    assert list(found["b"]) == ["x", 2, {"c": [1]}]


def test_images_are_columns_of_a_table_of_polars(backend):
    table = pl.DataFrame({"q": ["a", "b"], "front": [png(3, 2), png(5, 4)], "back": [None, png(7, 6)]})
    for images, wanted in (
        (["front", "back"], [["3"], ["5", "7"]]),
        ("back", [[], ["7"]]),
        (table["front"], [["3"], ["5"]]),
    ):
        found = nb_backend.map(table, template="{{ q }}", images=images)
        assert [re.findall(r"(\d)×", str(answer)) for answer in found] == wanted


@pytest.mark.parametrize(
    ("table", "options", "words"),
    [
        (TABLE, {}, "needs a template; it can use id, text, share"),
        (TABLE, {"template": "{{ nam }}"}, "takes only these names: id, text, share"),
        (TABLE.select("id"), {}, "prompt 0 is float, not a text"),
        (TABLE, {"template": "{{ id }}", "images": "photo"}, "no column photo for the images"),
        (pl.Series([1]), {}, "prompt 0 is int, not a text"),
        (
            SimpleNamespace(columns=["a"]),
            {},
            "prompts is a table that cannot be read, a SimpleNamespace: pass a DataFrame",
        ),
    ],
)
def test_tables_that_cannot_be_used_are_refused_at_once(backend, table, options, words):
    with pytest.raises((ValueError, TypeError), match=re.escape(words)):
        nb_backend.map(table, **options)
    assert sent(backend) == []


def test_a_query_that_another_library_has_to_read_names_it(backend, monkeypatch):
    def collect(self, *args, **options):
        raise ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow")

    monkeypatch.setattr(narwhals.LazyFrame, "collect", collect)
    with pytest.raises(
        ValueError, match=r"the rows of a LazyFrame are read with pyarrow: pip install pyarrow, or pass"
    ):
        nb_backend.map(TABLE.lazy(), template="{{ id }}")


class Frame:
    """A table as narwhals reads it, of a library that has no objects in its columns."""

    columns = ("id",)

    def __init__(self, backend):
        self.implementation = backend


def test_a_library_without_objects_gets_a_list():
    rows = read_rows(TABLE, "{{ id }}", None)
    other = SimpleNamespace(is_polars=lambda: False)
    rows = Rows(rows.count, rows.values, rows.images, rows.template, Frame(other))
    assert rows.is_table
    assert rows.series([1, "x"]) == [1, "x"]
    assert rows.table(["a"], [{"a": 1}, {"a": "x"}], [None, "broke"]) == [
        {"a": 1, "error": None},
        {"a": "x", "error": "broke"},
    ]


def test_a_table_that_is_computed_with_pandas_gets_a_series(backend, monkeypatch):
    monkeypatch.setattr(narwhals.LazyFrame, "collect", lambda self: narwhals.from_native(pd.DataFrame(ROWS)))
    assert isinstance(nb_backend.map(TABLE.lazy(), template="{{ text }}."), pd.Series)


async def test_it_can_be_awaited(backend):
    assert isinstance(await nb_backend.map(TABLE, template="{{ text }}."), pl.Series)
    assert [str(one) for one in nb_backend.map(TABLE, template="{{ text }}.")] == ["wolf.", "owl.", "."]


def test_it_can_be_compared(backend):
    found = nb_backend.compare(TABLE, ["m"], template="{{ text }}.")
    assert found["prompt"].tolist() == ["wolf.", "owl.", "."]
