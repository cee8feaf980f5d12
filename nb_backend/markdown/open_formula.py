r"""Hold back a formula that is still being written, so that nobody reads ``$$x^2 + \frac{``.

What is rather a price than a formula is shown after a few words, and every text at the end of its paragraph.
"""

from __future__ import annotations

import re

from markdown_it.token import Token

from .parser import ENVIRONMENTS
from .scan import formula_in_brackets, formula_in_dollars

PLACEHOLDER = "…"
_MAX_DISPLAY_CHARS = 2_000
_MAX_INLINE_CHARS = 400
_MAX_PLAIN_CHARS = 40  # of a formula without a sign of LaTeX
_opening = re.compile(
    rf"`+|\$+|\\\\?[(\[]|(?m:^)[ \t>]*\\begin\{{(?:{ENVIRONMENTS})\*?\}}"
    # the first characters of one
    r"|\\{1,2}\Z|(?m:^)[ \t>]*\\(?:b|be|beg|begi|begin(?:\{[a-zA-Z]*\*?)?)\Z"
    r"|\\.",
    re.DOTALL,
)
_not_a_formula_yet = re.compile(r"\$(?:\d[^\\^_={}]*)?|\\[\\a-zA-Z{*]*")  # but perhaps a price
_line_start = re.compile(r"[ \t>]*(?:[-+*]|\d{1,9}[.)])?[ \t]*")
_latex_sign = re.compile(r"[\\^_={}]")
_latex_words = re.compile(r"\\[A-Za-z]+\s*(?:\{[^{}]*(?:\}|\Z))?")
_price_and_word = re.compile(r"\d.*\s[A-Za-z]{3}", re.DOTALL)
_two_words = re.compile(r"[A-Za-z]{2,}[,.;:]?\s+[A-Za-z]{2,}")


def hold_open_formula(text: str, tokens: list[Token], first_line: int = 0) -> str | None:
    """Return a growing text with a placeholder for the formula at its end that is still open; None if none is open.

    ``tokens`` are the blocks of the text. What is before the line ``first_line`` stays. Linear time.
    """
    lines = text.split("\n")
    end = len(lines) if lines[-1].strip(" \t") else len(lines) - 1  # the last line may be that which starts
    leaf = 0  # the line in which the last text starts
    for token in tokens:
        if token.type in ("fence", "code_block", "math_block") and token.map:
            first_line = max(first_line, token.map[1])
        elif token.type == "inline" and token.map and token.content:
            leaf = token.map[0]
    start = end
    while start > first_line and lines[start - 1].strip(" \t"):
        start -= 1
    if start >= end:
        return None
    paragraph = "\n".join(lines[start:])
    leaf_start = len("\n".join(lines[start:leaf])) if leaf > start else 0
    position = _open_formula(paragraph, leaf_start)
    if position is None:
        return None
    before = "\n".join([*lines[:start], paragraph[:position]])
    return before if _not_a_formula_yet.fullmatch(paragraph, position) else before + PLACEHOLDER


def _open_formula(paragraph: str, leaf: int) -> int | None:
    """Return the index of the open formula: a display formula in any line, an inline one only from ``leaf`` on."""
    position = 0
    while match := _opening.search(paragraph, position):
        start, found = match.start(), match[0].lstrip(" \t>")
        if found[0] == "`":
            code = re.compile(f"(?<!`){found}(?!`)").search(paragraph, match.end())
            if code is None:
                return None  # it is code that is still open
            position = code.end()
        elif end := _formula_end(paragraph, start, found):
            position = end
        else:
            line = paragraph.rfind("\n", 0, start) + 1
            starts_line = found not in ("$", "\\(", "\\\\(") and _line_start.fullmatch(paragraph, line, start)
            if (start >= leaf or starts_line) and _may_become_formula(found, paragraph[match.end() :]):
                return match.end() - len(found)
            position = match.end()
    return None


def _formula_end(text: str, start: int, found: str) -> int:
    """Return the end of the formula that starts with ``found``; 0 if it has none."""
    if found[0] == "$":
        dollars = formula_in_dollars.match(text, start)
        return dollars.end() if dollars else 0
    if found.startswith("\\begin"):
        closer = found.replace("begin", "end")
        return text.find(closer, start) + len(closer) if closer in text[start:] else 0
    brackets = formula_in_brackets(text, start, {})
    return brackets[1] if brackets else 0


def _may_become_formula(found: str, rest: str) -> bool:
    """Whether an opening and the text after it, up to the end of a growing text, may become a formula."""
    if found == "$":
        return _is_not_prose(rest)
    if found == "$$" or (found.startswith("\\begin{") and found[-1] == "}"):
        return len(rest) <= _MAX_DISPLAY_CHARS
    if found[-1] in "([":
        closer = found.replace("(", ")").replace("[", "]")
        return closer not in rest and len(rest) <= (_MAX_DISPLAY_CHARS if found[-1] == "[" else _MAX_INLINE_CHARS)
    return not rest and re.fullmatch(r"\\\\?|\\b[a-zA-Z{*]*", found) is not None


def _is_not_prose(rest: str) -> bool:
    """Whether the text after a dollar may be a formula, as opposed to that after a price or a variable."""
    if not rest:
        return True
    if rest[0].isspace() or re.search(r"(?<!\\)\$|`", rest):
        return False
    has_sign = _latex_sign.search(rest) is not None
    if len(rest) > (_MAX_INLINE_CHARS if has_sign else _MAX_PLAIN_CHARS) or ("\n" in rest and not has_sign):
        return False
    words = _latex_words.sub("", rest)
    return not (_price_and_word.match(words) or _two_words.search(words))
