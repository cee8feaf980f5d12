"""Mend the MathML of latex2mathml for browsers, which know only MathML Core.

In MathML Core, ``mathvariant`` knows only "normal", so bold or script letters have to be characters of their own; what
is an operator, and so gets space around it, is an ``mo``; and the limits of an operator are in ``munderover``, from
where the browser moves them beside the operator in the line of a text (w3c.github.io/mathml-core).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from html import unescape
from xml.etree.ElementTree import Element

_LARGE_OPERATORS = frozenset("∑∏∐⋂⋃⨀⨁⨂⨄⨅⨆⋀⋁")
_OPERATORS_WITH_LIMITS = frozenset({
    "lim", "lim sup", "lim inf", "max", "min", "sup", "inf", "det", "gcd", "Pr", "arg max", "arg min", "argmax",
    "argmin",
})  # fmt: skip
_CHILD_COUNTS = {"mfrac": 2, "mroot": 2, "msub": 2, "msup": 2, "msubsup": 3, "munder": 2, "mover": 2, "munderover": 3}
_LIMITS = {"msub": "munder", "msup": "mover", "msubsup": "munderover"}
_WITH_INDICES = frozenset({*_LIMITS, *_LIMITS.values()})
_THIN = "0.167em"
_ACCENTS = frozenset("¯→←~˙¨^˚´ˇ˘`⃛⃡")
_BARS = frozenset("|‖∥")
_OPERATOR_KINDS = ("Sm", "Ps", "Pe")  # Unicode categories
_STYLES = {
    "bold": ("BOLD",),
    "italic": ("ITALIC",),
    "bold-italic": ("BOLD ITALIC", "BOLD"),  # there are no italic digits
    "script": ("SCRIPT",),
    "double-struck": ("DOUBLE-STRUCK",),
    "fraktur": ("FRAKTUR", "BLACK-LETTER"),
    "sans-serif": ("SANS-SERIF",),
    "monospace": ("MONOSPACE",),
}  # `mathvariant` to the words in the names of Unicode's letters


def mend(element: Element, *, limits: bool = True) -> None:
    """Mend an element and all within it; ``limits``: those of a sum are above and below it.

    Raises ``ValueError`` if an element lacks a part, such as the denominator of a fraction.
    """
    element.text = text = unescape(element.text or "")  # latex2mathml leaves entities in its texts
    element.tail = unescape(element.tail or "")
    for child in element:
        mend(child, limits=limits)
    children = [*element]
    if len(children) != _CHILD_COUNTS.get(element.tag, len(children)):
        raise ValueError(f"{element.tag} has {len(children)} children")  # browsers show it as an error
    if element.tag in ("mi", "mo"):
        text = re.sub(r"\s", " ", text)  # a narrow space in "arg max"
        element.text = text = text[1] if len(text) == 2 and text[0] == "\\" else text  # ``\bigl\{``
    if element.tag == "mi" and len(text) == 1 and (unicodedata.category(text) in _OPERATOR_KINDS or text in ":‖"):
        _become_operator(element, text)
    elif variant := element.attrib.get("mathvariant"):
        _use_letters(element, str(variant))
    _mend_siblings(children)
    if element.tag == "mpadded" and "voffset" in element.attrib:  # the text of an arrow
        element.tag, element.attrib = "mrow", {}
        element.insert(0, Element("mspace", {"width": "0.4em"}))
        element.append(Element("mspace", {"width": "0.4em"}))
    if limits and element.tag in _LIMITS and children[0].tag == "mo":
        if children[0].text in _OPERATORS_WITH_LIMITS:
            children[0].set("movablelimits", "true")
        if children[0].text in _OPERATORS_WITH_LIMITS | _LARGE_OPERATORS:
            element.tag = _LIMITS[element.tag]
    elif element.tag in ("mover", "munder") and len(children) == 2 and children[1].tag == "mo":
        _mend_accent(element, children[1])


def _mend_siblings(siblings: list[Element]) -> None:
    for i, child in enumerate(siblings):
        before, after = siblings[i - 1] if i else None, siblings[i + 1] if i + 1 < len(siblings) else None
        if child.tag == "mo" and child.text in _BARS and "fence" not in child.attrib:
            _mend_bar(child, before, after)
        if (function := _function_name(child)) is not None:
            function.tag = "mo"
            function.set("lspace", _THIN if before is not None and before.tag not in ("mo", "mspace") else "0em")
            function.set("rspace", _THIN if after is not None and after.tag not in ("mo", "mspace") else "0em")


def _mend_bar(bar: Element, before: Element | None, after: Element | None) -> None:
    """Mend a bar that is not of ``\\left``: there is no space around it, and only beside a table it stretches."""
    form = "prefix" if after is not None and after.tag == "mtable" else "postfix"
    stretches = form == "prefix" or (before is not None and before.tag == "mtable")
    bar.attrib |= {"stretchy": "true", "form": form} if stretches else {"stretchy": "false"}
    bar.attrib |= {"lspace": "0em", "rspace": "0em"}


def _function_name(element: Element) -> Element | None:
    """Return the name, such as "log", that an element consists of, perhaps with indices."""
    if element.tag in _WITH_INDICES and len(element):
        return _function_name(element[0])
    text = (element.text or "").replace(" ", "")
    return element if element.tag in ("mi", "mo") and len(text) > 1 and text.isascii() and text.isalpha() else None


def _become_operator(element: Element, text: str) -> None:
    """Turn an identifier such as ``<mi>⟺</mi>`` into an operator; a bracket does not stretch."""
    element.tag = "mo"
    if text == "~":
        element.text = "∼"
    if unicodedata.category(text) != "Sm" or text in _BARS:
        element.set("stretchy", "false")


def _mend_accent(element: Element, accent: Element) -> None:
    """Write a line over or under letters as ``menclose``, which needs no font; keep the size of an accent."""
    if accent.text == "―":
        element.remove(accent)
        inner = element[0]
        element.remove(inner)
        element.append(inner)
        element.set("notation", "top" if element.tag == "mover" else "bottom")
        element.tag = "menclose"
    elif accent.text in _ACCENTS and element.tag == "mover":
        element.set("accent", "true")


def _use_letters(element: Element, variant: str) -> None:
    """Write the letters of a style as characters; the attribute stays where Unicode lacks one of them."""
    letters = [_letter(character, variant) for character in element.text or ""]
    if variant in _STYLES and all(letters):
        element.text = "".join(letters)
        del element.attrib["mathvariant"]


@lru_cache(maxsize=2048)
def _letter(character: str, variant: str) -> str:
    """Return a letter or digit in a style; "" if there is none. Other characters stay."""
    if not character.isalnum():
        return character
    name = unicodedata.name(character, "").replace("LATIN ", "").replace("GREEK ", "").replace("LETTER ", "")
    for style in _STYLES.get(variant, ()):
        for found in (f"MATHEMATICAL {style} {name}", f"{style} {name}"):
            try:
                return unicodedata.lookup(found)
            except KeyError:
                continue
    return "ℎ" if (character, variant) == ("h", "italic") else ""
