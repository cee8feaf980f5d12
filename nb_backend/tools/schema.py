"""The JSON schema of a function's arguments, from its annotations and its docstring, by pydantic.

The schema is sent to every service, and it is part of the cache key. So it is the same each time, it refers to nothing
outside of itself, and it has only what says something to a model: no titles, no default that is a key.
"""

from __future__ import annotations

import functools
import inspect
import json
import typing
import warnings
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Annotated, Any, Optional, TypeAlias

from .. import settings
from ..redaction import has_key, is_secret_name
from ..text import shorten
from .docstring import read_docstring
from .portable_schema import portable
from .typed_dicts import readable

Check: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]

_MAX_DEFAULT = 500  # characters of JSON; a longer default is not described
_MAX_MISTAKES = 5  # that are reported of a call
_MAX_REASON = 200  # characters


def parameters_of(function: Callable[..., Any], name: str | None = None) -> tuple[dict[str, Any], Check, str]:
    """Return the JSON schema of the arguments, a function that checks them, and the description.

    ``name`` is what messages call the function. The check returns the arguments as their annotations say, dataclasses
    and models as instances; ``ValueError`` in one line if they do not fit. Raises ``TypeError`` in one line if a model
    cannot pass an argument of the function, and ``ValueError`` if pydantic is missing.
    """
    try:
        import pydantic
    except ImportError:
        raise ValueError("a function as a tool needs pydantic: pip install 'nb_backend[tools]'") from None

    name = name or name_of(function)
    description, about = read_docstring(_docstring(function))
    fields, takes_more = _fields(function, name, about)
    config = pydantic.ConfigDict(extra="forbid" if takes_more is None else "allow")
    if takes_more is not None:
        fields["__pydantic_extra__"] = (dict[str, takes_more], pydantic.Field(init=False))  # type: ignore[valid-type]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about names and defaults, which a user cannot change for pydantic
        try:
            model = pydantic.create_model("arguments", __config__=config, **fields)
            schema = portable(model.model_json_schema())
        except Exception as error:
            raise _wrong_argument(name, fields, error) from None
    return schema, ArgumentCheck(model, function, name), description


class ArgumentCheck:
    """Check the arguments of a function by pydantic's model of them; a pickle makes the model again."""

    def __init__(self, model: Any, function: Callable[..., Any], name: str) -> None:
        self._model, self._of = model, (function, name)

    def __call__(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments as the function takes them; ``ValueError`` in one line if they do not fit."""
        return _checked(self._model, arguments)

    def __reduce__(self) -> Any:
        return check_of, self._of


def check_of(function: Callable[..., Any], name: str) -> Check:
    """Return the function that checks the arguments of a function."""
    return parameters_of(function, name)[1]


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a function, of that inside a ``partial``, or of the class of another callable."""
    inner = _inside(function)
    return str(getattr(inner, "__name__", type(inner).__name__))


def _inside(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _docstring(function: Any) -> str:
    inner = _inside(function)
    found = inspect.getdoc(inner)
    if not inspect.isroutine(inner) and not isinstance(inner, type):  # what is written for its class describes it, too
        found = inspect.getdoc(type(inner)) or inspect.getdoc(type(inner).__call__)
    return found or ""


def _fields(function: Any, name: str, about: Mapping[str, str]) -> tuple[dict[str, Any], Any]:
    """Return the fields of pydantic's model of the arguments, and the type of further ones; ``None`` if it takes none.

    The fields are called p0, p1, …, as pydantic refuses some names; the names of the arguments are their aliases.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except Exception as error:  # a builtin without a signature, or an annotation that Python 3.14 cannot evaluate
        raise TypeError(f"the tool {name} has no signature that can be read: {shorten(str(error), 100)}") from None
    bound = _bound(function)
    fields: dict[str, Any] = {}
    takes_more = None
    for one in parameters:
        if one.name in bound:
            continue
        if one.kind in (one.POSITIONAL_ONLY, one.VAR_POSITIONAL):
            star = "*" * (one.kind is one.VAR_POSITIONAL)
            raise TypeError(
                f"the tool {name} takes {star}{one.name} by position, and a model names arguments: "
                "wrap it in a function with named arguments"
            )
        annotation = _annotation(function, name, one)
        if one.kind is one.VAR_KEYWORD:
            takes_more = annotation
        else:
            fields[f"p{len(fields)}"] = _field(one, annotation, about.get(one.name))
    return fields, takes_more


def _bound(function: Any) -> set[str]:
    """Return the names that ``functools.partial`` has set."""
    bound: set[str] = set()
    while isinstance(function, functools.partial):
        bound |= function.keywords.keys()
        function = function.func
    return bound


def _annotation(function: Any, name: str, parameter: inspect.Parameter) -> Any:
    """Return what a parameter is annotated with, a text evaluated where the function is defined."""
    if parameter.annotation is parameter.empty:
        return Any
    holder = SimpleNamespace(__annotations__={"it": parameter.annotation})
    try:
        return readable(typing.get_type_hints(holder, globalns=_globals(function), include_extras=True)["it"])
    except Exception as error:
        raise TypeError(
            f"the annotation of {parameter.name!r} of the tool {name} cannot be read: {shorten(str(error), 100)}"
        ) from None


def _globals(function: Any) -> dict[str, Any]:
    inner = inspect.unwrap(_inside(function))
    if isinstance(inner, type):
        inner = inner.__init__  # type: ignore[misc]
    elif not inspect.isroutine(inner):
        inner = type(inner).__call__
    return dict(getattr(inspect.unwrap(getattr(inner, "__func__", inner)), "__globals__", {}))


def _field(parameter: inspect.Parameter, annotation: Any, words: str | None) -> tuple[Any, Any]:
    from pydantic import Field
    from pydantic.fields import FieldInfo

    default = parameter.default
    if isinstance(default, FieldInfo):  # of a function that pydantic's validate_call wraps
        annotation = Annotated[annotation, default]
        default = parameter.empty if default.is_required() else default.get_default(call_default_factory=True)
    for note in getattr(annotation, "__metadata__", ()):
        said = note if isinstance(note, str) else getattr(note, "description", getattr(note, "documentation", None))
        words = said if isinstance(said, str) and said else words
    options: dict[str, Any] = {"alias": parameter.name, **({"description": words} if words else {})}
    if default is parameter.empty:
        return annotation, Field(..., **options)
    if default is None:
        annotation = Optional[annotation]  # noqa: UP045  (a text inside would fail with "|")
    if _is_described(parameter.name, default):
        return annotation, Field(default, **options)
    return annotation, Field(default_factory=lambda: default, **options)


def _is_described(name: str, default: Any) -> bool:
    """Whether a default can stand in the schema: as short JSON without a key that is the same each time."""
    from pydantic_core import to_jsonable_python

    def plain(value: Any) -> Any:
        if isinstance(value, set | frozenset):
            raise TypeError("its order differs from process to process")
        return to_jsonable_python(value)

    try:
        text = json.dumps(default, default=plain, allow_nan=False)
    except Exception:
        return False
    is_secret = isinstance(default, str) and (is_secret_name(name) or has_key(text, settings.known_keys()))
    return len(text) <= _MAX_DEFAULT and not is_secret


def _wrong_argument(name: str, fields: Mapping[str, Any], error: Exception) -> TypeError:
    """Return the error about the first argument that has no schema."""
    from pydantic import TypeAdapter

    for annotation, field in fields.values():
        try:
            TypeAdapter(annotation).json_schema()
        except Exception:
            shown, called = shorten(inspect.formatannotation(annotation), 60), field.alias
            if called is None:
                return TypeError(f"the tool {name} takes keyword arguments of type {shown}, which JSON does not have")
            return TypeError(
                f"the argument {called!r} of the tool {name} has the type {shown}, which a model cannot write as JSON: "
                f"take a name or a path, or bind it with functools.partial({name}, {called}=…)"
            )
    return TypeError(f"the arguments of the tool {name} have no JSON schema: {shorten(str(error), 100)}")


def _checked(model: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    from pydantic import ValidationError

    try:
        found = model.model_validate_json(json.dumps(arguments))
    except ValidationError as error:
        names = [field.alias for field in model.model_fields.values()]
        mistakes = error.errors(include_url=False, include_context=False, include_input=False)
        raise ValueError("; ".join(_mistakes(mistakes, names))) from None
    except RecursionError:
        raise ValueError("they are nested too deeply") from None
    fields = model.model_fields.items()
    given = {field.alias: getattr(found, name) for name, field in fields if name in found.model_fields_set}
    return {**given, **(found.__pydantic_extra__ or {})}


def _mistakes(mistakes: list[Any], names: list[str]) -> list[str]:
    shown = []
    for one in mistakes[:_MAX_MISTAKES]:
        where = shorten(".".join(map(str, one["loc"])), 80)
        if one["type"] == "missing":
            shown.append(f"{where} is missing")
        elif one["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            known = f", only {', '.join(names)}" if names and len(one["loc"]) == 1 else ""
            shown.append(f"there is no argument {where}{known}")
        else:
            reason = str(one["msg"]).removeprefix("Value error, ").replace("Input should", "it should")
            shown.append(f"{where or 'all of it'}: {shorten(reason, _MAX_REASON)}")
    return shown + ([f"and {len(mistakes) - len(shown)} more"] if len(mistakes) > len(shown) else [])
