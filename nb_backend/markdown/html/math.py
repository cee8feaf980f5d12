"""A formula in LaTeX as MathML, of which every element and attribute is known to do nothing but show."""

from __future__ import annotations

import re
from functools import lru_cache
from html import escape, unescape
from xml.etree.ElementTree import Element

from latex2mathml.converter import Converter

MOST = 2_000  # characters of a formula; what it costs grows with them, and macros, which would multiply it, are refused
_DEEPEST = 60
_ALTERNATIVE = 500  # characters that a reader who cannot see the formula is told
_length = r"[+-]?(?:\d?(?:\.\d{1,4})?(?:em|ex|cm|in)?|\d{1,2}(?:\.\d{1,4})?(?:px|pt|mu|mm))"
_lengths = rf"{_length}(?: {_length}){{0,40}}"
_name = r"(?:negative)?(?:thin|medium|thick)mathspace"
_words = r"[a-z-]{1,24}(?: [a-z-]{1,24}){0,40}"
_colour = r"#[0-9A-Fa-f]{3,6}|[A-Za-z]{1,24}"
ELEMENTS = frozenset({
    "math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "ms", "mfrac", "msqrt", "mroot", "mstyle", "mpadded",
    "mphantom", "menclose", "msub", "msup", "msubsup", "munder", "mover", "munderover", "mmultiscripts",
    "mprescripts", "none", "mtable", "mtr", "mtd", "mlabeledtr",
})  # fmt: skip
ATTRIBUTES = {
    **dict.fromkeys(("width", "height", "depth", "lspace", "rspace", "minsize", "maxsize", "voffset"), _length),
    **dict.fromkeys(("mathsize", "linethickness"), _length),
    **dict.fromkeys(("rowspacing", "columnspacing"), _lengths),
    **dict.fromkeys(("columnalign", "rowalign", "columnlines", "rowlines", "frame", "notation"), _words),
    **dict.fromkeys(("mathcolor", "mathbackground"), _colour),
    **dict.fromkeys(
        ("stretchy", "fence", "separator", "largeop", "movablelimits", "accent", "displaystyle"), r"true|false"
    ),
    **dict.fromkeys(("mathvariant", "form", "linebreak", "side"), r"[a-z-]{1,24}"),
    "scriptlevel": r"[+-]?\d",
}  # by name, what its value may be; no length reaches far out of the formula


ATTRIBUTES["width"] += f"|{_name}"


_values = {name: re.compile(value) for name, value in ATTRIBUTES.items()}
_environment = re.compile(
    r"\\(begin|end)\{(?:equation|multline|gather(?:ed)?|eqnarray|flalign|alignat|align(?:ed)?)\*?\}"
)
_unknown = re.compile(r"\\[A-Za-z]")
_columns = re.compile(r"(\\begin\{alignat\*?\})\{\d{1,2}\}")


@lru_cache(maxsize=512)
def mathml(latex: str, *, display: bool) -> str | None:
    """Give a formula as ``<math>``; None for what is too long or cannot be read as LaTeX; never raises."""
    if len(latex) > MOST:
        return None
    converter = Converter(display="block" if display else "inline")
    try:
        inside = "".join(_written(child, 0) for child in converter.convert_to_element(_plainer(latex)))
    except Exception:  # of the reader, which has an error for each kind of mistake, and fails in more ways than these
        return None
    shown = latex if len(latex) <= _ALTERNATIVE else latex[: _ALTERNATIVE - 1] + "…"
    return f'<math display="{converter.display}" alttext="{escape(shown)}">{inside}</math>'


def value_is_known(name: str, value: str) -> bool:
    """Whether an attribute of MathML may have a value."""
    return name in _values and _values[name].fullmatch(value) is not None


def _plainer(latex: str) -> str:
    """Write the environments that the reader does not know as those that look the same."""
    latex = _environment.sub(_plainer_environment, _columns.sub(r"\1", latex))
    if "\\\\" in latex and "\\begin" not in latex:  # lines of no environment
        kind = "split" if "&" in latex else "matrix"
        return f"\\begin{{{kind}}}{latex}\\end{{{kind}}}"
    return latex


def _plainer_environment(match: re.Match[str]) -> str:
    if "equation" in match[0]:
        return ""
    kind = "matrix" if re.search("gather|multline", match[0]) else "split"
    return f"\\{match[1]}{{{kind}}}"


def _written(element: Element, depth: int) -> str:
    """Give an element as text. The reader leaves entities in its texts, and writes signs of the formula unescaped."""
    if depth > _DEEPEST:
        raise ValueError("a formula so deep")
    if element.tag in ("mi", "mo") and _unknown.match(element.text or ""):
        raise ValueError("a macro that is not known")
    text = escape(unescape(element.text or "")) + "".join(_written(child, depth + 1) for child in element)
    tail = escape(unescape(element.tail or ""))
    if element.tag not in ELEMENTS:
        return text + tail
    attributes = "".join(
        f' {name}="{value}"' for name, value in element.attrib.items() if value_is_known(name, str(value))
    )
    return f"<{element.tag}{attributes}>{text}</{element.tag}>{tail}"
