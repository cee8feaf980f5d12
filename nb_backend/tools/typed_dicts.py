"""``TypedDict`` of Python 3.11, which pydantic does not take, as that of ``typing_extensions``, which it does."""

from __future__ import annotations

import functools
import operator
import sys
import types
import typing
from typing import Annotated, Any, NotRequired, Required


def readable(annotation: Any) -> Any:
    """Return an annotation in which pydantic can read each ``TypedDict``."""
    return annotation if sys.version_info >= (3, 12) else _converted(annotation, ())


def _converted(annotation: Any, around: tuple[Any, ...]) -> Any:
    if typing.is_typeddict(annotation):
        return annotation if annotation in around else _typed_dict(annotation, (*around, annotation))
    if not (parts := typing.get_args(annotation)):
        return annotation
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return Annotated[(_converted(parts[0], around), *annotation.__metadata__)]
    made = tuple(_converted(part, around) for part in parts)
    if all(one is before for one, before in zip(made, parts, strict=True)):
        return annotation
    if origin is types.UnionType:
        return functools.reduce(operator.or_, made)
    return annotation.copy_with(made) if hasattr(annotation, "copy_with") else origin[made]


def _typed_dict(given: Any, around: tuple[Any, ...]) -> Any:
    from typing_extensions import TypedDict

    fields: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(given, include_extras=True).items():
        inner = _converted(hint, around)
        if typing.get_origin(hint) not in (Required, NotRequired):
            inner = Required[inner] if name in given.__required_keys__ else NotRequired[inner]
        fields[name] = inner
    make: Any = TypedDict  # mypy wants literals
    made = make(given.__name__, fields)
    made.__doc__, made.__module__ = given.__doc__, given.__module__
    return made
