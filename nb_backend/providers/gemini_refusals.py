"""What a model of Gemini's dialect refuses of the conversation, remembered while this process runs.

- signatures of thoughts that another model has made: https://ai.google.dev/gemini-api/docs/thought-signatures
- a function call without a signature; Gemini 3 wants one at the first call of each answer
- a system prompt, which Gemma does not take: it then stands before the first question
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from ..errors import BackendError
from .gemini_thinking import is_at_least_3

NO_SIGNATURE: Final = "skip_thought_signature_validator"
"""What the service takes in place of a signature, for a function call that another model made."""

_NAMES_SIGNATURE: Final = re.compile(r"thought[ _]?signature", re.IGNORECASE)
_NO_SYSTEM: Final = re.compile(r"\b(?:developer|system)[ _]?instructions?\b.{0,40}\bnot\b", re.IGNORECASE)
_IS_MISSING: Final = re.compile(r"\b(?:missing|required|lacks?|without)\b", re.IGNORECASE)
_OPAQUE: Final = frozenset({"toolCall", "toolResponse"})  # parts that mean nothing without their signature

_refused: set[tuple[str, str, int]] = set()  # url, model and the hash of a signature
_wants_mark: set[tuple[str, str]] = set()  # url and model
_takes_no_system: set[tuple[str, str]] = set()


def fitted(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the body without refused signatures, with marks if the model wants them; the argument is not changed."""
    model = str(body.get("model"))
    if (url, model) in _takes_no_system:
        body = _without_system(body)
    refuses = not _refused.isdisjoint((url, model, hash(one)) for one in _signatures(body))
    wants_mark = (url, model) in _wants_mark
    if not (refuses or wants_mark):
        return body
    contents = [_plain(content) if refuses else content for content in _contents(body)]
    marks = wants_mark or is_at_least_3(model)
    return {**body, "contents": [marked(one) if marks else one for one in contents if one["parts"]]}


def learn(url: str, body: dict[str, Any], sent: dict[str, Any], failure: BackendError) -> bool:
    """Remember what a refusal says about these; return whether ``fitted`` now differs."""
    place = url, str(body.get("model"))
    if failure.status == 400 and "systemInstruction" in sent and _NO_SYSTEM.search(str(failure)):
        _takes_no_system.add(place)
        return True
    if failure.status != 400 or not _NAMES_SIGNATURE.search(str(failure)):
        return False
    if _IS_MISSING.search(str(failure)):
        if place in _wants_mark:
            return False
        _wants_mark.add(place)
        return True
    signatures = {(*place, hash(one)) for one in _signatures(sent)}
    _refused.update(signatures)
    return bool(signatures)


def marked(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content with ``NO_SIGNATURE`` at its first function call, if that has no signature."""
    parts = content["parts"]
    at = next((at for at, part in enumerate(parts) if "functionCall" in part), None)
    if at is None or parts[at].get("thoughtSignature"):
        return content
    return {**content, "parts": [*parts[:at], {**parts[at], "thoughtSignature": NO_SIGNATURE}, *parts[at + 1 :]]}


def _without_system(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body with the system prompt before the first question."""
    system, contents = body.get("systemInstruction"), _contents(body)
    if not isinstance(system, dict) or not contents:
        return body
    first, *others = contents
    is_question = first.get("role") == "user"
    first = {"role": "user", "parts": [*system.get("parts", []), *(first["parts"] if is_question else [])]}
    rest = {name: value for name, value in body.items() if name != "systemInstruction"}
    return {**rest, "contents": [first, *(others if is_question else contents)]}


def _plain(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content without signatures, and without thoughts, which are not sent without them."""
    kept = [part for part in content["parts"] if not (part.get("thought") or _OPAQUE & part.keys())]
    bare = [{key: value for key, value in part.items() if key != "thoughtSignature"} for part in kept]
    return {**content, "parts": [part for part in bare if part and part != {"text": ""}]}


def _contents(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the contents; an empty list if the user has sent some of another form."""
    contents = body.get("contents")
    return contents if isinstance(contents, list) and all(map(_is_usual, contents)) else []


def _is_usual(content: Any) -> bool:
    parts = content.get("parts") if isinstance(content, dict) else None
    return isinstance(parts, list) and all(isinstance(part, dict) for part in parts)


def _signatures(body: dict[str, Any]) -> Iterator[str]:
    for content in _contents(body):
        for part in content["parts"]:
            if (found := part.get("thoughtSignature")) and found != NO_SIGNATURE:
                yield str(found)
