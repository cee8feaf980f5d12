"""Answers that are data: what is said to the model, and what is made of what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..chat.answer import Answer
    from ..errors import BackendError


_MOST_WORDS = 300  # characters of a complaint
_REFUSED = re.compile(r"response_format|json.?schema|grammar", re.IGNORECASE)


class SchemaError(ValueError):
    """An answer that does not fit the schema, asked for twice; ``answer`` is the last one, ``complaint`` why."""

    def __init__(self, complaint: str, answer: Answer) -> None:
        super().__init__(f"the answer does not fit the schema: {complaint}")
        self.complaint = complaint
        self.answer = answer

    @property
    def partial(self) -> str:
        """What the answer said."""
        return self.answer.text

    def retry_prompt(self) -> str:
        """Give what the model is asked next."""
        return f"That does not fit the schema: {self.complaint}. Answer again, with JSON that fits and nothing else."


class Schema:
    """What answers have to be: a class of pydantic's, or a JSON schema. ``ValueError`` if it is neither."""

    def __init__(self, given: Any) -> None:
        self._model = given if hasattr(given, "model_validate_json") and hasattr(given, "model_json_schema") else None
        if self._model is None and not isinstance(given, dict):
            raise ValueError(f"a schema is a class of pydantic's or a JSON schema (a dict), not {given!r}")
        self.schema: dict[str, Any] = given if self._model is None else self._model.model_json_schema()
        self._validator: Any = None if self._model is not None else _validator(self.schema)
        name = str(getattr(self._model, "__name__", None) or self.schema.get("title") or "answer")
        self._name = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:64]

    @property
    def response_format(self) -> dict[str, Any]:
        """The parameter that has a server write nothing else."""
        return {"type": "json_schema", "json_schema": {"name": self._name, "schema": self.schema}}

    def instructions(self, system: str | None) -> str:
        """Give the system prompt with what the model has to know."""
        wanted = json.dumps(self.schema, ensure_ascii=False)
        words = f"Answer with JSON that fits this schema, and with nothing else:\n{wanted}"
        return f"{system}\n\n{words}" if system else words

    def read(self, answer: Answer) -> Any:
        """Give what the answer is: an instance of the class, or plain JSON; ``SchemaError`` with a complaint if none.

        A fence around it, or prose around one, is no matter.
        """
        unreadable = misfit = ""
        for candidate in _candidates(answer):
            try:
                plain = json.loads(candidate, parse_constant=_refuse)
            except (ValueError, RecursionError) as error:
                unreadable = unreadable or f"it is no JSON ({error})"
                continue
            try:
                return self._value(candidate, plain)
            except RecursionError:
                misfit = misfit or "it is nested too deeply"
            except Exception as error:  # a validator of the class may raise anything, and the text is to be kept
                misfit = misfit or _said_of(error)
        complaint = " ".join((misfit or unreadable).split())
        complaint = complaint if len(complaint) <= _MOST_WORDS else f"{complaint[: _MOST_WORDS - 1]}…"
        raise SchemaError(complaint, answer)

    @staticmethod
    def is_refused(error: BackendError) -> bool:
        """Whether a server may have refused the question for its ``response_format``."""
        return error.status in (400, 422) or bool(_REFUSED.search(str(error)))

    @property
    def columns(self) -> list[str]:
        """The names of what an object has; none if the answers are no objects."""
        return list(getattr(self._model, "model_fields", None) or self.schema.get("properties") or ())

    def _value(self, text: str, plain: Any) -> Any:
        if self._model is not None:
            return self._model.model_validate_json(text)
        from jsonschema.exceptions import best_match  # type: ignore[import-untyped]

        if error := best_match(self._validator.iter_errors(plain)):
            raise ValueError(f"{error.json_path}: {error.message}")
        return plain


def _candidates(answer: Answer) -> Iterator[str]:
    """Give what may be the JSON of an answer."""
    text = answer.text.removeprefix("\ufeff").strip()
    yield text
    yield from answer.code
    yield text[text.find("{") : text.rfind("}") + 1]


def _said_of(error: Exception) -> str:
    """Give a complaint in one line; pydantic's own takes several for each, with links."""
    if not callable(errors := getattr(error, "errors", None)):
        return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'all of it'}: {one['msg']}" for one in errors())


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is none")


def _validator(schema: dict[str, Any]) -> Any:
    try:
        from jsonschema import SchemaError as NoSchemaError  # type: ignore[import-untyped]
        from jsonschema.validators import validator_for  # type: ignore[import-untyped]
        from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]
        from referencing.jsonschema import specification_with
    except ImportError:
        raise ValueError(
            "a schema that is a dict is checked by jsonschema, which is missing: pip install jsonschema, "
            "or give a class of pydantic's"
        ) from None
    kind = validator_for(schema)
    try:
        kind.check_schema(schema)
    except NoSchemaError as error:
        raise ValueError(f"this is no JSON schema: {error.message}") from None
    root = specification_with(kind.META_SCHEMA["$schema"]).create_resource(schema)
    _check_references(REGISTRY.resolver_with_root(root), root)
    return kind(schema, registry=REGISTRY)  # by itself it would fetch what is referred to


def _check_references(resolver: Any, schema: Any) -> None:
    """Raise ``ValueError`` if a schema, or one in it, refers to what is not there."""
    from referencing.exceptions import Unresolvable

    reference = schema.contents.get("$ref") if isinstance(schema.contents, dict) else None
    if isinstance(reference, str):
        try:
            resolver.lookup(reference)
        except Unresolvable:
            raise ValueError(f"the schema refers to {reference}, which is not in it: nothing is fetched") from None
    for inner in schema.subresources():
        _check_references(resolver.in_subresource(inner), inner)
