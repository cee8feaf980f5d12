"""Find formulas and bare URLs in text, and where they end."""

from __future__ import annotations

import re

# The part of a GFM extended autolink (GFM 6.9) that all renderers read the same.
bare_url_pattern = re.compile(
    r"(?:https?://(?=[^\W_])(?:www\.)?|www\.)"
    r"(?:(?!https?://|ftp://|www\.)(?:[\w\-.~:/?#'*+,;=%()]|(?<!@)@(?!@)|&(?!#?\w+;)))+",
    re.IGNORECASE,
)
formula_in_dollars = re.compile(
    r"\$\$(?!\$)((?:[^$\\`]|\\.|\$(?!\$))+)\$\$(?!\$)|\$(?![\s$])((?:[^$\\`]|\\.)+)(?<![\s\\])\$(?![\d$])", re.DOTALL
)  # group 1: a display formula, group 2: an inline one
_opening_bracket = re.compile(r"\\\\?[(\[]")


def formula_in_brackets(source: str, start: int, next_closers: dict[str, int]) -> tuple[str, int, bool] | None:
    r"""Return the body of a formula ``\(…\)`` or ``\[…\]`` at ``start``, its end, and whether it is a display formula.

    The backslashes may be doubled, as JupyterLab requires. ``next_closers`` is an empty dict at the start of a scan;
    it keeps the position of the next closing bracket of each kind, so that the whole scan takes linear time.
    """
    opening = _opening_bracket.match(source, start)
    if opening is None:
        return None
    closer = opening[0].replace("(", ")").replace("[", "]")
    if -1 < next_closers.get(closer, 0) < opening.end():
        next_closers[closer] = source.find(closer, opening.end())
    end = next_closers[closer]
    if end < 0 or source.find(opening[0], opening.end(), end) >= 0:
        return None
    body = source[opening.end() : end]
    if re.search(r"(?<!\\)\$", body):
        return None
    return body, end + len(closer), "[" in opening[0]


def bare_url(source: str, start: int) -> str:
    """Return the URL that stands in the text at ``start``, or ""; punctuation after it is not part of it (GFM 6.9)."""
    found = bare_url_pattern.match(source, start)
    url = found[0] if found else ""
    unopened = url.count(")") - url.count("(")
    end = len(url)
    while end and (url[end - 1] in "?.,:;*_~'(" or (url[end - 1] == ")" and unopened > 0)):
        end -= 1
        unopened += {"(": 1, ")": -1}.get(url[end], 0)
    return url[:end]
