"""The type and shape of a value, for a prompt that must not contain the value."""

from __future__ import annotations

import inspect
from itertools import islice
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from ..media.from_object import is_of
from ..text import counted

_MAX_COLUMNS = 30
_SAMPLED_ELEMENTS = 20


def type_summary(value: Any) -> str:
    """Return the type and shape of a value, never its content; no code of the user's classes runs."""
    try:
        return _summary(value)
    except Exception:  # for example a class that pretends to be another
        return "object"


def _summary(value: Any) -> str:
    own, mro = type(value), type.__dict__["__mro__"].__get__(type(value))
    if ModuleType in mro:
        return f"module {ModuleType.__getattribute__(value, '__name__')}"
    if own is FunctionType or own is MethodType:
        return f"{'async ' * inspect.iscoroutinefunction(value)}function {value.__name__}{_signature(value)}"
    if own is BuiltinFunctionType or type in mro:
        return f"function {value.__name__}" if own is BuiltinFunctionType else f"class {class_name(value)}"
    if is_of(value, "pandas", "DataFrame") or is_of(value, "polars", "DataFrame"):
        return _frame(value)
    if is_of(value, "pandas", "Series") or is_of(value, "polars", "Series"):
        return f"{class_name(own)}, {counted(value.shape[0], 'value')}, {str(value.dtype)[:100]}{_index(value)}"
    if is_of(value, "numpy", "ndarray") or is_of(value, "torch", "Tensor"):
        return f"{class_name(own)}, shape {tuple(value.shape)}, {str(value.dtype)[:100]}"
    if str in mro or bytes in mro:
        return (
            f"{class_name(own)} of {counted(str.__len__(value) if str in mro else bytes.__len__(value), 'character')}"
        )
    base: Any
    for base in (list, tuple, set, frozenset, dict):
        if base in mro:
            return f"{class_name(own)} of {counted(base.__len__(value), 'item')}{_elements(value, base)}"
    return class_name(own)


def class_name(own: type) -> str:
    """Return the name of a class, with its module unless that is ``builtins`` or the notebook."""
    get = type.__dict__
    name, module = get["__qualname__"].__get__(own), get["__module__"].__get__(own)
    plain = module in ("builtins", "__main__") or not isinstance(module, str)
    return " ".join((name if plain else f"{module}.{name}").split())[:100]


def _signature(function: Any) -> str:
    empty = inspect.Parameter.empty
    names = inspect.signature(function, follow_wrapped=False).parameters.values()
    plain = [name.replace(annotation=empty, default=empty if name.default is empty else ...) for name in names]
    return str(inspect.Signature(plain)).replace("Ellipsis", "…")


def _elements(value: Any, base: Any) -> str:
    """Return the types of the first elements; for a dict, the types of its keys and of its values."""
    sample = list(islice(base.__iter__(value), _SAMPLED_ELEMENTS))
    sides = [sample, [dict.__getitem__(value, key) for key in sample]] if base is dict else [sample]
    types = " → ".join(", ".join(dict.fromkeys(class_name(type(item)) for item in side)) for side in sides)
    return "" if not sample else f": {types}{', …' if base.__len__(value) > _SAMPLED_ELEMENTS else ''}"


def _frame(frame: Any) -> str:
    height, width = frame.shape
    part = frame[:, :_MAX_COLUMNS] if is_of(frame, "polars") else frame.iloc[:0, :_MAX_COLUMNS]
    columns = [f"{_label(name)} {str(dtype)[:60]}" for name, dtype in zip(part.columns, part.dtypes, strict=True)]
    rest = [f"… {width - len(columns)} more"] if width > len(columns) else []
    shape = f"{counted(height, 'row')} × {counted(width, 'column')}"
    return f"{class_name(type(frame))}, {shape}{_index(frame)}: {', '.join([*columns, *rest])}"


def _index(value: Any) -> str:
    return "" if is_of(value, "polars") else f", index {type(value.index).__name__}"


def _label(name: Any) -> str:
    if type(name) is tuple:
        return f"({', '.join(map(_label, name))})"
    return repr(name)[:80] if type(name) in (str, int, float, bool) else class_name(type(name))
