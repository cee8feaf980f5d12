"""What a server of OpenAI's dialect does not accept, remembered while this process runs: only one request fails.

- ``stream_options``, which asks for the count of tokens and which strict servers refuse, mostly with 422
- ``max_tokens``, which some models call ``max_completion_tokens``, and the other way round
- a missing ``model``, if the server has one model only
- the usual form of tool rounds, of which some want another
- a streamed answer; the user has to turn streaming off
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

from ..errors import AuthError, BackendError
from ..transport.refusal import with_hint
from .refused_parameter import with_refused_parameter
from .tool_results import STRICT

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
_NO_MODEL = (
    r"(?:missing|requir\w+|provide\w*|specif\w+|not found|not exist|doesn't exist|no such|unknown|invalid"
    r"|unrecogni[sz]ed|none|null|undefined|empty|not set|keyerror|\"\"|''|``|\bno\b)"
)
_WANTS_MODEL = re.compile(rf"{_NO_MODEL}.{{0,60}}?\bmodel\b|\bmodel\b.{{0,60}}?{_NO_MODEL}", re.IGNORECASE | re.DOTALL)
_REFUSAL: Final = frozenset({400, 404, 405, 415, 422, 500, 501})
_MAX_NAMES = 5  # of models in an error

_LIMITS: Final = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_USE_THE_OTHER = re.compile(r"\buse\b|\binstead\b|\bsupport|\bdeprecated\b|\brename", re.IGNORECASE)

_without_usage: dict[str, bool] = {}  # by url: whether the server has named the field
_limit_names: dict[tuple[str, str], str] = {}  # by url and model: the name of the field that limits the tokens
_strict: dict[tuple[str, str], list[int]] = {}  # by url and model: places in ``STRICT``
_only_model: dict[str, str] = {}  # by url


def fitted(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the body as this server accepts it, as far as that is known; the argument is not changed."""
    if body.get("stream_options") == USAGE and url in _without_usage:
        body = {name: value for name, value in body.items() if name != "stream_options"}
    if "model" not in body and url in _only_model:
        body = {"model": _only_model[url], **body}
    for number in _strict.get((url, str(body.get("model"))), ()):
        body = STRICT[number][1](body)
    if limit := _limit_names.get((url, str(body.get("model")))):
        body = {limit if name in _LIMITS else name: value for name, value in body.items()}
    return body


async def learn(
    url: str,
    body: dict[str, Any],
    sent: dict[str, Any],
    failure: BackendError,
    list_names: Callable[[], Awaitable[list[str]]],
) -> bool:
    """Remember what a failure says about the fields that this server refuses; return whether to ask again.

    ``body`` is the body of the request, ``sent`` what ``fitted`` made of it. A server that refuses some field without
    naming it is asked without ``stream_options`` once.
    """
    if failure.status not in (*_REFUSAL, 0) or isinstance(failure, AuthError) or failure.no_credit:
        return False
    if sent.get("stream_options") == USAGE:
        text = f"{failure} {failure.code} {failure.param}"
        is_named = _NAMES_USAGE.search(text) is not None
        if is_named or (failure.status in (400, 422) and _refuses_an_unnamed_field(text, sent)):
            _without_usage[url] = is_named
            return True
    elif body.get("stream_options") == USAGE and not _without_usage.get(url):
        _without_usage.pop(url, None)  # it was not the reason
    if _learn_limit(url, sent, failure) or _learn_form_of_rounds(url, sent, failure):
        return True
    if "model" in body or not failure.status:
        return False
    if "model" not in sent and url in _only_model:  # which another request has found meanwhile
        return True
    names = [*dict.fromkeys(await list_names())]
    _only_model.pop(url, None)
    if len(names) != 1 or names[0] == sent.get("model"):
        return False
    _only_model[url] = names[0]
    return True


def _learn_form_of_rounds(url: str, sent: dict[str, Any], failure: BackendError) -> bool:
    """Remember the form in which this model takes rounds of tool calls."""
    known, text = _strict.setdefault((url, str(sent.get("model"))), []), str(failure)
    for number, (words, form) in enumerate(STRICT):
        if number not in known and words.search(text) and isinstance(sent.get("messages"), list) and form(sent) != sent:
            known.append(number)
            return True
    return False


def _learn_limit(url: str, sent: dict[str, Any], failure: BackendError) -> bool:
    """Remember the other name for the limit of tokens if the failure refuses the one that was sent."""
    names = [name for name in _LIMITS if name in sent]
    if len(names) != 1 or not _refuses_limit(names[0], failure):
        return False
    (name,), place = names, (url, str(sent.get("model")))
    if _limit_names.get(place) == name:  # both are refused
        del _limit_names[place]
        return False
    _limit_names[place] = _LIMITS[name]
    return True


def _refuses_limit(name: str, failure: BackendError) -> bool:
    """Whether a failure refuses the name of the limit; that its value is too large is another matter."""
    text = str(failure)
    if name == "max_tokens" and _LIMITS[name] in text and _USE_THE_OTHER.search(text):
        return True
    is_named = re.search(rf"\b{name}\b", f"{text} {failure.param}") is not None
    return is_named and _REFUSES_A_FIELD.search(f"{text} {failure.code.replace('_', ' ')}") is not None


def _refuses_an_unnamed_field(text: str, sent: dict[str, Any]) -> bool:
    others = sent.keys() - {"stream_options", "stream", "model", "messages"}
    names_another = any(re.search(rf"\b{re.escape(name)}\b", text) for name in others)
    return not names_another and _REFUSES_A_FIELD.search(text) is not None


def wants_model(body: dict[str, Any], failure: BackendError) -> bool:
    """Whether a request without a model failed because the server wants one, as far as its words tell."""
    if "model" in body or failure.status not in _REFUSAL:
        return False
    text = str(failure)
    return "model" in failure.param.split() or "(" not in text or _WANTS_MODEL.search(text) is not None


def explained(body: dict[str, Any], failure: BackendError, names: list[str]) -> BackendError:
    """Return the failure with the next step: name a model (``names`` are some of the server's), do not stream, or
    leave out a parameter.
    """
    text = str(failure)
    if wants_model(body, failure):
        listed = [name for name in dict.fromkeys(names) if name.isprintable()]
        some = ", ".join([*listed[:_MAX_NAMES], *(["…"] if len(listed) > _MAX_NAMES else [])])
        hint = f"name a model{f', one of {some}' if some else ''}"
    elif (
        body.get("stream") is True
        and failure.status in (0, 400, 403, 405, 422, 501)
        and ("stream" in failure.param.split() or _REFUSES_STREAM.search(_NAMES_USAGE.sub("", text)))
    ):
        hint = "turn streaming off with stream=False, in a cell with -p stream=false"
    else:
        return with_refused_parameter(failure, body)
    return with_hint(failure, hint)
