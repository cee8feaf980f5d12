"""Clean HTML before it is sent to the page: only elements, attributes and classes listed here remain."""

from __future__ import annotations

import re

import nh3

from .code import CLASSES
from .math import ATTRIBUTES, ELEMENTS, value_is_known

_TAGS = frozenset({
    "p", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "div", "table", "thead", "tbody", "tr", "th",
    "td", "hr", "br", "em", "strong", "del", "code", "pre", "figure", "figcaption", "span", "a", "img",
    "details", "summary",
})  # fmt: skip
_ATTRIBUTES = {
    "a": {"href", "data-remote"},
    "img": {"alt", "data-picture"},
    "ol": {"start"},
    "th": {"align"},
    "td": {"align"},
    "div": {"aria-label"},
    "math": {"alttext"},
}  # `_attribute_value` checks their values
_ATTRIBUTE_VALUES = {
    "pre": {"tabindex": {"0"}},
    "div": {"tabindex": {"0"}, "role": {"group", "math"}},
    "span": {"role": {"img"}, "aria-label": {"done", "open"}},
    "math": {"display": {"block", "inline"}},
}
_CLASSES = {
    "div": {"nbb-table", "nbb-math"},
    "figure": {"nbb-code"},
    "li": {"nbb-task"},
    "code": {"nbb-tex", "nbb-latex"},
    "a": {"nbb-remote"},
    "span": {*CLASSES, "nbb-tool", "nbb-preview", "nbb-how"},
    "p": {"nbb-failure"},
    "details": {"nbb-step"},
}
_HTTP_URL = r"https?://[A-Za-z0-9][^\s<>\"'`\\]*"
_value_patterns = {
    "href": re.compile(rf"{_HTTP_URL}|mailto:[^\s<>\"'`\\]*"),
    "data-remote": re.compile(_HTTP_URL),
    "data-picture": re.compile(r"[\w.:-]{1,200}", re.ASCII),
    "start": re.compile(r"\d{1,9}", re.ASCII),
    "align": re.compile("left|center|right"),
}


def _attribute_value(tag: str, name: str, value: str) -> str | None:
    """Return the value of an attribute; None removes the attribute."""
    if tag in ELEMENTS and name in ATTRIBUTES:
        return value if value_is_known(name, value) else None
    pattern = _value_patterns.get(name)
    return value if pattern is None or pattern.fullmatch(value) else None


_cleaner = nh3.Cleaner(
    tags=set(_TAGS | ELEMENTS),
    clean_content_tags={"script", "style"},
    attributes={**_ATTRIBUTES, **{name: set(ATTRIBUTES) | _ATTRIBUTES.get(name, set()) for name in ELEMENTS}},
    attribute_filter=_attribute_value,
    tag_attribute_values=_ATTRIBUTE_VALUES,
    set_tag_attribute_values={"a": {"target": "_blank"}},
    allowed_classes=_CLASSES,
    url_schemes={"http", "https", "mailto"},
    url_relative="deny",
    link_rel="noopener noreferrer",
)


def clean(html: str) -> str:
    """Return HTML without anything that is not listed, and with every element closed."""
    return _cleaner.clean(html)
