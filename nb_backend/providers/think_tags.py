"""Reasoning between tags in the text of an answer: ``<think>…</think>`` and the like.

Servers send it so if they do not separate the reasoning themselves: vLLM and llama.cpp without a reasoning parser,
Ollama and many gateways.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from itertools import islice

from ..events import RawResponse

# DeepSeek R1, Qwen, QwQ, GLM, Nemotron and Hermes; prompted models; Gemma and Gemini; Amazon Bedrock; Magistral; Seed;
# Kimi-VL
_TAGS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "[THINK]": "[/THINK]",
    "<seed:think>": "</seed:think>",
    "◁think▷": "◁/think▷",
}
_ENDS_TEXT = frozenset({"finish", "tool_calls", "message", "error", "auth"})  # nothing is held back after such an event
_MAX_HELD = 4096  # characters of white space
_MAX_CANDIDATES = 20  # closing tags that may be the end of the reasoning
_opening = re.compile("|".join(map(re.escape, _TAGS)))


class _State(Enum):
    START = auto()  # nothing but white space, and perhaps the start of a tag
    REASONING = auto()
    TEXT = auto()


class ThinkTagSplitter:
    """Turns content that stands between tags at the start of an answer into ``reasoning`` events.

    The events are the same wherever the text is cut. White space around the reasoning is dropped. Once the text has
    begun, ``done`` is true and there is nothing left to do: tags in it are text.

    A text that may be the start of a tag is held back, and an event of type ``pending`` holds it (``content``) until
    the next text tells: for an answer that is stopped meanwhile.
    """

    def __init__(self) -> None:
        self._state = _State.START
        self._held = ""
        self._pending = ""
        self._closing = ""
        self._had_reasoning = False  # a block without reasoning does not count: another may follow
        self._after_block = False  # white space before the text is dropped

    @property
    def done(self) -> bool:
        """Whether the text has begun."""
        return self._state is _State.TEXT

    def split(self, events: list[RawResponse]) -> list[RawResponse]:
        """Return the events with the reasoning separated."""
        found: list[RawResponse] = []
        left = iter(events)
        for event in left:
            kind, text = event.type, str(event)
            if kind in _ENDS_TEXT or (not kind and event.get("error")):
                found += self.flush()
            if kind != "content" or not text or event.get("urls") is not None:
                found.append(event)
            else:
                pieces = self._split_text(text)
                found += [event] if self.done and "".join(map(str, pieces)) == text else pieces
            if self.done:
                break
        return [*found, *self._announce(self._held if self._state is _State.START else ""), *left]

    def flush(self) -> list[RawResponse]:
        """Return what is held back, as the answer, or its text, ends here."""
        held, self._held = self._held, ""
        if self._state is _State.REASONING:
            return self._reasoning(held.rstrip())
        if held.strip():
            self._state = _State.TEXT
        return [*self._announce(""), *_content(held)]

    def _announce(self, held: str) -> list[RawResponse]:
        """Return the event that says what is held back, if that has changed; white space does not count."""
        before, self._pending = self._pending, held if held.strip() else ""
        return [RawResponse(type="pending", content=self._pending)] if self._pending != before else []

    def _split_text(self, text: str) -> list[RawResponse]:
        text, self._held = self._held + text, ""
        found: list[RawResponse] = []
        while text and self._state is not _State.TEXT:
            text = self._start(text) if self._state is _State.START else self._reason(text, found)
        return found + _content(text)

    def _start(self, text: str) -> str:
        """Return the text after the opening tag at the start of the answer, or the text if there is no tag."""
        start = text.lstrip()
        tag = None if self._had_reasoning else _opening.match(start)
        if tag:
            self._state, self._closing, self._after_block = _State.REASONING, _TAGS[tag[0]], True
            return start[tag.end() :]
        text = start if self._after_block else text
        if len(text) <= _MAX_HELD and (not start or (not self._had_reasoning and _may_be_tag(start))):
            self._held = text
            return ""
        self._state = _State.TEXT
        return text

    def _reason(self, text: str, found: list[RawResponse]) -> str:
        """Append the reasoning that a text has; return the text after the closing tag."""
        reasoning, closed, rest = text.partition(self._closing)
        if closed:
            found += self._reasoning(reasoning.rstrip())
            self._state = _State.START
            return rest
        end = self._end_to_hold(text)
        found += self._reasoning(text[:end])
        self._held = text[end:]
        return ""

    def _end_to_hold(self, text: str) -> int:
        """Return the index of the end of a text that may be the start of the closing tag, with white space before."""
        closing = self._closing
        size = next((n for n in range(min(len(closing) - 1, len(text)), 0, -1) if text.endswith(closing[:n])), 0)
        end = len(text[: len(text) - size].rstrip())
        return end if len(text) - end <= _MAX_HELD else len(text) - size

    def _reasoning(self, text: str) -> list[RawResponse]:
        text = text if self._had_reasoning else text.lstrip()
        self._had_reasoning = self._had_reasoning or bool(text)
        return [RawResponse(type="reasoning", token=text)] if text else []


def _may_be_tag(text: str) -> bool:
    return any(tag.startswith(text) for tag in _TAGS)


def _content(text: str) -> list[RawResponse]:
    return [RawResponse(type="content", content=text)] if text else []


_unopened_closing = re.compile(r"(?<![ \t\"'`“‘«(])</think>(?=[ \t]*(?:\n|\Z)|[^\s\"'`”’»),.;:])")


def split_unopened(text: str, *, has_reasoning: bool) -> tuple[str, str] | None:
    """Return the reasoning and the text of an answer that has a closing ``</think>`` only; ``None`` if it has none.

    The chat templates of DeepSeek R1 and Qwen put the opening tag into the prompt, so it is not in the answer. A tag in
    code, in quotes, after an opening one, or with words around it is not taken for one. If there is other reasoning
    (``has_reasoning``), only a tag at the start of the text is: some servers leave it there.
    """
    if "</think>" not in text:
        return None
    for found in islice(_unopened_closing.finditer(text), _MAX_CANDIDATES):
        before = text[: found.start()]
        if "<think>" in before:
            return None
        fences = sum(line.lstrip().startswith(("```", "~~~")) for line in before.split("\n"))
        if has_reasoning and before.strip():
            return None
        if fences % 2 == 0 and before.rpartition("\n")[2].count("`") % 2 == 0:
            return before.strip(), text[found.end() :].lstrip()
    return None
