"""What to do about a key that is missing or refused, an account without credit, or a model that a service lacks.

Each is one line that names the service and the environment variable of its key.
"""

from __future__ import annotations

import os
import re
from typing import ClassVar, Protocol

from .. import settings
from ..errors import AuthError, BackendError, ConnectionFailed
from ..redaction import is_secret_name
from ..services import Service
from ..transport.errors import START_SERVER
from ..transport.refusal import STATUS_HINTS, with_hint, without_hint


class Asking(Protocol):
    """What is read of a provider class: the server that it asks."""

    url: ClassVar[str | None]
    service: ClassVar[Service | None]
    headers: ClassVar[dict[str, str]]

    @classmethod
    def key_and_origin(cls, given: settings.Secret) -> tuple[settings.Secret, str]:
        """Return the key of a request, and where it is from."""
        ...


_ANSWERED = re.compile(r"\S+ answered \d+(?: for \S+)? \((?P<said>.*)\)", re.DOTALL)
_FORBIDDEN = 403  # often the account, and not the key


def asked_service(api: type[Asking]) -> Service | None:
    """Return the service that a provider class asks at the service's own url, or ``None``."""
    service = api.service
    try:
        return service if service is not None and all(map(service.has_url, settings.urls(api.url))) else None
    except ValueError:
        return None


def missing_key(api: type[Asking], key: settings.Secret) -> AuthError | None:
    """Return the error for a request to a service on the internet that has no key, which is not sent."""
    service = asked_service(api)
    if service is None or service.is_local or key.value or any(map(is_secret_name, api.headers)):
        return None
    return AuthError(needs_key(service), status=401)


def missing_model(api: type[Asking], model: str) -> ValueError | None:
    """Return the error for a request that names no model to a service on the internet, which has no default."""
    service = asked_service(api)
    if model.strip() or service is None or service.is_local or service.url_variable:
        return None
    return ValueError(needs_model(service))


def needs_key(service: Service) -> str:
    """Return the line that says how to set the key of a service."""
    return f"{service.title} needs a key: set {service.key_variable} or run %backend key {service.name}"


def needs_model(service: Service) -> str:
    """Return the line that says how to name a model of a service."""
    name = service.name
    return f"name a model of {service.title}: {name}:MODEL; %backend models {name} lists them"


def explain_refusal(api: type[Asking], failure: BackendError, given: settings.Secret) -> BackendError:
    """Return the failure of a request to a server; its next step is the one for the service that was asked.

    ``given`` is the key that the caller has passed, if any.
    """
    service = asked_service(api)
    if service is not None and failure.status == 404 and str(failure).endswith(f": {STATUS_HINTS[404]}"):
        return with_hint(failure, f"%backend models {service.name} lists the models of {service.title}")
    return explain_key(api, failure, given)


def explain_key(api: type[Asking], failure: BackendError, given: settings.Secret) -> BackendError:
    """Return the failure; if it is due to the key or to the account, it names the service and the key's variable.

    If nobody answers, it says what to do about this service.
    """
    service = asked_service(api)
    if failure.no_credit:
        return failure if service is None else with_hint(failure, _credit(service, _origin(api, given)))
    if service is not None and isinstance(failure, ConnectionFailed):
        start = f"start {service.title} there" if service.is_local else "check your connection to the internet"
        failure.args = (str(failure).replace(START_SERVER, start),)
    if not isinstance(failure, AuthError):
        return failure
    origin = _origin(api, given)
    if service is None:
        return _of_a_url(failure, origin)
    said = without_hint(failure)
    if found := _ANSWERED.fullmatch(said):
        said = found["said"]
    if not origin:
        failure.args = (f"{needs_key(service)} ({said})",)
        return failure
    is_forbidden = failure.status == _FORBIDDEN
    named = {"api_key": "api_key", settings.TYPED: "the key that was typed"}.get(origin, f"the key in {origin}")
    refused = f"{service.title} refused {'the request with ' if is_forbidden else ''}{named} ({said.rstrip('.')})"
    next_step = _again(service, origin)
    failure.args = (f"{refused}: {f'check what its account may do, or {next_step}' if is_forbidden else next_step}",)
    return failure


def _origin(api: type[Asking], given: settings.Secret) -> str:
    try:
        return api.key_and_origin(given)[1]
    except ValueError:
        return ""


def _again(service: Service, origin: str) -> str:
    run = f"run %backend key {service.name}"
    if origin == "api_key":
        return "pass a key that it accepts"
    if origin == settings.KEPT:
        return f"{run} --keep to replace it"
    return f"{run} again" if origin == settings.TYPED else f"set it again, or {run}"


def _credit(service: Service, origin: str) -> str:
    of = f", whose key is in {origin}" if origin.isupper() else ""
    return f"check the plan and the balance of your account at {service.title}{of}"


def _of_a_url(failure: AuthError, origin: str) -> AuthError:
    """Return the failure of a server that is not a service; it says if the key of another server was not sent."""
    if origin:
        return failure
    own = os.environ.get("NB_BACKEND_URL")
    if own and os.environ.get("NB_BACKEND_API_KEY"):
        with_hint(failure, "NB_BACKEND_API_KEY is for NB_BACKEND_URL and was not sent here; run %backend key")
    return failure
