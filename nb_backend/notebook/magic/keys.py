"""``%backend key``: type the key of a server or a service, keep it in the system keyring, or forget it."""

from __future__ import annotations

import getpass
import re
from collections.abc import Sequence
from typing import Final

from ... import settings
from ...services import Service, closest_services, find_service
from ...text import error_summary
from ..report import Report
from .line import KEY_ON_THE_LINE, Word

_OPTIONS: Final = ("--keep", "--forget")
_INSTALL: Final = "--keep and --forget need the package keyring: pip install keyring"


def key_command(given: Sequence[Word]) -> Report:
    """Run ``%backend key`` with these words. No message repeats any of them, as it may be a key."""
    service, option = _parse(given)
    service = service or settings.service_of_settings()
    if option and service is None:
        raise ValueError(f"{option} wants a service, as %backend services lists them: %backend key SERVICE {option}")
    if option == "--forget" and service is not None:
        return Report(_forget(service))
    if option and not settings.has_keyring():
        raise ValueError(_INSTALL)
    entered = _typed(service)
    settings.set_key(entered, service)
    what = "the key" if service is None else f"the key of {service.title}"
    if service is None or not entered.value:
        found = settings.api_key() if service is None else settings.service_key(service).value
        return Report(f"{what} is {'set' if found else 'not set'}")
    return Report(f"{what} is set{_kept(service, entered) if option else ''}")


def _parse(given: Sequence[Word]) -> tuple[Service | None, str]:
    """Return the service and the option that words name; ``ValueError`` for a word that may be a key."""
    options = [word for word in given if word in _OPTIONS]
    named = [word for word in given if word not in _OPTIONS]
    if len(named) > 1:
        raise ValueError(KEY_ON_THE_LINE)
    if named and find_service(named[0]) is None:
        word = named[0]
        if re.fullmatch(r"[A-Za-z. -]{2,20}", word) and (close := closest_services(word)):
            raise ValueError(
                f"there is no such service: did you mean {' or '.join(close)}? %backend services lists all of them"
            )
        if re.fullmatch(r"--?[a-z]{1,8}", word):
            raise ValueError("%backend key takes the name of a service, --keep and --forget")
        raise ValueError(KEY_ON_THE_LINE)
    if len(options) > 1:
        raise ValueError("%backend key takes --keep or --forget, not both")
    return find_service(named[0]) if named else None, "".join(options)


def _typed(service: Service | None) -> settings.Secret:
    """Ask for a key without showing it."""
    variable = service.key_variable if service and service.keys else "NB_BACKEND_API_KEY"
    try:
        # a kernel replaces getpass.getpass
        entered = settings.Secret(getpass.getpass(f"key of {service.title}: " if service else "key: "))
    except (RuntimeError, EOFError):
        raise ValueError(f"no key can be typed here: set {variable} before the kernel starts") from None
    return settings.secret(entered)


def _kept(service: Service, key: settings.Secret) -> str:
    """Store a key in the system keyring, and return what to add to the report."""
    try:
        import keyring

        keyring.set_password(settings.KEYRING_SERVICE, service.name, key.value or "")
        if keyring.get_password(settings.KEYRING_SERVICE, service.name) != key.value:
            return f" in this process only: {settings.KEPT} stores nothing on this machine"
    except Exception as error:
        return f" in this process only: {settings.KEPT} did not store it ({_reason(error, key)})"
    settings.current.kept_keys[service.name] = key
    return f", and kept in {settings.KEPT}"


def _forget(service: Service) -> str:
    """Remove a key from this process and from the system keyring, and return the report."""
    settings.current.keys.pop(service.name, None)
    settings.current.kept_keys[service.name] = settings.Secret()
    removed = f"the key of {service.title} is forgotten in this process"
    if settings.has_keyring():
        removed += _removed(service)
    if settings.service_key(service).value:
        removed += f"; {service.key_variable} is set all the same"
    return removed


def _removed(service: Service) -> str:
    """Remove a key from the system keyring, and return what to add to the report; ``""`` if it has none."""
    try:
        import keyring

        if keyring.get_password(settings.KEYRING_SERVICE, service.name) is None:
            return ""
    except Exception:  # there is no keyring on this machine
        return ""
    try:
        keyring.delete_password(settings.KEYRING_SERVICE, service.name)
    except Exception as error:
        return f"; {settings.KEPT} did not remove it ({_reason(error, settings.Secret())})"
    return f" and removed from {settings.KEPT}"


def _reason(error: Exception, key: settings.Secret) -> str:
    """Return what an error says, without the key."""
    from ...redaction import redact

    return redact(error_summary(error), [*filter(None, [key.value]), *settings.known_keys()])
