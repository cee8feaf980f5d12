"""The parts of a model's turn, as Gemini wants them back with the next request."""

from __future__ import annotations

import re
from typing import Any, Final

from ..transport.json_body import encode_json

_MAX_TEXTS = 1000  # deltas that are kept apart; joined, they take a tenth of the memory
_MAX_ITEMS = 1000  # of a list in an argument that comes in pieces
_MAX_PATH = 200  # characters of the path of such a piece
_MADE_UP: Final = "gemini_call_"
_STEP: Final = re.compile(r"\.?(?:(?P<name>[^.\[\]]+)|\[(?P<index>\d{1,6})\]|\[['\"](?P<quoted>.*?)['\"]\])")
"""A step of the path to an argument."""
_PARTS: Final = frozenset(
    {
        *("text", "thought", "thoughtSignature", "functionCall", "inlineData", "executableCode"),
        *("codeExecutionResult", "toolCall", "toolResponse", "videoMetadata", "partMetadata"),
    }
)
"""Keys of the parts of a model's turn that are sent back. A file's address is not: the service would fetch it."""


def made_up_id(response_id: str, number: int) -> str:
    """Return the id of a function call that has none. It is the same each time that the answer is read."""
    return f"{_MADE_UP}{response_id or 0}_{number}"


def is_made_up(id_: str) -> bool:
    """Whether the id of a function call is from ``made_up_id``: the service does not know it."""
    return id_.startswith(_MADE_UP)


class GeminiTurn:
    """Collects the parts of a turn. Texts that follow each other become one part, unless one has a signature."""

    def __init__(self) -> None:
        self._joined: list[str] = []  # the text part that may go on
        self._texts: list[str] = []  # deltas after that
        self.is_thought = False
        """Whether they are reasoning."""
        self._parts: list[dict[str, Any]] = []
        self._has_more = False  # than text
        self._open_call: dict[str, Any] | None = None  # whose arguments arrive in pieces
        self._open_text: tuple[str, list[str]] = ("", [])  # the path of a text in them, and its pieces
        self._calls: list[dict[str, Any]] = []

    def add(self, part: dict[str, Any]) -> None:
        """Add a part of a response."""
        text, is_thought, call = part.get("text"), part.get("thought") is True, part.get("functionCall")
        if isinstance(text, str) and not part.keys() - {"text", "thought"}:
            if is_thought is not self.is_thought:
                self._close()
                self.is_thought = is_thought
            self.add_text(text)
        elif isinstance(call, dict) and self._open_call is not None and not call.get("name"):
            self._go_on(self._open_call, call)
        elif not is_thought or "thoughtSignature" in part:  # a picture of a thought is not sent back
            self._close()
            if isinstance(call, dict):
                self._close_call()
                made = {key: value for key, value in call.items() if key not in ("partialArgs", "willContinue")}
                self._go_on(made, call)
                self._calls += [made] if isinstance(made.get("name"), str) and made["name"] else []
                part = {**part, "functionCall": made}
            self._parts.append(part)
            self._has_more = self._has_more or bool(part.get("thoughtSignature") or _is_picture(part))

    def add_text(self, text: str) -> None:
        """Add a text that goes on, or begins, a text part without a signature."""
        if text:
            self._texts.append(text)
        if len(self._texts) > _MAX_TEXTS:
            self._joined.append("".join(self._texts))
            self._texts.clear()

    def _go_on(self, made: dict[str, Any], call: dict[str, Any]) -> None:
        """Add the arguments that have come of a call, if they come in pieces."""
        self._open_call = made
        pieces = call.get("partialArgs")
        for piece in pieces if isinstance(pieces, list) else ():
            if not isinstance(piece, dict) or len(path := str(piece.get("jsonPath"))) > _MAX_PATH:
                continue
            text = piece.get("stringValue")
            if path != self._open_text[0] or not isinstance(text, str):
                self._close_text()
            if isinstance(text, str):
                self._open_text = path, self._open_text[1]
                self._open_text[1].append(text)
            else:
                made["args"] = _with_piece(made.get("args"), path, piece)
        if not call.get("willContinue"):
            self._close_call()

    def _close_call(self) -> None:
        self._close_text()
        self._open_call = None

    def _close_text(self) -> None:
        """Put a text that came in pieces into the open call's arguments; ``+`` for each would copy it each time."""
        (path, pieces), made = self._open_text, self._open_call
        if made is not None and pieces:
            made["args"] = _with_piece(made.get("args"), path, {"stringValue": "".join(pieces)})
        self._open_text = "", []

    def take_calls(self, response_id: str) -> list[dict[str, Any]]:
        """Return the function calls in OpenAI's form, once. One without an id gets one from those of the response."""
        self._close_call()
        calls, self._calls = self._calls, []
        return [
            {
                "id": str(call.get("id") or made_up_id(response_id, number)),
                "type": "function",
                "function": {"name": call["name"], "arguments": encode_json(call.get("args") or {}).decode()},
            }
            for number, call in enumerate(calls, 1)
        ]

    def take_state(self) -> list[dict[str, Any]]:
        """Return the parts, once; an empty list if none has a signature or is a picture.

        The text alone says the same then. A picture goes back because the model is asked to change it.
        """
        self._close_call()
        self._close()
        parts, self._parts = self._parts, []
        has_more, self._has_more = self._has_more, False
        return parts if has_more else []

    def _close(self) -> None:
        if text := "".join([*self._joined, *self._texts]):
            self._parts.append({"text": text, "thought": True} if self.is_thought else {"text": text})
        self._joined.clear()
        self._texts.clear()
        self.is_thought = False


def _with_piece(value: Any, path: str, piece: dict[str, Any]) -> Any:
    """Return a value with a piece of an argument at a path like ``$.city`` or ``$.stops[0].name``."""
    found = _STEP.match(path.removeprefix("$"))
    if not found:
        text = piece.get("stringValue")
        if isinstance(text, str):
            return value + text if isinstance(value, str) else text
        return next((piece[key] for key in ("numberValue", "boolValue") if key in piece), None)
    rest = path.removeprefix("$")[found.end() :]
    if found["index"] is None:
        name = found["name"] or found["quoted"] or ""
        holder = dict(value) if isinstance(value, dict) else {}
        return {**holder, name: _with_piece(holder.get(name), rest, piece)}
    items, index = [*value] if isinstance(value, list) else [], min(int(found["index"]), _MAX_ITEMS)
    items += [None] * (index + 1 - len(items))
    items[index] = _with_piece(items[index], rest, piece)
    return items


def _is_picture(part: dict[str, Any]) -> bool:
    blob = part.get("inlineData")
    return isinstance(blob, dict) and str(blob.get("mimeType")).startswith("image/")


def parts_of_state(state: Any, text: str, calls: list[str]) -> list[dict[str, Any]] | None:
    """Return the parts that a turn's state holds, ``None`` if it is not the state of this turn.

    ``text`` is the text of the turn and ``calls`` are the names of its function calls: the user may have edited it, and
    a saved chat may hold anything.
    """
    if not isinstance(state, list) or not state or not all(isinstance(part, dict) for part in state):
        return None
    if any(not part or part.keys() - _PARTS for part in state):
        return None
    said = "".join(str(part.get("text") or "") for part in state if part.get("thought") is not True)
    made = [call for part in state if isinstance(call := part.get("functionCall"), dict)]
    ids = [str(call["id"]) for call in made if call.get("id")]
    if len(set(ids)) < len(ids):  # the second one was given another id
        return None
    return state if (said, [call.get("name") for call in made]) == (text, calls) else None
