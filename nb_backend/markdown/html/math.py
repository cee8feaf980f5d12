"""Convert a formula in LaTeX to MathML that consists of listed elements and attributes only."""

from __future__ import annotations

import re
from functools import lru_cache
from html import escape
from xml.etree.ElementTree import Element

from latex2mathml.converter import Converter

from .mathml_core import mend

MAX_CHARS = 2_000  # a longer formula is shown as text; the time to convert one grows with its length only, as
# formulas that define macros are refused (`elements.safe_formula`)
_MAX_DEPTH = 60  # nested elements
_length = r"[+-]?(?:\d?(?:\.\d{1,4})?(?:em|ex|cm|in)?|\d{1,2}(?:\.\d{1,4})?(?:px|pt|mu|mm))"
_lengths = rf"{_length}(?: {_length}){{0,40}}"
_named_space = r"(?:negative)?(?:thin|medium|thick)mathspace"
_words = r"[a-z-]{1,24}(?: [a-z-]{1,24}){0,40}"
_color = r"#[0-9A-Fa-f]{3,6}|[A-Za-z]{1,24}"
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
    **dict.fromkeys(("mathcolor", "mathbackground"), _color),
    **dict.fromkeys(
        ("stretchy", "fence", "separator", "largeop", "movablelimits", "accent", "displaystyle"), r"true|false"
    ),
    **dict.fromkeys(("mathvariant", "form", "linebreak", "side"), r"[a-z-]{1,24}"),
    "scriptlevel": r"[+-]?\d",
}  # name to the pattern of its values; no length reaches far out of the formula
ATTRIBUTES["width"] += f"|{_named_space}"
_values = {name: re.compile(value) for name, value in ATTRIBUTES.items()}
_unknown_environment = re.compile(
    r"\\(begin|end)\{(?:equation|multline|gather(?:ed)?|eqnarray|flalign|alignat|align(?:ed)?)\*?\}"
)
_substack = re.compile(r"\\substack\s*\{[^{}]*\}")
_macro = re.compile(r"\\[A-Za-z]")
_alignat_columns = re.compile(r"(\\begin\{alignat\*?\})\{\d{1,2}\}")
_rewritten = (
    (re.compile(r"\\(?:label\s*\{[^{}]*\}|(?:notag|nonumber)(?![A-Za-z]))"), ""),
    (re.compile(r"\\(?:arg(?![A-Za-z])|operatorname\*?\s*\{\s*arg\s*\})\s*\\(max|min)(?![A-Za-z])"), r"\\arg\1 "),
    (re.compile(r"\\operatorname\*?\s*\{\s*arg\s*(?:\\[,;: ]\s*)?(max|min)\s*\}"), r"\\arg\1 "),
    (re.compile(r"\\arg(?![A-Za-z])"), r"\\operatorname{arg}"),
    (re.compile(r"\\operatorname\*"), r"\\operatorname"),
    (re.compile(r"\\mathrm\s*\{([A-Za-z])\}"), r"{\\rm \1}"),
    (re.compile(r"\\not\s*="), r"\\ne "),
    (re.compile(r"\\not\s*\\in(?![A-Za-z])"), r"\\notin "),
)  # what latex2mathml does not know or shows in another way, and what it shows as LaTeX does


@lru_cache(maxsize=512)
def mathml(latex: str, *, display: bool) -> str | None:
    """Return a formula as ``<math>``; None if it is too long or cannot be converted. Never raises.

    ``alttext`` is the LaTeX: a page that has MathJax shows the formula with it.
    """
    if len(latex) > MAX_CHARS:
        return None
    converter = Converter(display="block" if display else "inline")
    known = _replace_environments(latex)
    for pattern, replacement in _rewritten:
        known = pattern.sub(replacement, known)
    try:
        root = converter.convert_to_element(known)
        mend(root, limits="\\nolimits" not in latex)
        content = "".join(_serialize(child, 0) for child in root)
    except Exception:  # latex2mathml raises its own errors for many mistakes, and unplanned ones for others
        return None
    return f'<math display="{converter.display}" alttext="{escape(latex)}">{content}</math>'


def value_is_known(name: str, value: str) -> bool:
    """Whether an attribute of MathML may have this value."""
    return name in _values and _values[name].fullmatch(value) is not None


def _replace_environments(latex: str) -> str:
    """Replace environments that latex2mathml does not know by known ones that look the same."""
    latex = _unknown_environment.sub(_known_environment, _alignat_columns.sub(r"\1", latex))
    if "\\\\" in _substack.sub("", latex) and "\\begin" not in latex:  # several lines outside of an environment
        kind = "split" if "&" in latex else "matrix"
        return f"\\begin{{{kind}}}{latex}\\end{{{kind}}}"
    return latex


def _known_environment(match: re.Match[str]) -> str:
    if "equation" in match[0]:
        return ""
    kind = "matrix" if re.search("gather|multline", match[0]) else "split"
    return f"\\{match[1]}{{{kind}}}"


def _serialize(element: Element, depth: int) -> str:
    """Return an element as text; of one that is not listed, only its content."""
    if depth > _MAX_DEPTH:
        raise ValueError("the formula is nested too deeply")
    if element.tag in ("mi", "mo") and _macro.match(element.text or ""):
        raise ValueError("the formula has an unknown macro")
    text = escape(element.text or "") + "".join(_serialize(child, depth + 1) for child in element)
    tail = escape(element.tail or "")
    if element.tag not in ELEMENTS:
        return text + tail
    attributes = "".join(
        f' {name}="{value}"' for name, value in element.attrib.items() if value_is_known(name, str(value))
    )
    return f"<{element.tag}{attributes}>{text}</{element.tag}>{tail}"
