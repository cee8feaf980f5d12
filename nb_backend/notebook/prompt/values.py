"""What a value of the notebook looks like in a prompt: text, or a picture.

A value becomes, by the first that fits:

1. a text: itself, whole; everything else is cut after 20,000 characters, with a word about it;
2. an exception: its type and message; an ``Answer``: its text, those of several below their models' names; a DataFrame
   or Series of pandas or polars: shape, dtypes and a Markdown table of at most 20 rows and columns; a numpy array:
   shape, dtype, summary; bytes: their picture;
3. what ``_repr_markdown_`` or ``_repr_latex_`` gives (sympy has a picture as well: the LaTeX wins);
4. a picture, if it shows itself as one, by the rules of ``pictures``. The picture is attached, and
   ``[image: fig.png]`` stands in the text;
5. what its class defines as ``str``, else what IPython prints for it.
"""

from __future__ import annotations

import io
import sys
from traceback import format_exception_only
from typing import Any

from ...markdown.data_uris import shorten_data_uris
from ...media.attachment import Attachment
from ...media.convert import attach
from ...media.from_object import figure_of, is_of, picture_of
from ...media.sniff import media_type

LONGEST_VALUE = 20_000  # characters
_CELL = 80  # characters in a cell of a table
_ENDS = 10  # rows, and columns, shown at either end of a table


def show(value: Any) -> str | Attachment:
    """Give a value as text, or as a picture to attach, by the rules above."""
    if isinstance(value, Attachment):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, BaseException):
        return _cut("".join(format_exception_only(value)).strip())
    if is_of(value, "nb_backend", "Answer", "Answers"):
        return _cut(shorten_data_uris(str(value)))
    if is_of(value, "pandas", "DataFrame", "Series") or is_of(value, "polars", "DataFrame", "Series"):
        return _table(value)
    if is_of(value, "numpy", "ndarray") and (value.dtype != object or figure_of(value) is None):
        with sys.modules["numpy"].printoptions(threshold=1000, edgeitems=3 if value.ndim < 4 else 1):
            return _cut(f"{type(value).__name__}, shape {value.shape}, dtype {value.dtype}:\n{value!r}")
    if isinstance(value, bytes | bytearray | memoryview):
        data, most = bytes(value), LONGEST_VALUE // 4  # a byte takes up to four characters
        rest = f" … [{len(data) - most:,} more bytes left out]" if len(data) > most else ""
        is_image = (media_type(data) or "").startswith("image/")
        return attach(data) if is_image else f"{data[:most]!r}{rest}"
    for hook in ("_repr_markdown_", "_repr_latex_"):
        if isinstance(text := _call(value, hook), str):
            return _cut(text)
    return _picture(value) or _plain(value)


def _picture(value: Any) -> Attachment | None:
    if type(value).__module__ == "builtins":
        return None
    found = picture_of(value)
    return None if found is None else attach(found)


def _plain(value: Any) -> str:
    if getattr(type(value), "__str__", None) is not object.__str__:
        return _cut(str(value))
    from IPython.lib.pretty import RepresentationPrinter  # only when it is needed

    size = len(value) if isinstance(value, list | tuple | set | frozenset | dict) else 0
    printer = RepresentationPrinter(room := _Room(), max_width=100)
    cut = size > printer.max_seq_length  # then it prints "..." by itself
    try:
        printer.pretty(value)
        printer.flush()
    except _FullError:
        cut = True
    said = f"{type(value).__name__} of {size:,} items, " if size else ""
    return room.getvalue() + (f"\n… [{said}the rest left out]" if cut else "")


class _FullError(Exception):
    pass


class _Room(io.StringIO):
    """Takes as much as a value may have, so that the printing of a huge one ends early."""

    def write(self, text: str) -> int:
        if super().write(text[: LONGEST_VALUE - self.tell()]) < len(text):
            raise _FullError
        return len(text)


def _table(value: Any) -> str:
    polars, series = is_of(value, "polars"), not hasattr(value, "columns")
    frame = value.to_frame("value" if value.name in (None, "") else value.name) if series else value
    height, width = frame.shape
    rows, columns = _ends(height), _ends(width)
    part = frame[rows, columns] if polars else frame.iloc[rows, columns]
    dtypes = [f"{_cell(name)} {_cell(dtype)}" for name, dtype in zip(part.columns, part.dtypes, strict=True)]
    index = [] if polars else [", ".join(str(name) for name in part.index.names if name is not None)]
    lines = [[*index, *part.columns], ["---"] * len([*index, *columns])]
    lines += map(list, part.rows() if polars else part.itertuples(name=None))
    if width > len(columns):
        for line in [dtypes, *lines]:
            line.insert(_ENDS if line is dtypes else len(index) + _ENDS, "…")
    if height > len(rows):
        lines.insert(2 + _ENDS, ["…"] * len(lines[0]))
    shape = f"{height:,} values" if series else f"{height:,} rows × {width:,} columns"
    table = "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)
    return f"{type(value).__name__}, {shape}; dtypes: {', '.join(dtypes)}\n\n{table}"


def _ends(count: int) -> list[int]:
    return [*range(count)] if count <= 2 * _ENDS else [*range(_ENDS), *range(count - _ENDS, count)]


def _cell(value: Any) -> str:
    text = f"{value:.10g}" if isinstance(value, float) else value if isinstance(value, str) else _plain(value)
    text = text if len(text) <= _CELL else f"{text[: _CELL - 1]}…"
    return text.replace("|", "\\|").replace("\r", "\\r").replace("\n", "\\n")


def _call(value: Any, hook: str) -> Any:
    """Ask an object to show itself, if its class knows how to."""
    if not callable(getattr(type(value), hook, None)):
        return None
    try:
        shown = getattr(value, hook)()
    except NotImplementedError:
        return None
    return shown[0] if isinstance(shown, tuple) and shown else shown  # and not its metadata


def _cut(text: str) -> str:
    rest = len(text) - LONGEST_VALUE
    return text if rest <= 0 else f"{text[:LONGEST_VALUE]}\n… [{rest:,} more characters left out]"
