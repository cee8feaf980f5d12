"""The difference between two lists of HTML blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def diff_blocks(before: Sequence[str], after: Sequence[str]) -> dict[str, Any] | None:
    """Return the ``from``, ``keep`` and ``blocks`` of a page message, or None if nothing changed.

    The blocks before ``from`` stay. Block ``from`` keeps its first ``keep`` UTF-16 units and gets ``blocks[0]``
    appended. The rest of ``blocks`` replaces all blocks after it.
    """
    shorter = min(len(before), len(after))
    first = next((k for k in range(shorter) if before[k] is not after[k] and before[k] != after[k]), shorter)
    if first == len(before) == len(after):
        return None
    same = common_length(before[first], after[first]) if first < shorter else 0
    rest = [after[first][same:], *after[first + 1 :]] if first < len(after) else []
    return {"from": first, "keep": utf16_length(after[first][:same]) if same else 0, "blocks": rest}


def common_length(one: str, other: str) -> int:
    """Return the length of the common prefix of two texts."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while low < high:  # binary search: comparing slices is faster than comparing single characters
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low


def utf16_length(text: str) -> int:
    """Return the length of a text in UTF-16 units, as JavaScript counts it."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2
