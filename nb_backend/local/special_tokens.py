"""Special tokens of a model, such as ``<|im_end|>``, which are only text where somebody writes them.

llama.cpp's server fills the messages into the model's chat template and reads the special tokens of the whole. So a
message with ``<|im_end|>`` and ``<|im_start|>system`` in it (a log, a README, a page from the web) could end itself and
begin another one. xllamacpp has no call that reads a part of a prompt as text only.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ZERO_WIDTH_SPACE = "\u200b"

# The format of GGUF files: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes of a value, by its type
_STRING, _ARRAY = 8, 9
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
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return SpecialTokens(_special(*_vocabulary(data)))
    except (OSError, ValueError, struct.error):  # llama.cpp will say what is wrong with it
        return SpecialTokens(())


def _special(tokens: list[str], types: tuple[int, ...]) -> Iterator[str]:
    for at, token in enumerate(tokens):
        if (at < len(types) and types[at] in _SPECIAL_TYPES) or _SPECIAL_NAME.fullmatch(token):
            yield token


def _vocabulary(data: mmap.mmap) -> tuple[list[str], tuple[int, ...]]:
    """Return the tokens, and the type of each."""
    magic, version, _, count = struct.unpack_from("<4sIQQ", data, 0)
    if magic != b"GGUF" or version < 2:
        raise ValueError("not a GGUF file of version 2 or later")
    tokens: list[str] = []
    types: tuple[int, ...] = ()
    at = 24
    for _ in range(count):
        key, at = _string(data, at)
        (kind,) = struct.unpack_from("<I", data, at)
        at += 4
        if kind == _STRING:
            _, at = _string(data, at)
        elif kind != _ARRAY:
            at += _size(kind)
        else:
            kind, length = struct.unpack_from("<IQ", data, at)
            at += 12
            if kind == _STRING:
                for _ in range(length):
                    text, at = _string(data, at)
                    if key == _TOKENS:
                        tokens.append(text)
            else:
                types = struct.unpack_from(f"<{length}i", data, at) if key == _TYPES else types
                at += length * _size(kind)
        if tokens and types:
            break
    return tokens, types


def _string(data: mmap.mmap, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", data, at)
    end = at + 8 + length
    if end > len(data):
        raise ValueError("the file is cut")
    return data[at + 8 : end].decode("utf-8", "replace"), end


def _size(kind: int) -> int:
    if kind not in _SIZES:
        raise ValueError("a type of values that is not known")
    return int(_SIZES[kind])
