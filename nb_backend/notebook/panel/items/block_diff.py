"""How a list of blocks became another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def diff_blocks(before: Sequence[str], after: Sequence[str]) -> dict[str, Any] | None:
    """Give ``from``, ``keep`` and ``blocks`` as the page takes them, ``None`` if nothing changed.

    The blocks before ``from`` stay; that one keeps its first ``keep`` UTF-16 units and gets ``blocks[0]`` appended; the
    others follow, and nothing after them.
    """
    shorter = min(len(before), len(after))
    first = next((k for k in range(shorter) if before[k] is not after[k] and before[k] != after[k]), shorter)
    if first == len(before) == len(after):
        return None
    same = common(before[first], after[first]) if first < shorter else 0
    rest = [after[first][same:], *after[first + 1 :]] if first < len(after) else []
    return {"from": first, "keep": units(after[first][:same]) if same else 0, "blocks": rest}


def common(one: str, other: str) -> int:
    """Give the length of what two texts begin with alike."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while low < high:  # slices are compared at once, signs one by one
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low


def units(text: str) -> int:
    """Give the length of a text as JavaScript counts it."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2
