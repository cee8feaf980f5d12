"""What a model of OpenAI's responses refuses of what we ask for unasked, remembered while this process runs.

- ``include``, which asks for encrypted reasoning: models that do not reason refuse it
- ``summary`` of ``reasoning``: these models refuse it too, and OpenAI wants an organization to be verified for it

Never ``store``: without it, OpenAI keeps what was sent.
"""

from __future__ import annotations

import re
from typing import Any, Final

from ..errors import AuthError, BackendError
from .responses_body import ENCRYPTED, SUMMARY

_REFUSAL: Final = frozenset({0, 400, 403, 404, 422, 500, 501})
_NAMES_INCLUDE = re.compile(r"encrypted[ _]content|\binclude\b", re.IGNORECASE)
_NAMES_SUMMARY = re.compile(r"\bsummar(?:y|ies)\b|\breasoning\b(?!\W*effort)", re.IGNORECASE)

_refused: dict[tuple[str, str], set[str]] = {}  # by url and model: "include", "summary"


def fitted(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the body without what this model is known to refuse; the argument is not changed."""
    refused = _refused.get((url, str(body.get("model"))), set())
    body = dict(body)
    if "include" in refused and body.get("include") == ENCRYPTED:
        del body["include"]
    if "summary" in refused and _has_summary(body):
        rest = {name: value for name, value in body.pop("reasoning").items() if name != "summary"}
        body |= {"reasoning": rest} if rest else {}
    return body


def learn(url: str, sent: dict[str, Any], failure: BackendError) -> bool:
    """Remember what a failure says about these fields; return whether ``fitted`` now differs.

    A model that does not encrypt its reasoning does not reason: it is not asked for a summary either.
    """
    if failure.status not in _REFUSAL or isinstance(failure, AuthError) or failure.no_credit:
        return False
    text = f"{failure} {failure.code} {failure.param}"
    has_include = sent.get("include") == ENCRYPTED
    if has_include and _NAMES_INCLUDE.search(text):
        refused = {"include", "summary"}
    elif _has_summary(sent) and _NAMES_SUMMARY.search(text):
        refused = {"summary"}
    else:
        return False
    _refused.setdefault((url, str(sent.get("model"))), set()).update(refused)
    return True


def _has_summary(body: dict[str, Any]) -> bool:
    reasoning = body.get("reasoning")
    return isinstance(reasoning, dict) and reasoning.get("summary") == SUMMARY
