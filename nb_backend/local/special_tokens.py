"""Special tokens of a model, such as ``<|im_end|>``, which are only text where somebody writes them.

llama.cpp's server fills the messages into the model's chat template and reads the special tokens of the whole. So a
message with ``<|im_end|>`` and ``<|im_start|>system`` in it (a log, a README, a page from the web) could end itself and
begin another one. xllamacpp has no call that reads a part of a prompt as text only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .gguf_metadata import read_fields

ZERO_WIDTH_SPACE = "\u200b"

_TOKENS, _TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
_SPECIAL_TYPES = frozenset({2, 3})  # unknown and control; llama.cpp reads user-defined tokens (4) in any text
# llama.cpp takes a few tokens for special by their names, also if the file calls them normal
_SPECIAL_NAME = re.compile(r"<[|\uff5c].+[|\uff5c]>|<(?:end_of_turn|start_of_turn|end_of_utterance|bos|eos|pad)>|</?s>")


class SpecialTokens:
    """The special tokens of a model, which are written as text with a zero-width space after their first character.

    Then the model reads no special token, but the characters that a person sees, and the zero-width space.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self._tokens = frozenset(token for token in tokens if len(token) > 2)
        self._lengths = sorted({len(token) for token in self._tokens})
        firsts = "".join(sorted({re.escape(token[0]) for token in self._tokens}))
        self._first = re.compile(f"[{firsts}]" if firsts else "(?!)")

    def as_text(self, value: Any) -> Any:
        """Return a value of JSON in which each text, and each key, is only text to the model."""
        if isinstance(value, str):
            return self._first.sub(self._break, value)
        if isinstance(value, list):
            return [self.as_text(one) for one in value]
        if isinstance(value, dict):
            return {self.as_text(key): self.as_text(one) for key, one in value.items()}
        return value

    def _break(self, found: re.Match[str]) -> str:
        text, start = found.string, found.start()
        is_token = any(text[start : start + length] in self._tokens for length in self._lengths)
        return found[0] + ZERO_WIDTH_SPACE if is_token else found[0]


def special_tokens(path: Path) -> SpecialTokens:
    """Read the special tokens of the model in a GGUF file; none if the file has no vocabulary, or is not one."""
    vocabulary = read_fields(path, (_TOKENS, _TYPES))
    return SpecialTokens(_special(vocabulary.get(_TOKENS, []), vocabulary.get(_TYPES, [])))


def _special(tokens: list[str], types: list[int]) -> Iterator[str]:
    for at, token in enumerate(tokens):
        if (at < len(types) and types[at] in _SPECIAL_TYPES) or _SPECIAL_NAME.fullmatch(token):
            yield token
