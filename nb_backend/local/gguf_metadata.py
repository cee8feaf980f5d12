"""What a GGUF file says about its model: the vocabulary, the chat template.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Any

_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes of a value, by its type
_STRING, _ARRAY, _INTEGERS = 8, 9, (4, 5)
_TEMPLATES = frozenset({"tokenizer.chat_template", "tokenizer.chat_template.tool_use"})


def takes_tools(path: Path) -> bool:
    """Whether the chat template of the model in a GGUF file has a place for tools. This reads all its metadata."""
    return any(re.search(r"\btools\b", template) for template in read_fields(path, _TEMPLATES).values())


def read_fields(path: Path, names: Collection[str]) -> dict[str, Any]:
    """Return those of the named fields that a GGUF file has: texts, and lists of texts or of 32-bit integers.

    ``{}`` if it is not such a file, or damaged: llama.cpp will say what is wrong with it.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _fields(data, names)
    except (OSError, ValueError, struct.error):
        return {}


def _fields(data: mmap.mmap, names: Collection[str]) -> dict[str, Any]:
    magic, version, _, count = struct.unpack_from("<4sIQQ", data, 0)
    if magic != b"GGUF" or version < 2:
        raise ValueError("not a GGUF file of version 2 or later")
    found: dict[str, Any] = {}
    at = 24
    for _ in range(count):
        key, at = _string(data, at)
        (kind,) = struct.unpack_from("<I", data, at)
        is_wanted, at = key in names, at + 4
        value: Any = None
        if kind == _STRING:
            value, at = _string(data, at)
        elif kind == _ARRAY:
            value, at = _array(data, at, is_wanted)
        else:
            at += _size(kind)
        if is_wanted and value is not None:
            found[key] = value
        if len(found) == len(names):
            break
    return found


def _array(data: mmap.mmap, at: int, is_wanted: bool) -> tuple[list[str] | list[int] | None, int]:
    kind, length = struct.unpack_from("<IQ", data, at)
    at += 12
    if kind == _STRING:
        texts = []
        for _ in range(length):
            text, at = _string(data, at)
            if is_wanted:
                texts.append(text)
        return texts, at
    numbers = [*struct.unpack_from(f"<{length}i", data, at)] if is_wanted and kind in _INTEGERS else None
    return numbers, at + length * _size(kind)


def _string(data: mmap.mmap, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", data, at)
    end = at + 8 + length
    if end > len(data):
        raise ValueError("the file is cut")
    return data[at + 8 : end].decode("utf-8", "replace"), end


def _size(kind: int) -> int:
    if kind not in _SIZES:
        raise ValueError("a type of values that is not known")
    return _SIZES[kind]
