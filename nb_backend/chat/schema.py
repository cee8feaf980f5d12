"""Structured answers: send the JSON schema with the prompt, then parse and validate the reply."""

from __future__ import annotations

import json
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..text import shorten
from .json_answer import readings
from .strict_schema import StrictSchema

if TYPE_CHECKING:
    from ..errors import BackendError
    from .answer import Answer

_MAX_COMPLAINT = 300  # characters
_ABOUT_FORMAT = re.compile(r"response_format|json.?schema|grammar", re.IGNORECASE)


class SchemaError(ValueError):
    """An answer that does not fit the schema, although the model was asked twice.

    ``answer`` is the last answer, ``complaint`` what is wrong with it, in one line.
    """

    def __init__(self, complaint: str, answer: Answer) -> None:
        super().__init__(f"the answer does not fit the schema: {complaint}")
        self.complaint = complaint
        self.answer = answer

    @property
    def partial(self) -> str:
        """The text of the answer, as for a ``BackendError``."""
        return self.answer.text

    def retry_prompt(self) -> str:
        """Return the prompt that asks the model once more."""
        return f"That does not fit the schema: {self.complaint}. Answer again, with JSON that fits and nothing else."


class Schema:
    """The schema that answers must fit: a pydantic class, or a JSON schema as a dict.

    ``ValueError`` if it is neither, if the JSON schema is not valid or refers to something outside itself, or if
    jsonschema is not installed, which a dict needs.
    """

    def __init__(self, given: Any) -> None:
        self._model = given if hasattr(given, "model_validate_json") and hasattr(given, "model_json_schema") else None
        if self._model is None and not isinstance(given, dict):
            raise ValueError(f"schema is {given!r}: it has to be a pydantic class or a JSON schema (a dict)")
        self.schema: dict[str, Any] = given if self._model is None else self._model.model_json_schema()
        self._validator: Any = None if self._model is not None else _make_validator(self.schema)
        self._strict = StrictSchema.of(self.schema)
        name = str(getattr(self._model, "__name__", None) or self.schema.get("title") or "answer")
        self._name = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:64]

    @cached_property
    def response_format(self) -> dict[str, Any]:
        """OpenAI's parameter ``response_format``: a server that supports it produces only JSON of this schema.

        The schema is the strict form of the given one. If there is none, it is sent as it is, and ``strict`` is false.
        """
        schema = self.schema if self._strict is None else self._strict.schema
        strict = {"name": self._name, "schema": schema, "strict": self._strict is not None}
        return {"type": "json_schema", "json_schema": strict}

    @cached_property
    def original_format(self) -> dict[str, Any]:
        """``response_format`` with the schema as it was given, which identifies a request in the cache."""
        return {"type": "json_schema", "json_schema": {"name": self._name, "schema": self.schema}}

    @property
    def columns(self) -> list[str]:
        """The names of an object's fields; empty if the answers are not objects."""
        return list(getattr(self._model, "model_fields", None) or self.schema.get("properties") or ())

    def instructions(self, system: str | None) -> str:
        """Return the system prompt with the schema after it, for servers that ignore ``response_format``."""
        return f"{system}\n\n{self._instructions}" if system else self._instructions

    @cached_property
    def _instructions(self) -> str:
        wanted = json.dumps(self.schema, ensure_ascii=False)
        return f"Answer with JSON that fits this schema, and with nothing else:\n{wanted}"

    def read(self, answer: Answer) -> Any:
        """Return the answer as an instance of the class, or as plain JSON for a JSON schema.

        The JSON may be the whole answer, a code block, or stand between other text. The answer's ``remarks`` say it if
        json-repair has repaired the JSON. ``SchemaError`` if none fits.
        """
        unreadable = misfit = ""
        for one in readings(answer, inside_text=True):
            if one.error:
                unreadable = unreadable or f"it is not JSON ({one.error})"
                continue
            try:
                value = self._validate(one.text, one.value)
            except RecursionError:
                misfit = misfit or "it is nested too deeply"
            except Exception as error:  # a validator of the class may raise anything; the answer must not be lost
                misfit = misfit or _error_line(error)
            else:
                one.accept(answer)
                return value
        raise SchemaError(shorten(misfit or unreadable, _MAX_COMPLAINT), answer)

    @staticmethod
    def is_refused(error: BackendError) -> bool:
        """Whether the server may have refused the request because of ``response_format``."""
        return error.status in (400, 422) or bool(_ABOUT_FORMAT.search(str(error)))

    def _validate(self, text: str, plain: Any) -> Any:
        if self._strict is not None and (restored := self._strict.restored(plain)) != plain:
            text, plain = json.dumps(restored), restored
        if self._model is not None:
            return self._model.model_validate_json(text)
        from jsonschema.exceptions import best_match  # type: ignore[import-untyped]

        if error := best_match(self._validator.iter_errors(plain)):
            raise ValueError(f"{error.json_path}: {error.message}")
        return plain


def _error_line(error: Exception) -> str:
    """Return what a validator complains about in one line; pydantic's own text has several lines, with links."""
    if not callable(errors := getattr(error, "errors", None)):
        return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'all of it'}: {one['msg']}" for one in errors())


def _make_validator(schema: dict[str, Any]) -> Any:
    """Build jsonschema's validator for the dialect that the schema names, without access to the network."""
    try:
        from jsonschema import SchemaError as InvalidSchema  # type: ignore[import-untyped]
        from jsonschema.validators import validator_for  # type: ignore[import-untyped]
        from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]
        from referencing.jsonschema import specification_with
    except ImportError:
        raise ValueError(
            "a schema that is a dict needs jsonschema: pip install jsonschema, or pass a pydantic class"
        ) from None
    validator_class = validator_for(schema)
    try:
        validator_class.check_schema(schema)
    except InvalidSchema as error:
        raise ValueError(f"schema is not a valid JSON schema: {error.message}") from None
    except RecursionError:
        raise ValueError("schema is nested too deeply") from None
    root = specification_with(validator_class.META_SCHEMA["$schema"]).create_resource(schema)
    _check_references(REGISTRY.resolver_with_root(root), root)
    return validator_class(schema, registry=REGISTRY)  # without a registry, jsonschema would fetch references


def _check_references(resolver: Any, schema: Any) -> None:
    """Raise ``ValueError`` if a ``$ref`` in the schema, at any depth, leads to something that is not in it."""
    from referencing.exceptions import Unresolvable

    reference = schema.contents.get("$ref") if isinstance(schema.contents, dict) else None
    if isinstance(reference, str):
        try:
            resolver.lookup(reference)
        except Unresolvable:
            raise ValueError(f"the schema refers to {reference}, which is not in it: nothing is fetched") from None
    for inner in schema.subresources():
        _check_references(resolver.in_subresource(inner), inner)
