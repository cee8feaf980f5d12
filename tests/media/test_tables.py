"""Numbers of tables keep their digits, and tables of any library are read by rows and columns."""

from __future__ import annotations

import math
import struct
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nb_backend.media.tables import column_values, read_table
from nb_backend.text import float_text


@pytest.mark.parametrize(
    ("value", "form", "shown"),
    [
        (1234567890123.0, "d", "1234567890123"),
        (-12345678901.0, "d", "-12345678901"),
        (2.0**53 + 2, "d", "9007199254740994"),
        (1234567890123456768.0, "d", "1234567890123456768"),
        (1e21, "d", "1000000000000000000000"),
        (1e22, "d", "1e+22"),
        (1700000000123.5, "d", "1700000000123.5"),
        (0.1 + 0.2, "d", "0.3"),
        (1 / 3, "d", "0.333333333333333"),
        (1e-10, "d", "1e-10"),
        (-0.0, "d", "0"),
        (math.nan, "d", "nan"),
        (-math.inf, "d", "-inf"),
        (float(np.float32(0.1)), "f", "0.1"),
        (float(np.float32(3.4028235e38)), "f", "3.4028235e+38"),
        (16777217.0, "f", "16777217"),
        (float(np.float16(0.1)), "e", "0.1"),
        (65504.0, "e", "65504"),
        (math.nan, "f", "nan"),
        (math.inf, "e", "inf"),
    ],
)
def test_a_float_is_as_short_as_it_was_written_and_whole_ones_keep_their_digits(value, form, shown):
    assert float_text(value, form) == shown


@given(st.integers(-(10**15), 10**15), st.integers(0, 6))
def test_a_decimal_number_of_15_digits_comes_back(digits, places):
    assert float(float_text(digits / 10**places)) == digits / 10**places


@given(st.integers(-(2**53), 2**53))
def test_a_whole_number_is_its_digits(number):
    assert float_text(float(number)) == str(number)


@given(st.floats(width=32, allow_nan=False), st.floats(width=16, allow_nan=False))
def test_the_text_of_a_short_float_is_that_very_float(single, half):
    for value, form in ((single, "f"), (half, "e")):
        again = float(float_text(value, form))
        assert struct.pack(form, again) == struct.pack(form, value) or again == value == 0


COLUMNS = [
    pd.Series([0.1, None], dtype="float32"),
    pd.Series([0.1, None], dtype="float16"),
    pd.Series([0.1, None], dtype="Float32"),
    pd.Index([0.1, 0.2], dtype="float32"),
    read_table(pl.Series([0.1, None], dtype=pl.Float32)),
    pd.Series([0.1]),
    pd.Series([0.1, "x"]),
]


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: str(column.dtype))
def test_a_short_float_is_the_number_that_was_meant(column):
    assert column_values(column)[0] == 0.1


@pytest.mark.parametrize(
    "values", [[1, None], ["a", None], [True, False], [[1.5], None], [2**60 + 1], [pd.Timestamp("2024-05-01"), None]]
)
def test_other_values_are_as_the_library_returns_them(values):
    column = pl.Series(values)
    assert column_values(read_table(column)) == column.to_list() == values


@pytest.mark.parametrize("value", [None, "a", b"a", 7, [1], {"a": [1]}, object(), pd.DataFrame(), pd.Series([1])])
def test_other_values_and_those_of_pandas_are_not_read(value):
    assert read_table(value) is None


def test_a_value_that_is_not_a_table_imports_nothing():
    code = (
        "import sys, decimal, nb_backend.media.tables as tables\n"
        "for value in ('a', [1], object(), decimal.Decimal(1), tables): tables.read_table(value)\n"
        "print({'narwhals', 'polars', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
