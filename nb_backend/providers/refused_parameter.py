"""The next step for a parameter that a model does not take, as the server's refusal names it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..errors import AuthError, BackendError
from ..transport.refusal import NO_TOOLS, WITH_RESPONSES, with_hint

_OPTIONS: Final = {"temperature": "-t", "max_tokens": "--max-tokens", "effort": "--effort"}  # of a cell
_KEYWORDS: Final = {  # by field, in letters only
    **dict.fromkeys(("maxtokens", "maxcompletiontokens", "maxoutputtokens"), "max_tokens"),
    **dict.fromkeys(("reasoningeffort", "reasoning", "thinking", "thinkingconfig", "outputconfig"), "effort"),
    **dict.fromkeys(("enablethinking", "thinkingbudget", "chattemplatekwargs"), "effort"),
}
_NOT_OPTIONS: Final = frozenset({"model", "messages", "stream", "input", "contents", "generationConfig"})
_REFUSES: Final = re.compile(
    r"\bunsupported|\b(?:not|n't|cannot|never) (?:\w+ )?(?:support|permit|allow|accept|expect|recogni|compatib|availab)"
    r"|\bunknown|unrecogni[sz]ed|\bunexpected|\bextra\b|deprecated|incompatible|\bonly (?:be set|the default|support)"
    r"|\bcannot (?:both )?be|\bno longer\b",
    re.IGNORECASE,
)
_REFUSES_VALUE: Final = re.compile(r"supported (?:values|options|levels)|\bone of\b|allowed values", re.IGNORECASE)
_REFUSAL: Final = frozenset({0, 400, 404, 422, 500, 501})


def with_refused_parameter(failure: BackendError, body: Mapping[str, Any]) -> BackendError:
    """Return the failure; if it refuses a field of the body, it says in one line what to leave out."""
    text = str(failure)
    if text.endswith((NO_TOOLS, WITH_RESPONSES)):
        return failure
    if failure.status not in _REFUSAL or isinstance(failure, AuthError) or not _REFUSES.search(text):
        return failure
    places = [(place, name) for name in _fields(body) if (place := _place(name, failure.param, text)) is not None]
    if not places:
        return failure
    field = min(places)[1]
    keyword = _KEYWORDS.get(field.replace("_", "").casefold(), field)
    named = f"{keyword} ({_OPTIONS[keyword]})" if keyword in _OPTIONS else keyword
    if keyword == "effort" and _REFUSES_VALUE.search(text):
        return with_hint(failure, f"choose another {named}")
    return with_hint(failure, f"leave out {named}, which this model does not take")


def _fields(body: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the fields that are options of a request; Gemini has most of them one level deeper."""
    for holder in (body, body.get("generationConfig")):
        if isinstance(holder, Mapping):
            yield from (name for name in holder if name not in _NOT_OPTIONS)


def _place(name: str, param: str, text: str) -> int | None:
    """Return where a refusal names a field: -1 if it does so beside its message, ``None`` if it does not name it."""
    if any(name in re.split(r"\W+", one) for one in param.split()):
        return -1
    found = re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text)
    return found and found.start()
