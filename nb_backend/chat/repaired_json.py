"""Almost-JSON repaired by json-repair, if that is installed, as far as nothing is lost and nothing is invented.

json-repair also completes a text that was cut off, and guesses where it cannot know. So its result counts only if it
has the brackets and the words of the text, all of them in their order: quotes, commas and colons may differ.
"""

from __future__ import annotations

import re
from contextlib import suppress

_MAX_CHARS = 10_000  # json-repair takes a second for 10,000 quotes, and four times as long for twice as many
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_MISSING_VALUE = re.compile(r"[:,\[{]\s*,|:\s*[}\]]|[:,\[]\s*-?(?:NaN|Infinity|undefined)\b")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)")
_IGNORED = re.compile(r"[\s\\:,\"'`“”„‘’]+")
_STRAY_QUOTE = re.compile(r"""(?<!\\)"['`]|['`]"|\\"(?=")""")
"""A string that begins or ends with a quote, in JSON: the repair has taken a quote for a part of the text."""


def repaired(text: str) -> str | None:
    """Return a text as JSON; ``None`` if json-repair is not installed, or if it cannot repair it without a guess."""
    text = text.strip()
    if not text.startswith(("{", "[")) or len(text) > _MAX_CHARS or _MISSING_VALUE.search(text):
        return None
    if _ESCAPE.sub("", text).count('"') % 2:  # cut off inside a string, whose brackets would be taken for its end
        return None
    try:
        from json_repair import repair_json
    except ImportError:
        return None
    with suppress(Exception):  # whatever json-repair raises, the text stays as it is
        mended = repair_json(text, skip_json_loads=True, ensure_ascii=False)
        if isinstance(mended, str) and not _STRAY_QUOTE.search(mended):
            wanted = _words(mended)
            return mended if wanted in (_words(text), _words(_COMMENT.sub("", text))) else None
    return None


def _words(text: str) -> str:
    """Return what must be the same before and after a repair: brackets, letters, digits and signs."""
    plain = _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else "", text)
    return re.sub(r"\bNone\b", "null", _IGNORED.sub(" ", plain)).replace(" ", "").lower()
