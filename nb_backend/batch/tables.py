"""What many questions are made of, a list or a table, and the table that their answers become.

pandas is never imported here: who gives one of its objects has it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any

from .template import Template, is_missing

_PROMPT = "prompt"  # the name of a text that is no column's


@dataclass
class Rows:
    """The rows that prompts are made of, one after the other. ``like`` is the Series or DataFrame that was given."""

    count: int
    values: Iterable[Mapping[str, Any]]
    images: Iterable[Any]
    template: Template
    like: Any = None

    def prompts(self) -> Iterator[tuple[Callable[[], str], Any]]:
        """Give what makes each prompt, and what goes along with it."""
        for values, images in zip(self.values, self.images, strict=True):
            yield partial(self.template.fill, values), images

    @property
    def is_table(self) -> bool:
        """Whether there are columns."""
        return hasattr(self.like, "columns")

    def series(self, values: list[Any]) -> Any:
        """Give what was made of the rows in the form that they had: a list, or a Series with the same index."""
        if self.like is None:
            return values
        name = None if self.is_table else self.like.name
        return sys.modules["pandas"].Series(values, index=self.like.index, name=name, dtype=object)

    def table(self, columns: list[str], values: list[Any], errors: list[str | None]) -> Any:
        """Give a DataFrame of what objects have; those that failed are empty, and then ``error`` says why."""
        pandas, fields = sys.modules["pandas"], [_fields(value) for value in values]
        names = columns or [*dict.fromkeys(name for one in fields for name in one)]
        table = pandas.DataFrame({name: [one.get(name) for one in fields] for name in names}, index=self.like.index)
        if any(error is not None for error in errors):
            name = "error" if "error" not in names else "error_"
            table[name] = pandas.Series(errors, index=table.index, dtype=object)
        return table


def read_rows(prompts: Any, template: str | None, images: Any) -> Rows:
    """Read what is asked; ``ValueError`` or ``TypeError`` with what is wrong with it."""
    pandas = sys.modules.get("pandas")
    if isinstance(prompts, str | bytes | Mapping):
        raise TypeError(f"the prompts are one {type(prompts).__name__}: put it into a list")
    if not isinstance(template, str | None):
        raise TypeError(f"the template is no text, but {type(template).__name__}")
    if pandas is not None and isinstance(prompts, pandas.DataFrame):
        return _of_table(prompts, template, images)
    if pandas is not None and isinstance(prompts, pandas.Series):
        _check_texts(prompts, template)
        names = [_PROMPT, *([str(prompts.name)] if prompts.name is not None else [])]
        values: Iterable[Mapping[str, Any]] = (dict.fromkeys(names, value) for value in prompts)
        return Rows(len(prompts), values, _images(images, len(prompts), prompts), _template(template, names), prompts)
    given = prompts if isinstance(prompts, Sequence) else [*prompts]
    along = _images(images, len(given))
    if not given or not all(isinstance(one, Mapping) for one in given):
        _check_texts(given, template)
        return Rows(len(given), ({_PROMPT: one} for one in given), along, _template(template, [_PROMPT]))
    if template is None:
        raise TypeError("prompts that are dicts need a template, like template='{{ name }}'")
    named = [{str(key): value for key, value in one.items()} for one in given]
    made = Template(template, named[0])
    for one in named:
        made.check(one)
    return Rows(len(named), named, along, made)


def _of_table(table: Any, template: str | None, images: Any) -> Rows:
    columns = {str(name): name for name in table.columns}
    if template is None and len(table.columns) != 1:
        raise ValueError(f"a DataFrame of several columns needs a template, which takes {', '.join(columns)}")
    if len(columns) < len(table.columns):
        raise ValueError("the DataFrame has several columns of one name: rename them")
    if template is None:
        only = table.iloc[:, 0]
        _check_texts(only, template)
        made, values = _template(None, []), ({_PROMPT: value} for value in only)
    else:
        made = Template(template, columns)
        used = [*dict.fromkeys(made.names)]
        cells = zip(*(table[columns[name]] for name in used), strict=True) if used else repeat((), len(table))
        values = (dict(zip(used, row, strict=True)) for row in cells)
    named = [images] if isinstance(images, str) else images
    if isinstance(named, list | tuple) and named and all(isinstance(name, str) and name in columns for name in named):
        cells = zip(*(table[columns[name]] for name in named), strict=True)
        along: Iterable[Any] = ([cell for cell in row if not is_missing(cell)] or None for row in cells)
    elif isinstance(images, str):
        raise ValueError(f"there is no column {images} for the images: there is {', '.join(columns)}")
    else:
        along = _images(images, len(table), table)
    return Rows(len(table), values, along, made, table)


def _template(text: str | None, names: list[str]) -> Template:
    return Template("{{ prompt }}", [_PROMPT]) if text is None else Template(text, names)


def _check_texts(given: Iterable[Any], template: str | None) -> None:
    for number, one in enumerate(given if template is None else ()):
        if not (isinstance(one, str) or is_missing(one)):
            raise TypeError(f"prompt {number} is no text, but {type(one).__name__}: a template makes texts of others")


def _images(images: Any, count: int, like: Any = None) -> Iterable[Any]:
    """Give what goes along with each; ``ValueError`` if these are not as many."""
    if images is None:
        return repeat(None, count)
    if isinstance(images, str | bytes) or not isinstance(images, Iterable):
        raise TypeError(f"images is one {type(images).__name__}: give a list with one for each prompt, or None")
    given: Any = images if hasattr(images, "__len__") else [*images]
    if len(given) != count:
        raise ValueError(f"there are {len(given):,} images for {count:,} prompts: give one for each, or None")
    if like is not None and hasattr(given, "index") and hasattr(given, "iloc") and not given.index.equals(like.index):
        raise ValueError("the images have another index than the prompts: bring them in the same order")
    return [*given]


def _fields(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, Mapping) or hasattr(value, "model_json_schema"):
        return {str(name): item for name, item in dict(value).items()}
    return {"answer": value}
