"""The parts of a model's turn, as Gemini wants them back with the next request."""

from __future__ import annotations

from typing import Any, Final

_MAX_TEXTS = 1000  # deltas that are kept apart; joined, they take a tenth of the memory
_MADE_UP: Final = "gemini_call_"
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

    def add(self, part: dict[str, Any]) -> None:
        """Add a part of a response."""
        text, is_thought = part.get("text"), part.get("thought") is True
        if isinstance(text, str) and not part.keys() - {"text", "thought"}:
            if is_thought is not self.is_thought:
                self._close()
                self.is_thought = is_thought
            self.add_text(text)
        elif not is_thought or "thoughtSignature" in part:  # a picture of a thought is not sent back
            self._close()
            self._parts.append(part)
            self._has_more = self._has_more or bool(part.get("thoughtSignature") or _is_picture(part))

    def add_text(self, text: str) -> None:
        """Add a text that goes on, or begins, a text part without a signature."""
        if text:
            self._texts.append(text)
        if len(self._texts) > _MAX_TEXTS:
            self._joined.append("".join(self._texts))
            self._texts.clear()

    def take_state(self) -> list[dict[str, Any]]:
        """Return the parts, once; an empty list if none has a signature or is a picture.

        The text alone says the same then. A picture goes back because the model is asked to change it.
        """
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
    named = [call.get("name") for part in state if isinstance(call := part.get("functionCall"), dict)]
    return state if (said, named) == (text, calls) else None
