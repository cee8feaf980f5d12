"""The transcript that an earlier version of nb_backend left in a notebook, which has no record to continue from."""

from __future__ import annotations

import re
from html import unescape

from ...markdown.safe import safe_markdown
from ...text import entities

_OPENING = re.compile(r'<details( class="nbb-saved")?(?: open)?><summary>([^<>]*)</summary>')
_STYLED = re.compile(r"(\*\*[^<>]*\*\* )?<(small|div)\b[^<>]*>(.*)</\2>")  # a line with the time, status or an error
_INLINE_TAG = re.compile(r"</?(?:small|span)>")
_FENCE = re.compile(r"(`{3,}|~{3,})")
_MAX_DEPTH = 3


def safe_transcript(text: str) -> str:
    """Return the Markdown of a transcript that was read from a notebook, made safe again.

    What can be folded stays so, except each chat as a whole. Other HTML of a transcript is dropped outside code.
    """
    parts: list[str] = []
    lines: list[str] = []
    folds: list[bool] = []  # for each open <details>, whether it is written
    fence = ""

    def end_part(part: str = "") -> None:
        parts.extend(one for one in (safe_markdown("\n".join(lines).strip("\n")), part) if one)
        lines.clear()

    for line in text.split("\n"):
        found = None if fence else _OPENING.fullmatch(line)
        if found is not None and len(folds) < _MAX_DEPTH:
            is_chat, title = bool(found[1]), entities(unescape(found[2]))
            end_part(f"**{title}**" if is_chat else f"<details><summary>{title}</summary>")
            folds.append(not is_chat)
        elif line == "</details>" and folds and not fence:
            end_part("</details>" if folds.pop() else "")
        else:
            fence = _fence_after(line, fence)
            styled = None if fence else _STYLED.fullmatch(line)
            lines.append(line if styled is None else (styled[1] or "") + _INLINE_TAG.sub("", styled[3]))
    end_part()
    return "\n\n".join([*parts, *("</details>" for is_written in folds if is_written)])


def _fence_after(line: str, fence: str) -> str:
    """Return the fence of the code that goes on after a line, "" if there is none; ``fence`` is that before it."""
    found = _FENCE.match(line)
    if not fence:
        return found[1] if found else ""
    is_end = found is not None and found[1].startswith(fence) and not line[found.end() :].strip()
    return "" if is_end else fence
