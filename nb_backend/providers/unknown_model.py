"""A model that a server does not have: whether its list has the name, and which names are close to it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, Final

from ..errors import BackendError, ServerError
from ..text import letters_and_digits
from ..transport.error_body import one_line
from ..transport.refusal import STATUS_HINTS, with_hint
from .catalog import names_listed
from .key_errors import asked_service

if TYPE_CHECKING:
    from .. import settings
    from .base import Provider


_UNKNOWN = re.compile(
    r"not[ _]?(?:found|exist|available|deployed|listed|(?:a )?valid)|n't (?:exist|find)|no such|no endpoints|unknown"
    r"|invalid|unrecogni[sz]ed|model_not_supported|unsupported[ _]model|unable to access|could not (?:find|load)"
    r"|cannot find|failed to load",
    re.IGNORECASE,
)
"""How servers say that they do not have a model; which of them is meant is decided by the server's list."""
_STATUS: Final = frozenset({0, 400, 403, 404, 410, 422, 500})
_CLOSE: Final = 0.6  # from here to 1, a name is close
_ABOUT_AS_CLOSE: Final = 0.05
_WORD: Final = 0.75  # of the closeness of one word of a name
_MAX_NAMES: Final = 5  # in an error, if none is close


def is_listed(name: str, listed: Iterable[str]) -> bool:
    """Whether these names, listed by a server, include a model.

    Servers take more names than they list: ``llama3.2`` for ``llama3.2:latest``, ``gemini-2.0-flash`` for
    ``models/gemini-2.0-flash``, ``claude-3-5-sonnet-latest`` for ``claude-3-5-sonnet-20241022``, and
    ``qwen/qwen3-32b:nitro``, a variant of ``qwen/qwen3-32b``.
    """
    name = name.casefold()
    known = {one.casefold() for one in listed}
    ends = {one.rpartition("/")[2] for one in known}
    undated = {re.sub(r"[-@]\d{4}-?\d\d-?\d\d\Z", "", one) for one in known}
    spellings = {name, f"{name}:latest", name.removeprefix("models/"), name.rpartition(":")[0]}
    spellings.discard("")
    return not spellings.isdisjoint(known | ends) or not {name, name.removesuffix("-latest")}.isdisjoint(undated)


def closest_models(name: str, listed: Iterable[str], most: int = 2) -> list[str]:
    """Return the listed names that a wrong name was probably meant for, the best first; ``[]`` if none is close.

    ``gpt4o`` is meant for ``gpt-4o``, ``gpt4`` for ``gpt-4`` or ``gpt-4o``, ``lama3.2`` for ``llama3.2:latest`` and
    ``sonnet`` for ``claude-sonnet-5``.
    """
    wanted = letters_and_digits(name)
    close = {one: _closeness(wanted, one) for one in dict.fromkeys(listed) if one.isprintable()}
    found = sorted(close, key=lambda one: (-close[one], len(one)))
    least = max(_CLOSE, close[found[0]] - (0 if close[found[0]] == 1 else _ABOUT_AS_CLOSE)) if found else 1
    return [one for one in found if close[one] >= least][:most]


def _closeness(wanted: str, listed: str) -> float:
    """Return how close a listed name is, from 0 to 1; ``wanted`` is as ``letters_and_digits`` returns it."""
    without_tag, own = listed.partition(":")[0], listed.rpartition("/")[2]
    spellings = dict.fromkeys(map(letters_and_digits, (listed, own, without_tag, own.partition(":")[0])))
    of_word = max((_similarity(wanted, one) for one in re.findall(r"[a-z]{4,}", listed.casefold())), default=0)
    return max(*(_similarity(wanted, one) for one in spellings), _WORD * of_word)


def _similarity(wanted: str, name: str) -> float:
    if not (wanted and name):
        return 0
    if wanted == name:
        return 1
    if wanted.replace("0", "o") == name.replace("0", "o"):  # gpt-40
        return 0.99
    if len(wanted) > 2 and wanted in name:
        return (0.8 if name.startswith(wanted) else 0.7) + 0.15 * len(wanted) / len(name)
    matcher = SequenceMatcher(None, wanted, name, autojunk=False)
    return matcher.ratio() if matcher.real_quick_ratio() > _CLOSE and matcher.quick_ratio() > _CLOSE else 0


async def with_close_models(
    api: type[Provider], failure: BackendError, body: dict[str, Any], key: settings.Secret
) -> BackendError | None:
    """Return the failure with the listed names that are close to its model, or if there are none with a few names.

    The close ones are also its ``close_models``. ``None`` if it does not say that there is no such model, if the server
    lists the model, or if it lists none.
    """
    model, provider = body.get("model"), body.get("provider")
    if not isinstance(model, str) or not says_unknown(failure, model):
        return None
    listed = await names_listed(api, provider if isinstance(provider, str) else None, api_key=key.value)
    if not listed or is_listed(model, listed):
        return None
    names = [one_line(name, [key.value or ""], 60) for name in dict.fromkeys(listed) if name.isprintable()]
    failure.close_models = close = [as_written(api, name) for name in closest_models(model, names)]
    if close:
        return with_hint(failure, f"did you mean {' or '.join(close)}?")
    some = [*(as_written(api, name) for name in names[:_MAX_NAMES]), *(["…"] if len(names) > _MAX_NAMES else [])]
    return with_hint(failure, f"the server lists {', '.join(some)}")


def as_written(api: type[Provider], name: str) -> str:
    """Return the name of a model as it is written for any server that is set: with its service, if it has one."""
    service = asked_service(api)
    return name if service is None else f"{service.name}:{name}"


def says_unknown(failure: BackendError, model: str) -> bool:
    """Whether a failure may say that there is no such model; the server's list has to confirm it."""
    if not isinstance(failure, ServerError) or failure.no_credit or failure.status not in _STATUS:
        return False
    text = f"{failure.code} {failure}".removesuffix(STATUS_HINTS[404]).casefold()
    if re.search(rf"model|deployment|endpoints|(?<!\w){re.escape(model.casefold())}(?!\w)", text) is None:
        return False
    return failure.status == 404 or _UNKNOWN.search(text) is not None
