"""What a model of OpenAI's responses refuses of what we ask for unasked, remembered while this process runs.

- ``include``, which asks for encrypted reasoning: models that do not reason refuse it
- ``summary`` of ``reasoning``: these models refuse it too, and OpenAI wants an organization to be verified for it
- encrypted reasoning of earlier turns: these models refuse it too, and nobody can read that of another organization

Never ``store``: without it, OpenAI keeps what was sent.
"""

from __future__ import annotations

import re
from typing import Any, Final

from ..errors import AuthError, BackendError
from .content_parts import dicts
from .responses_body import ENCRYPTED, SUMMARY

_REFUSAL: Final = frozenset({0, 400, 403, 404, 422, 500, 501})
_NAMES_ITEMS = re.compile(
    r"reasoning (?:input )?items?\b|\bencrypted\b.{0,200}\bcould not be (?:verified|decrypted|parsed|decoded)",
    re.IGNORECASE | re.DOTALL,
)
_NAMES_INCLUDE = re.compile(r"encrypted[ _]content|['\"`]include\b", re.IGNORECASE)  # the bare word is in many texts
_NAMES_SUMMARY = re.compile(r"\breasoning\b(?!\W*effort)", re.IGNORECASE)

_PLAIN: Final = ("message", "function_call", "custom_tool_call", "function_call_output", "custom_tool_call_output")

_refused: dict[tuple[str, str], set[str]] = {}  # by url and model: "include", "summary"
_refused_items: set[tuple[str, str, int]] = set()  # url, model and the hash of encrypted reasoning


def fitted(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the body without what this model is known to refuse; the argument is not changed."""
    model = str(body.get("model"))
    refused = _refused.get((url, model), set())
    body = dict(body)
    if "include" in refused and body.get("include") == ENCRYPTED:
        del body["include"]
    if "summary" in refused and _has_summary(body):
        rest = {name: value for name, value in body.pop("reasoning").items() if name != "summary"}
        body |= {"reasoning": rest} if rest else {}
    if not _refused_items.isdisjoint((url, model, one) for one in _encrypted(body)):
        body["input"] = [*map(_without_id, filter(_is_plain, body["input"]))]
    return body


def learn(url: str, sent: dict[str, Any], failure: BackendError) -> bool:
    """Remember what a failure says about these fields; return whether ``fitted`` now differs.

    A model that does not encrypt its reasoning does not reason: it is not asked for a summary either.
    """
    if failure.status not in _REFUSAL or isinstance(failure, AuthError) or failure.no_credit:
        return False
    named = " ".join(f"'{name}'" for name in failure.param.split())
    model, text = str(sent.get("model")), f"{failure} {failure.code} {named}"
    if (encrypted := _encrypted(sent)) and _NAMES_ITEMS.search(text):
        _refused_items.update((url, model, one) for one in encrypted)
        return True
    if sent.get("include") == ENCRYPTED and _NAMES_INCLUDE.search(text):
        refused = {"include", "summary"}
    elif _has_summary(sent) and _NAMES_SUMMARY.search(text):
        refused = {"summary"}
    else:
        return False
    _refused.setdefault((url, model), set()).update(refused)
    return True


def _has_summary(body: dict[str, Any]) -> bool:
    reasoning = body.get("reasoning")
    return isinstance(reasoning, dict) and reasoning.get("summary") == SUMMARY


def _encrypted(body: dict[str, Any]) -> list[int]:
    """Return the hashes of the encrypted reasoning in a body."""
    return [hash(str(one)) for item in dicts(body.get("input")) if (one := item.get("encrypted_content"))]


def _is_plain(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type", "message") in _PLAIN


def _without_id(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item without its id, as that refers to the reasoning before it."""
    return {key: value for key, value in item.items() if key != "id"}
