"""What a server of OpenAI's dialect does not accept, remembered while this process runs: only one request fails.

- ``stream_options``, which asks for the count of tokens and which strict servers refuse, mostly with 422
- a missing ``model``, if the server has one model only
- a streamed answer; the user has to turn streaming off
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

from ..errors import BackendError
from ..transport.refusal import OTHER_PROMPT, STATUS_HINTS

USAGE: Final = {"include_usage": True}
"""The value of ``stream_options`` if the user has not set another."""

_NAMES_USAGE = re.compile(r"stream[ _-]?options?|include[ _-]?usage", re.IGNORECASE)
_REFUSES_A_FIELD = re.compile(
    r"(?:unknown|unrecogni[sz]ed|unsupported|unexpected|extra|additional|extraneous|undefined|invalid)\W+"
    r"(?:\w+\W+){0,2}?(?:field|param|arg|propert|key|input|option|attribute|member)"
    r"|(?:field|parameter|argument|propert(?:y|ies)|inputs?|keys?|options?)\b.{0,60}\b(?:not|never) "
    r"(?:be )?(?:permitted|allowed|supported|accepted|expected|recogni[sz]ed|known|valid)",
    re.IGNORECASE,
)
_REFUSES_STREAM = re.compile(
    r"\b(?:not|cannot|can't|doesn't|isn't|must|unsupported|disabled?|disallow\w*|forbid\w*|only|without|verif\w*)\b.*"
    r"\bstream(?:ed|ing)?\b|\bstream(?:ed|ing)?\b.*"
    r"\b(?:not|cannot|can't|doesn't|isn't|must|unsupported|disabled?|disallow\w*|forbid\w*|only|verif\w*|false)\b",
    re.IGNORECASE,
)
_REFUSAL: Final = frozenset({400, 404, 405, 415, 422, 500, 501})
_MAX_NAMES = 5  # of models in an error

_without_usage: dict[str, bool] = {}  # by url: whether the server has named the field
_only_model: dict[str, str] = {}  # by url


def fitted(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the body as this server accepts it, as far as that is known; the argument is not changed."""
    if body.get("stream_options") == USAGE and url in _without_usage:
        body = {name: value for name, value in body.items() if name != "stream_options"}
    if "model" not in body and url in _only_model:
        body = {"model": _only_model[url], **body}
    return body


async def learn(
    url: str, body: dict[str, Any], failure: BackendError, list_names: Callable[[], Awaitable[list[str]]]
) -> bool:
    """Whether the failure says what this server does not accept, so that another request is worth it.

    A server that refuses some field without a name is asked without ``stream_options`` once.
    """
    if failure.status not in _REFUSAL and failure.status != 0:
        return False
    text, has_usage = f"{failure} {failure.code}", body.get("stream_options") == USAGE
    if has_usage and url not in _without_usage:
        is_named = _NAMES_USAGE.search(text) is not None
        others = (name for name in body if name not in ("stream_options", "stream", "model", "messages"))
        if is_named or (
            failure.status in (400, 422)
            and _REFUSES_A_FIELD.search(text)
            and not any(re.search(rf"\b{re.escape(name)}\b", text) for name in others)
        ):
            _without_usage[url] = is_named
            return True
    elif has_usage and not _without_usage[url]:
        del _without_usage[url]  # it was not the reason
    if "model" not in body and failure.status:
        names = [*dict.fromkeys(await list_names())]
        known = _only_model.pop(url, None)
        if len(names) == 1 and names[0] != known:
            _only_model[url] = names[0]
            return True
    return False


def explained(body: dict[str, Any], failure: BackendError, names: list[str]) -> BackendError:
    """Return the failure with the next step: name a model (``names`` are some of the server's), or do not stream."""
    if "model" not in body and failure.status in _REFUSAL:
        listed = [name for name in dict.fromkeys(names) if name.isprintable()]
        some = ", ".join([*listed[:_MAX_NAMES], *(["…"] if len(listed) > _MAX_NAMES else [])])
        hint = f"name a model{f', one of {some}' if some else ''}"
    elif (
        body.get("stream") is True
        and failure.status in (0, 400, 403, 405, 422, 501)
        and _REFUSES_STREAM.search(_NAMES_USAGE.sub("", str(failure)))
    ):
        hint = "turn streaming off with stream=False, in a cell with -p stream=false"
    else:
        return failure
    why = str(failure)
    for known in (OTHER_PROMPT, *STATUS_HINTS.values()):
        why = why.removesuffix(f": {known}")
    failure.args = (f"{why}: {hint}",)
    return failure
