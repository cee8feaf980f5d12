"""Rows for prompts, from a list, a Series or a DataFrame, and the same form again for the answers.

pandas is never imported here: whoever passes one of its objects has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any

from ..chat.answer import Answer
from .template import Template, is_missing

_PROMPT = "prompt"  # the name of a text in a template


@dataclass
class Rows:
    """The values that fill the template, row by row. ``like`` is the Series or DataFrame that was passed, if any."""

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
        """Whether the prompts come from a DataFrame."""
        return hasattr(self.like, "columns")

    def series(self, values: list[Any]) -> Any:
        """Return one value per row in the form of the prompts: a list, or a Series with the same index."""
        if self.like is None:
            return values
        name = None if self.is_table else self.like.name
        return sys.modules["pandas"].Series(values, index=self.like.index, name=name, dtype=object)

    def table(
        self, columns: list[str], values: list[Any], errors: list[str | None], complete: list[bool] | None = None
    ) -> Any:
        """Return a DataFrame of the fields of objects, with the index of the prompts.

        A row that failed is empty; then there is a column ``error``. If ``complete`` is given, it is a column too. A
        name that the objects have gets an underscore: ``error_``.
        """
        pandas, rows = sys.modules["pandas"], [_fields(value) for value in values]
        names = columns or [*dict.fromkeys(name for row in rows for name in row)]
        table = pandas.DataFrame({name: [row.get(name) for row in rows] for name in names}, index=self.like.index)
        if any(error is not None for error in errors):
            name = "error" if "error" not in names else "error_"
            table[name] = pandas.Series(errors, index=table.index, dtype=object)
        if complete is not None:
            table["complete" if "complete" not in names else "complete_"] = complete
        return table


def read_rows(prompts: Any, template: str | None, images: Any) -> Rows:
    """Read the prompts of ``map``; ``ValueError`` or ``TypeError`` if they, the template or the images do not fit."""
    pandas = sys.modules.get("pandas")
    if isinstance(prompts, str | bytes | Mapping | Answer):
        raise TypeError(f"prompts is a single {type(prompts).__name__}: put it into a list")
    if not isinstance(template, str | None):
        raise TypeError(f"template is {type(template).__name__}: it has to be a text")
    if pandas is not None and isinstance(prompts, pandas.DataFrame):
        return _rows_of_table(prompts, template, images)
    if pandas is not None and isinstance(prompts, pandas.Series):
        _check_texts(prompts, template)
        names = [_PROMPT, *([str(prompts.name)] if prompts.name is not None else [])]
        values: Iterable[Mapping[str, Any]] = (dict.fromkeys(names, value) for value in prompts)
        row_images = _read_images(images, len(prompts), prompts)
        return Rows(len(prompts), values, row_images, _make_template(template, names), prompts)
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


def _rows_of_table(table: Any, template: str | None, images: Any) -> Rows:
    columns = {str(name): name for name in table.columns}
    if template is None and len(table.columns) != 1:
        raise ValueError(f"a DataFrame with several columns needs a template; it can use {', '.join(columns)}")
    if len(columns) < len(table.columns):
        raise ValueError("the DataFrame has several columns of the same name: rename them")
    if template is None:
        texts = table.iloc[:, 0]
        _check_texts(texts, template)
        parsed, values = _make_template(None, []), ({_PROMPT: text} for text in texts)
    else:
        parsed = Template(template, columns)
        used = [*dict.fromkeys(parsed.names)]
        cells = zip(*(table[columns[name]] for name in used), strict=True) if used else repeat((), len(table))
        values = (dict(zip(used, row, strict=True)) for row in cells)
    return Rows(len(table), values, _images_of_table(table, columns, images), parsed, table)


def _images_of_table(table: Any, columns: dict[str, Any], images: Any) -> Iterable[Any]:
    """Return the images of each row: those in the named columns, or one entry per row as for any prompts."""
    names = [images] if isinstance(images, str) else images
    if isinstance(names, list | tuple) and names and all(isinstance(name, str) and name in columns for name in names):
        cells = zip(*(table[columns[name]] for name in names), strict=True)
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
    if like is not None and is_series and not entries.index.equals(like.index):
        raise ValueError("the images and the prompts have different indexes: bring them into the same order")
    return [*entries]


def _fields(value: Any) -> dict[str, Any]:
    """Return the columns that a value fills: the fields of an object, or ``answer`` for any other JSON."""
    if value is None:
        return {}
    if isinstance(value, Mapping) or hasattr(value, "model_json_schema"):
        return {str(name): item for name, item in dict(value).items()}
    return {"answer": value}
