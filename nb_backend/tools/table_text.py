"""Write a table as text for a model: its shape, its dtypes, and a Markdown table of at most 20 rows and columns.

The text of a table of which less is sent is a ``ShortenedText``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import RLock
from typing import Any, Self

from ..media.from_object import is_of
from ..media.tables import column_values, read_table
from ..text import counted, float_text, truncate

_MAX_CELL = 80  # characters
_EDGE = 10  # rows, or columns, shown at either end of a table
_PATIENCE = 2  # seconds
_print_options = RLock()  # those of numpy and pandas belong to all threads: two that restore them would mix them up


class ShortenedText(str):
    """Text of a value of which less is sent; ``remark`` says how much, like "20 of 200 rows sent"."""

    __slots__ = ("remark",)

    remark: str

    def __new__(cls, text: str, remark: str) -> Self:
        """Build the text with its remark."""
        made = super().__new__(cls, text)
        made.remark = remark
        return made


def table_text(value: Any, plain: Callable[[Any], str]) -> str | None:
    """Return a table or a column of any library as text; ``None`` if the value is not one.

    ``plain`` writes a cell that is neither a text nor a float. Of a table that is not computed yet (a LazyFrame, a
    query) only the first rows are.
    """
    if is_of(value, "pandas", "DataFrame", "Series"):
        return _pandas_text(value, plain)
    if is_of(value, "pandas", "GroupBy") or is_of(value, "polars", "GroupBy"):
        sizes = value.size() if is_of(value, "pandas") else value.len()
        text = f"{type(value).__name__} of {counted(len(sizes), 'group')}; rows in each:\n\n{table_text(sizes, plain)}"
        return _with_remark(text, [_part_of(len(sizes), "groups")])
    if (found := read_table(value)) is None:
        return None
    import narwhals

    name = type(value).__name__
    if isinstance(found, narwhals.LazyFrame):
        try:
            found = found.head(2 * _EDGE + 1).collect()
        except ImportError:  # it can be collected with another library only
            return None
        if len(found) > 2 * _EDGE:
            found = found.head(2 * _EDGE)
            text = _text(f"{name}, its first {_shape(*found.shape)}", found, [], [], plain)
            return _with_remark(text, [f"its first {2 * _EDGE} rows", _part_of(found.shape[1], "columns")])
    if isinstance(found, narwhals.Series):
        shape = f"{name}, {counted(len(found), 'value')}"
        return _text(shape, found.alias(found.name or "value").to_frame(), [], [], plain)
    return _text(f"{name}, {_shape(*found.shape)}", found, [], [], plain)


def _pandas_text(value: Any, plain: Callable[[Any], str]) -> str:
    is_series = is_of(value, "pandas", "Series")
    frame = value.to_frame("value" if value.name in (None, "") else value.name) if is_series else value
    shape = counted(len(frame), "value") if is_series else _shape(*frame.shape)
    labels = frame.index[_edges(len(frame))]
    index = column_values(labels) if labels.nlevels == 1 else labels.to_list()
    names = ", ".join(str(name) for name in frame.index.names if name is not None)
    return _text(f"{type(value).__name__}, {shape}", frame, [names], [index], plain)


def _text(title: str, frame: Any, index_names: list[str], index: list[list[Any]], plain: Callable[[Any], str]) -> str:
    """Return a table of pandas or narwhals as text; ``index`` are the columns before its own."""
    height, width = frame.shape
    rows, columns = _edges(height), _edges(width)
    part = frame.iloc[rows, columns] if is_of(frame, "pandas") else frame[rows, columns]
    by_position = [part.iloc[:, at] if is_of(part, "pandas") else part[:, at] for at in range(len(columns))]
    named = zip(part.columns, by_position, strict=True)
    dtypes = [f"{_cell(name, plain)} {_cell(column.dtype, plain)}" for name, column in named]
    cells = [*index, *map(column_values, by_position)]
    lines = [[*index_names, *part.columns], *([column[at] for column in cells] for at in range(len(rows)))]
    if width > len(columns):
        for line in [dtypes, *lines]:
            line.insert(_EDGE if line is dtypes else len(index) + _EDGE, "…")
    text = f"{title}; dtypes: {', '.join(dtypes)}\n\n{_markdown(lines, height, plain)}"
    parts = [_part_of(height, "values" if title.endswith("values") else "rows"), _part_of(width, "columns")]
    is_cut = any(isinstance(cell, str) and len(cell) > _MAX_CELL for column in cells for cell in column)
    return _with_remark(text, parts, f"texts cut at {_MAX_CELL} characters" if is_cut else "")


def _part_of(count: int, what: str) -> str:
    """Return how many rows, columns or values of a table are sent; "" if all are."""
    return f"{2 * _EDGE} of {count:,} {what}" if count > 2 * _EDGE else ""


def _with_remark(text: str, parts: list[str], note: str = "") -> str:
    """Return a text with the remark that only these parts are sent, if any are named, and a note."""
    sent = " and ".join(filter(None, parts))
    remark = ", ".join(filter(None, [sent and f"{sent} sent", note]))
    return ShortenedText(text, remark) if remark else text


def grid_text(lines: list[list[str]]) -> str:
    """Return the rows of a table as Markdown; the first one is the head. All have the same length."""
    shown = [[line[at] for at in _edges(len(line))] for line in lines]
    if lines and len(lines[0]) > len(shown[0]):
        for line in shown:
            line.insert(_EDGE, "…")
    head, *rest = shown
    text = _markdown([head, *(rest[at] for at in _edges(len(rest)))], len(rest), str)
    return _with_remark(text, [_part_of(len(rest), "rows"), _part_of(len(lines[0]), "columns")])


def _markdown(lines: list[list[Any]], height: int, plain: Callable[[Any], str]) -> str:
    """Return lines as a Markdown table; the first one is its head, and a line of "…" stands for those left out."""
    head, *rows = lines
    if height > len(rows):
        rows.insert(_EDGE, ["…"] * len(head))
    written = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell, plain) for cell in line)} |" for line in written)


def _shape(height: int, width: int) -> str:
    return f"{counted(height, 'row')} × {counted(width, 'column')}"


def _edges(count: int) -> list[int]:
    """Return the positions of the rows, or columns, that are shown."""
    return [*range(count)] if count <= 2 * _EDGE else [*range(_EDGE), *range(count - _EDGE, count)]


def _cell(value: Any, plain: Callable[[Any], str]) -> str:
    text = float_text(value) if isinstance(value, float) else value if isinstance(value, str) else plain(value)
    return truncate(text, _MAX_CELL).replace("|", "\\|").replace("\r", "\\r").replace("\n", "\\n")


@contextmanager
def exact_numbers() -> Iterator[None]:
    """Make numpy, pandas and polars print floats with all digits, also inside of a list, a dict or a cell.

    If another thread prints for seconds, as an object that hangs does, the options stay as they are.
    """
    if not _print_options.acquire(timeout=_PATIENCE):
        yield
        return
    try:
        with ExitStack() as stack:
            if numpy := sys.modules.get("numpy"):
                stack.enter_context(numpy.printoptions(threshold=1000, formatter={"float_kind": _number}))
            if pandas := sys.modules.get("pandas"):
                stack.enter_context(pandas.option_context("display.float_format", _number))
            if polars := sys.modules.get("polars"):
                stack.enter_context(polars.Config(fmt_float="full"))
            yield
    finally:
        _print_options.release()


def _number(value: Any) -> str:
    return float_text(float(value), getattr(getattr(value, "dtype", None), "char", "d"))
