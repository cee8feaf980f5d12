"""Rows for prompts, from a list or a table of any library, and the same form again for the answers.

pandas is never imported here: whoever passes one of its objects has imported it. narwhals reads the other libraries.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any

from ..chat.answer import Answer
from ..media.from_object import is_of
from ..media.tables import column_values, read_table
from .template import Template, is_missing

_PROMPT = "prompt"  # the name of a text in a template
_ANSWER = "answer"  # the name of the column of answers to a table of polars


@dataclass
class Rows:
    """The values that fill the template, row by row.

    ``like`` is the Series or DataFrame of pandas that was passed, or that of another library as narwhals reads it.
    """

    count: int
    values: Iterable[Mapping[str, Any]]
    images: Iterable[Any]
    template: Template
    like: Any = None

    def prompts(self) -> Iterator[tuple[Callable[[], str], Any]]:
        """Yield, for each row, a function that makes its prompt, and its images."""
        for values, images in zip(self.values, self.images, strict=True):
            yield partial(self.template.fill, values), images

    @property
    def is_table(self) -> bool:
        """Whether the prompts come from a table."""
        return hasattr(self.like, "columns")

    def series(self, values: list[Any]) -> Any:
        """Return one value per row in the form of the prompts.

        That is a Series with the same index for pandas, a Series of objects for polars (the others have no objects),
        else a list.
        """
        if is_of(self.like, "pandas"):
            name = None if self.is_table else self.like.name
            return sys.modules["pandas"].Series(values, index=self.like.index, name=name, dtype=object)
        if self.like is None or not self.like.implementation.is_polars():
            return values
        return self._objects(_ANSWER if self.is_table else self.like.name, values).to_native()

    def table(
        self, columns: list[str], values: list[Any], errors: list[str | None], complete: list[bool] | None = None
    ) -> Any:
        """Return a table of the fields of objects, of the library of the prompts, with their index.

        A row that failed is empty; then there is a column ``error``. If ``complete`` is given, it is a column too. A
        name that the objects have gets an underscore: ``error_``.
        """
        rows = [_fields(value) for value in values]
        names = columns or [*dict.fromkeys(name for row in rows for name in row)]
        cells: dict[str, Any] = {name: [row.get(name) for row in rows] for name in names}
        more: dict[str, Any] = {}
        if any(error is not None for error in errors):
            more["error" if "error" not in names else "error_"] = errors
        if complete is not None:
            more["complete" if "complete" not in names else "complete_"] = complete
        if not is_of(self.like, "pandas"):
            return self._table_of_another_library(cells | more)
        pandas, index = sys.modules["pandas"], self.like.index
        table = pandas.DataFrame(cells, index=index)
        for name, column in more.items():
            table[name] = pandas.Series(column, index=index, dtype=object if column is errors else bool)
        return table

    def _table_of_another_library(self, cells: dict[str, list[Any]]) -> Any:
        import narwhals

        implementation = self.like.implementation
        try:
            return narwhals.from_dict(cells, backend=implementation).to_native()
        except Exception:  # the values of a column are of several types
            if not implementation.is_polars():
                return [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]
            columns = {name: self._objects(name, values) for name, values in cells.items()}
            return narwhals.from_dict(columns).to_native()

    def _objects(self, name: str, values: list[Any]) -> Any:
        import narwhals

        return narwhals.new_series(name, [*values], dtype=narwhals.Object, backend=self.like.implementation)


def read_rows(prompts: Any, template: str | None, images: Any) -> Rows:
    """Read the prompts of ``map``; ``ValueError`` or ``TypeError`` if they, the template or the images do not fit."""
    if isinstance(prompts, str | bytes | Mapping | Answer):
        raise TypeError(f"prompts is a single {type(prompts).__name__}: put it into a list")
    if not isinstance(template, str | None):
        raise TypeError(f"template is {type(template).__name__}: it has to be a text")
    if (table := _table_of(prompts)) is not None:
        return _rows_of_table(table, template, images)
    if (column := _column_of(prompts)) is not None:
        prompts, texts = column, column_values(column)
        _check_texts(texts, template)
        names = [_PROMPT, *([str(prompts.name)] if prompts.name not in (None, "") else [])]
        values: Iterable[Mapping[str, Any]] = (dict.fromkeys(names, value) for value in texts)
        row_images = _read_images(images, len(prompts), prompts)
        return Rows(len(prompts), values, row_images, _make_template(template, names), prompts)
    if hasattr(prompts, "columns") or hasattr(prompts, "__dataframe__"):  # its rows are not what it iterates over
        wanted = "pass a DataFrame of pandas or polars, or its rows as a list of dicts"
        raise TypeError(f"prompts is a table that cannot be read, a {type(prompts).__name__}: {wanted}")
    items = prompts if isinstance(prompts, Sequence) else [*prompts]
    row_images = _read_images(images, len(items))
    if not items or not all(isinstance(item, Mapping) for item in items):
        _check_texts(items, template)
        return Rows(len(items), ({_PROMPT: item} for item in items), row_images, _make_template(template, [_PROMPT]))
    if template is None:
        raise TypeError("prompts that are dicts need a template, like template='{{ name }}'")
    dicts = [{str(key): value for key, value in item.items()} for item in items]
    parsed = Template(template, dicts[0])
    for row in dicts:
        parsed.check(row)
    return Rows(len(dicts), dicts, row_images, parsed)


def _table_of(prompts: Any) -> Any:
    """Return a table of pandas itself, one of another library as narwhals reads it; ``None`` for anything else."""
    if is_of(prompts, "pandas", "DataFrame"):
        return prompts
    found = read_table(prompts)
    if found is not None and hasattr(found, "collect"):  # it is not computed yet
        try:
            found = found.collect()
        except ImportError as error:
            what = f"the rows of a {type(prompts).__name__} are read with {error.name}"
            raise ValueError(f"{what}: pip install {error.name}, or pass a DataFrame of pandas or polars") from None
    if found is None or not hasattr(found, "columns"):
        return None
    return found.to_native() if found.implementation.is_pandas() else found


def _column_of(prompts: Any) -> Any:
    """Return a column as ``_table_of`` returns a table."""
    return prompts if is_of(prompts, "pandas", "Series") else read_table(prompts)


def _rows_of_table(table: Any, template: str | None, images: Any) -> Rows:
    columns = {str(name): name for name in table.columns}
    if template is None and len(table.columns) != 1:
        raise ValueError(f"a DataFrame with several columns needs a template; it can use {', '.join(columns)}")
    if len(columns) < len(table.columns):
        raise ValueError("the DataFrame has several columns of the same name: rename them")
    if template is None:
        texts = column_values(table[table.columns[0]])
        _check_texts(texts, template)
        parsed, values = _make_template(None, []), ({_PROMPT: text} for text in texts)
    else:
        parsed = Template(template, columns)
        used = [*dict.fromkeys(parsed.names)]
        cells = [column_values(table[columns[name]]) for name in used]
        lines = zip(*cells, strict=True) if used else repeat((), len(table))
        values = (dict(zip(used, line, strict=True)) for line in lines)
    return Rows(len(table), values, _images_of_table(table, columns, images), parsed, table)


def _images_of_table(table: Any, columns: dict[str, Any], images: Any) -> Iterable[Any]:
    """Return the images of each row: those in the named columns, or one entry per row as for any prompts."""
    names = [images] if isinstance(images, str) else images
    if isinstance(names, list | tuple) and names and all(isinstance(name, str) and name in columns for name in names):
        cells = zip(*(column_values(table[columns[name]]) for name in names), strict=True)
        return ([cell for cell in row if not is_missing(cell)] or None for row in cells)
    if isinstance(images, str):
        raise ValueError(f"there is no column {images} for the images; the columns are {', '.join(columns)}")
    return _read_images(images, len(table), table)


def _make_template(text: str | None, names: list[str]) -> Template:
    return Template("{{ prompt }}", [_PROMPT]) if text is None else Template(text, names)


def _check_texts(items: Iterable[Any], template: str | None) -> None:
    """Raise ``TypeError`` without a template if one of the items is not a text and not a missing value."""
    for number, item in enumerate(items if template is None else ()):
        if not (isinstance(item, str | Answer) or is_missing(item)):
            raise TypeError(f"prompt {number} is {type(item).__name__}, not a text: use a template to make one")


def _read_images(images: Any, count: int, like: Any = None) -> Iterable[Any]:
    """Return one entry of images per prompt; ``ValueError`` if their number, or a Series' index, does not fit."""
    if images is None:
        return repeat(None, count)
    if isinstance(images, str | bytes) or not isinstance(images, Iterable):
        raise TypeError(f"images is a single {type(images).__name__}: pass a list with one entry per prompt, or None")
    entries: Any = images if hasattr(images, "__len__") else [*images]
    if len(entries) != count:
        raise ValueError(f"there are {len(entries):,} images for {count:,} prompts: pass one entry per prompt, or None")
    is_series = hasattr(entries, "index") and hasattr(entries, "iloc")
    if hasattr(like, "index") and is_series and not entries.index.equals(like.index):
        raise ValueError("the images and the prompts have different indexes: bring them into the same order")
    return [*entries]


def _fields(value: Any) -> dict[str, Any]:
    """Return the columns that a value fills: the fields of an object, or ``answer`` for any other JSON."""
    if value is None:
        return {}
    if isinstance(value, Mapping) or hasattr(value, "model_json_schema"):
        return {str(name): item for name, item in dict(value).items()}
    return {"answer": value}
