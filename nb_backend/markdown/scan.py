"""Where links and formulas end."""

from __future__ import annotations

import re

_bare = re.compile(
    r"(?:https?://(?=[^\W_])(?:www\.)?|www\.)"
    r"(?:(?!https?://|ftp://|www\.)(?:[\w\-.~:/?#'*+,;=%()]|(?<!@)@(?!@)|&(?!#?\w+;)))+",
    re.IGNORECASE,
)
link_target = re.compile(
    r"""\(\s*(?:<([^<>\n]*+)>|((?:[^\s()<>]++|\([^\s()<>]*+\))*+))"""
    r"""(?:\s+(?:"(?:\\.|[^"\\])*+"|'(?:\\.|[^'\\])*+'|\((?:\\.|[^()\\])*+\)))?\s*\)""",
    re.DOTALL,
)
link_label = re.compile(r"\[([^\[\]]{0,999})\]")
formula_in_dollars = re.compile(
    r"\$\$(?!\$)((?:[^$\\`]|\\.|\$(?!\$))+)\$\$(?!\$)|\$(?![\s$])((?:[^$\\`]|\\.)+)(?<![\s\\])\$(?![\d$])", re.DOTALL
)
_brackets = re.compile(r"\\\\?[(\[]")


def formula_in_brackets(source: str, start: int, closers: dict[str, int]) -> tuple[str, int, bool] | None:
    r"""Give the formula in ``\\(…\\)`` or ``\\[…\\]``, where it ends and whether it is displayed, if there is one.

    ``closers`` is kept by the caller for one scan of a source: where the next closing brackets are.
    """
    opening = _brackets.match(source, start)
    if opening is None:
        return None
    closer = opening[0].replace("(", ")").replace("[", "]")
    if -1 < closers.get(closer, 0) < opening.end():
        closers[closer] = source.find(closer, opening.end())
    end = closers[closer]
    if end < 0 or source.find(opening[0], opening.end(), end) >= 0:
        return None
    body = source[opening.end() : end]
    if re.search(r"(?<!\\)\$", body):
        return None
    return body, end + len(closer), "[" in opening[0]


def bare_address(source: str, start: int) -> str:
    """Give the address of the web that stands in a text as it is, "" if there is none; a stop behind it is not its."""
    found = _bare.match(source, start)
    url = found[0] if found else ""
    unopened = url.count(")") - url.count("(")
    end = len(url)
    while end and (url[end - 1] in "?.,:;*_~'(" or (url[end - 1] == ")" and unopened > 0)):
        end -= 1
        unopened += {"(": 1, ")": -1}.get(url[end], 0)
    return url[:end]
