"""Which server cells ask: ``%backend``, ``%backend url`` and ``%backend services``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ... import settings
from ...background import run
from ...errors import AuthError, BackendError
from ...providers.catalog import does_not_list, models_of, openai_url, url_hint
from ...providers.key_errors import asked_service, missing_key
from ...providers.registry import DIALECTS, check_same_dialect, dialect_name, provider_named, resolve
from ...services import SERVICES, Service, find_service
from ...text import counted
from ..report import EMBEDDED, Report
from .line import Word
from .mistakes import refuse_variable

if TYPE_CHECKING:
    from ...providers.base import Provider

_FORM = "write %backend url URL --api NAME"


def change_url(given: Sequence[Word]) -> Report:
    """Ask the server that the words name from now on, in the dialect of ``--api``; without words, show it."""
    refuse_variable(given, "url")
    words, dialect = _without_api(given)
    addresses = " ".join(word.strip(",<>") for word in words)
    if len(words) > 1 and "default" in words:
        raise ValueError("%backend url default takes no other url: write %backend url default")
    if dialect is not None:
        provider_named(dialect)
    forgotten = False
    if addresses == "default":
        if dialect is not None:
            raise ValueError(f"%backend url default takes no dialect: {_FORM}")
        forgotten = settings.change_url(None)
    elif addresses:
        forgotten = settings.change_url(_checked(addresses, dialect), dialect)
    elif dialect is not None:
        if not settings.urls():
            raise ValueError(f"--api is the dialect of a url, and none is set: {_FORM}")
        settings.current.api = dialect
    else:
        dialect = settings.api() if settings.urls() else None
    line = f"the server is {_named_server()}{f', asked in the dialect {dialect}' if dialect else ''}"
    return Report(f"{line}; the key that was typed for the server before is forgotten" if forgotten else line)


def _checked(addresses: str, dialect: str | None) -> str:
    """Return valid urls as a text, or the name of a service."""
    urls = settings.urls(addresses)
    if service := find_service(addresses):
        return service.name
    if dialect is None:
        check_same_dialect(urls)
    return " ".join(urls)


def _without_api(given: Sequence[Word]) -> tuple[list[Word], str | None]:
    """Return the words without ``--api NAME``, and the name."""
    words, dialect = [*given], None
    for at, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == "--api":
            value = value if equals else "".join(words[at + 1 : at + 2])
            if not value or value.startswith("-"):
                raise ValueError(f"--api needs a dialect: use one of {', '.join(DIALECTS)}")
            dialect = value
            del words[at : at + (1 if equals else 2)]
            break
    if wrong := next((word for word in words if word.startswith("-")), None):
        raise ValueError(f"%backend url has no option {wrong.partition('=')[0]}: {_FORM}")
    return words, dialect


def _named_server() -> str:
    urls = settings.urls()
    service = settings.service()
    return f"{service.title}, {urls[0]}" if service else ", or ".join(urls) or EMBEDDED


def state() -> list[str]:
    """Return the lines about the server of a cell that names no model: whether it answers, its dialect and its key."""
    try:
        api, model = resolve(settings.model())
        urls = settings.urls(api.url)
        if api.service is not None:
            settings.ask_keyring(api.service)
        key, origin = api.key_and_origin(settings.Secret())
    except ValueError as error:  # a setting is wrong, or a server needs a model
        return [f"- server: {error}", f"- model: {settings.model() or 'not set'}", "- key: not set"]
    service = asked_service(api)
    title = f"{service.title}, " if service else ""
    has_key = missing_key(api, key) is None
    answers = _server_state(api, origin) if has_key else "not asked, as it needs a key"
    return [
        f"- server: {title}{urls[0] if urls else EMBEDDED} ({answers})",
        *([f"- if that fails: {', '.join(urls[1:])}"] if urls[1:] else []),
        f"- model: {model or _choice(service)}",
        *([f"- dialect: {dialect_name(api)}"] if urls else []),
        f"- key: {_key_state(service, origin)}",
    ]


def _choice(service: Service | None) -> str:
    if service is None or service.is_local:
        return "the choice of the server"
    return f"not set: name one, like `%%backend {service.name}:MODEL`"


def _server_state(api: type[Provider], key_origin: str) -> str:
    """Return whether a server answers, with its first models or with what to do."""
    try:
        models = run(models_of(api))
    except BackendError as error:
        if does_not_list(error):
            return f"reachable{no_models(api)}"
        if isinstance(error, AuthError):
            return f"reachable, but it {'refused the' if key_origin else 'wants a'} key: {error}"
        return f"reachable, but it did not list its models: {error}" if error.status else f"not reachable: {error}"
    named = ", ".join(" ".join(model.split()) for model in models[:3]) + (", …" if len(models) > 3 else "")
    return f"reachable, {counted(len(models), 'model')}: {named}" if models else f"reachable{no_models(api)}"


def no_models(api: type[Provider]) -> str:
    """Return the message about a server that answers, but does not list its models."""
    url = settings.url(api.url)
    other = run(openai_url(url)) if url and api.service is None else None
    return f", but {url_hint(other)}" if other else "; it does not list its models"


def key_is_set(origin: str) -> str:
    """Return where a key is from, as ``settings.find_key`` names it."""
    if origin == settings.TYPED:
        return "set, typed with `%backend key`"
    return f"set, {'in ' if origin == settings.KEPT else ''}{origin}"


def _key_state(service: Service | None, origin: str) -> str:
    if origin:
        return key_is_set(origin)
    if service is not None and not service.is_local:
        return f"not set: set {service.key_variable} or run `%backend key {service.name}`"
    if settings.urls() and os.environ.get("NB_BACKEND_API_KEY"):
        return "not set: NB_BACKEND_API_KEY is for NB_BACKEND_URL only"
    return "not set"


def list_all() -> Report:
    """Return the table of services; those on this machine are asked whether they answer."""
    from ...providers.probe import answering

    local = [service for service in SERVICES.values() if service.is_local]
    answer = run(answering(local))
    rows = [
        f"| `{service.name}:` | {_key_of(service)} | {_answers(service, answer)} | {service.title} |"
        for service in SERVICES.values()
    ]
    return Report(
        "| write | key | on this machine | service |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
        "`%%backend SERVICE:MODEL` asks a model of a service, `%backend url SERVICE` chooses the service for all cells,"
        " and `%backend models SERVICE` lists its models",
    )


def _key_of(service: Service) -> str:
    """Return whether a service has a key; the system keyring is not opened for this."""
    typed, kept = settings.current.keys.get(service.name), settings.current.kept_keys.get(service.name)
    if typed is not None and typed.value:
        return "set, typed"
    if os.environ.get(service.key_variable):
        return f"set, {service.key_variable}"
    if kept is not None and kept.value:
        return f"set, in {settings.KEPT}"
    return f"not set, {service.key_variable}"


def _answers(service: Service, answering: set[str]) -> str:
    if not service.is_local:
        return ""
    return "answers" if service.name in answering else "does not answer"


def names_of_services() -> Iterator[str]:
    """Yield the names and aliases that a service may be written as."""
    for service in SERVICES.values():
        yield from (service.name, *service.aliases)
