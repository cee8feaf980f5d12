"""Write a value of the notebook into a prompt, as text or as an image.

The first rule that fits decides:

1. A text stays whole. All other text is cut after 20,000 characters, with a note.
2. An exception becomes its type and message. An ``Answer`` becomes its text; several answers, their texts below the
   names of their models. A DataFrame or Series of pandas or polars becomes its shape, dtypes and a Markdown table of
   at most 20 rows and columns. A numpy array becomes its shape, its dtype and a summary. The bytes of an image become
   that image; other bytes are written as a literal.
3. The result of ``_repr_markdown_`` or ``_repr_latex_`` is used (so sympy is sent as LaTeX, not as an image).
4. A value that can show itself as an image (see ``media.from_object``) is attached, and ``[image: fig.png]`` is written
   in the text.
5. The ``str`` of its class is used if it defines one, else what IPython prints for it.
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
from ...text import truncate

LONGEST_VALUE = 20_000  # characters
_MAX_CELL = 80  # characters
_EDGE = 10  # rows, or columns, shown at either end of a table


def show(value: Any) -> str | Attachment:
    """Return a value as text, or as an image to attach, by the rules above."""
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
        data, limit = bytes(value), LONGEST_VALUE // 4  # a byte is written with at most four characters
        rest = f" … [{len(data) - limit:,} more bytes left out]" if len(data) > limit else ""
        is_image = (media_type(data) or "").startswith("image/")
        return attach(data) if is_image else f"{data[:limit]!r}{rest}"
    for hook in ("_repr_markdown_", "_repr_latex_"):
        if isinstance(text := _call(value, hook), str):
            return _cut(text)
    return _image(value) or _plain(value)


def _image(value: Any) -> Attachment | None:
    if type(value).__module__ == "builtins":
        return None
    found = picture_of(value)
    return None if found is None else attach(found)


def _plain(value: Any) -> str:
    if getattr(type(value), "__str__", None) is not object.__str__:
        return _cut(str(value))
    from IPython.lib.pretty import RepresentationPrinter  # only when it is needed

    size = len(value) if isinstance(value, list | tuple | set | frozenset | dict) else 0
    printer = RepresentationPrinter(output := _BoundedText(), max_width=100)
    cut = size > printer.max_seq_length  # then the printer writes "..." itself
    try:
        printer.pretty(value)
        printer.flush()
    except _FullError:
        cut = True
    what = f"{type(value).__name__} of {size:,} items, " if size else ""
    return output.getvalue() + (f"\n… [{what}the rest left out]" if cut else "")


class _FullError(Exception):
    pass


class _BoundedText(io.StringIO):
    """Text buffer that raises ``_FullError`` at ``LONGEST_VALUE``, so that printing a huge value ends early."""

    def write(self, text: str) -> int:
        if super().write(text[: LONGEST_VALUE - self.tell()]) < len(text):
            raise _FullError
        return len(text)


def _table(value: Any) -> str:
    polars, series = is_of(value, "polars"), not hasattr(value, "columns")
    frame = value.to_frame("value" if value.name in (None, "") else value.name) if series else value
    height, width = frame.shape
    rows, columns = _edges(height), _edges(width)
    part = frame[rows, columns] if polars else frame.iloc[rows, columns]
    dtypes = [f"{_cell(name)} {_cell(dtype)}" for name, dtype in zip(part.columns, part.dtypes, strict=True)]
    index = [] if polars else [", ".join(str(name) for name in part.index.names if name is not None)]
    lines = [[*index, *part.columns], ["---"] * len([*index, *columns])]
    lines += map(list, part.rows() if polars else part.itertuples(name=None))
    if width > len(columns):
        for line in [dtypes, *lines]:
            line.insert(_EDGE if line is dtypes else len(index) + _EDGE, "…")
    if height > len(rows):
        lines.insert(2 + _EDGE, ["…"] * len(lines[0]))
    shape = f"{height:,} values" if series else f"{height:,} rows × {width:,} columns"
    table = "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)
    return f"{type(value).__name__}, {shape}; dtypes: {', '.join(dtypes)}\n\n{table}"


def _edges(count: int) -> list[int]:
    """Return the positions of the rows, or columns, that are shown."""
    return [*range(count)] if count <= 2 * _EDGE else [*range(_EDGE), *range(count - _EDGE, count)]


def _cell(value: Any) -> str:
    text = f"{value:.10g}" if isinstance(value, float) else value if isinstance(value, str) else _plain(value)
    return truncate(text, _MAX_CELL).replace("|", "\\|").replace("\r", "\\r").replace("\n", "\\n")


def _call(value: Any, hook: str) -> Any:
    """Return what a display hook of an object returns, or ``None`` if its class has no such hook."""
    if not callable(getattr(type(value), hook, None)):
        return None
    try:
        shown = getattr(value, hook)()
    except NotImplementedError:
        return None
    return shown[0] if isinstance(shown, tuple) and shown else shown  # without its metadata


def _cut(text: str) -> str:
    rest = len(text) - LONGEST_VALUE
    return text if rest <= 0 else f"{text[:LONGEST_VALUE]}\n… [{rest:,} more characters left out]"
