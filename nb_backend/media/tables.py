"""Tables and columns of any library, read with narwhals; and how the numbers in them were stored.

narwhals is imported only for a value of one of these libraries, and never imports one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from ..text import float_text

if TYPE_CHECKING:
    import narwhals

    Table: TypeAlias = narwhals.DataFrame[Any] | narwhals.LazyFrame[Any]
    Column: TypeAlias = narwhals.Series[Any]

_PACKAGES = frozenset(
    ("polars", "pyarrow", "duckdb", "modin", "cudf", "dask", "ibis", "pyspark", "sqlframe", "narwhals", "daft")
)


def read_table(value: Any) -> Table | Column | None:
    """Return a table or a column as narwhals reads it; ``None`` for any other value, and for those of pandas."""
    if not any(str(one.__module__).partition(".")[0] in _PACKAGES for one in type(value).__mro__):
        return None
    import narwhals

    found = narwhals.from_native(value, pass_through=True, allow_series=True)
    return found if isinstance(found, narwhals.DataFrame | narwhals.LazyFrame | narwhals.Series) else None


def column_values(column: Any) -> list[Any]:
    """Return the values of a column of pandas or narwhals, or of an index of pandas.

    A float of 16 or 32 bits becomes the number that was meant: 0.1 instead of 0.10000000149011612.
    """
    values = column.to_list()
    form = _FORMS.get(str(column.dtype).lower(), "d")
    return values if form == "d" else [_shortest(value, form) for value in values]


_FORMS = {"float16": "e", "halffloat[pyarrow]": "e", "float32": "f", "float[pyarrow]": "f"}
"""How ``struct`` calls the floats of a dtype of pandas or narwhals, in lower case."""


def _shortest(value: Any, form: str) -> Any:
    return float(float_text(value, form)) if isinstance(value, float) else value
