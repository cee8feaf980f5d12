"""What services of OpenAI's dialect want back unchanged with an answer, beside its text.

OpenRouter's ``reasoning_details``, the ``extra_content`` of Gemini and of its function calls, which has their thought
signatures, and the ``reasoning_content`` before tool calls of DeepSeek, Moonshot, Z.ai and others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..media.message_parts import text_of
from .content_parts import dicts

_SENT_BACK: Final = ("reasoning_details", "reasoning_content", "extra_content")
_SAME: Final = ("type", "index")  # of pieces of one detail; encrypted details are whole
_GROWING: Final = ("text", "summary", "signature")  # fields of a detail that arrive in pieces; others have one value
MAX_DETAILS = 10_000  # more in one answer are ignored


class ChatState:
    """Collects the opaque state of an answer."""

    def __init__(self) -> None:
        self._details: list[dict[str, Any]] = []
        self._pieces: dict[str, list[str]] = {}  # of the last detail, by field
        self._reasoning: list[str] = []
        self._extra: dict[str, Any] = {}
        self._extras: dict[str, dict[str, Any]] = {}  # by the id of the call

    def add(self, delta: Mapping[str, Any], calls: Any) -> None:
        """Add what a delta has of it, and the pieces of its tool calls."""
        for detail in dicts(delta.get("reasoning_details")):
            self._add_detail(detail)
        if isinstance(text := delta.get("reasoning_content"), str):
            self.add_reasoning(text)
        if isinstance(extra := delta.get("extra_content"), dict):
            self._extra |= extra
        for call in dicts(calls):
            if isinstance(extra := call.get("extra_content"), dict) and call.get("id"):
                self._extras[str(call["id"])] = extra

    def add_reasoning(self, text: str) -> None:
        """Add reasoning that goes back if tool calls follow it."""
        self._reasoning.append(text)

    def items(self, calls: list[dict[str, Any]], length: int) -> list[dict[str, Any]]:
        """Return the state as the ``state`` event has it, ``[]`` if there is nothing opaque.

        ``calls`` are the tool calls of the answer, ``length`` is the number of characters of its text.
        """
        self._close_detail()
        is_opaque = any(one.get("signature") or one.get("data") for one in self._details)
        found: dict[str, Any] = {}
        if self._details and (calls or is_opaque):
            found["reasoning_details"] = self._details
        elif calls and any(self._reasoning):
            found["reasoning_content"] = "".join(self._reasoning)
        found |= {"extra_content": self._extra} if self._extra else {}
        found |= {"calls": self._extras} if self._extras else {}
        return [{**found, "length": length, "call_ids": [call["id"] for call in calls]}] if found else []

    def _add_detail(self, detail: dict[str, Any]) -> None:
        last = self._details[-1] if self._details else {}
        is_piece = last and "data" not in detail and all(last.get(name) == detail.get(name) for name in _SAME)
        if not is_piece and len(self._details) >= MAX_DETAILS:
            return
        if not is_piece:
            self._close_detail()
            self._details.append({**detail})
            return
        for name, value in detail.items():
            if name in _GROWING and value:
                self._pieces.setdefault(name, []).append(str(value))
            elif name not in _GROWING and value is not None:
                last[name] = value

    def _close_detail(self) -> None:
        """Join the pieces of the last detail; ``+=`` for each would copy the whole text each time."""
        for name, pieces in self._pieces.items():
            self._details[-1][name] = "".join([str(self._details[-1].get(name) or ""), *pieces])
        self._pieces = {}


def _are_same(known: Any, ids: list[Any]) -> bool:
    """Whether these are the ids of the calls of a state; those that had none have been given one."""
    if not isinstance(known, list) or len(known) != len(ids):
        return False
    return all(one is None or one == id_ for one, id_ in zip(known, ids, strict=True))


def with_state(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message with its state put into its fields, if text and tool calls are still those of the answer."""
    sent = {name: value for name, value in message.items() if name != "state"}
    state = next(iter(dicts(message.get("state"))), None)
    calls = dicts(message.get("tool_calls"))
    if state is None or state.get("length") != len(text_of(message)):
        return sent
    if not _are_same(state.get("call_ids"), [call.get("id") for call in calls]):
        return sent
    sent |= {name: state[name] for name in _SENT_BACK if name in state}
    extras = state.get("calls")
    if calls and isinstance(extras, dict):
        sent["tool_calls"] = [
            {**call, "extra_content": extras[call["id"]]} if call.get("id") in extras else call for call in calls
        ]
    return sent
