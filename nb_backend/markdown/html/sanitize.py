"""The last gate before the page: HTML in which nothing stands but what is named here."""

from __future__ import annotations

import re

import nh3

from .code import CLASSES
from .math import ATTRIBUTES, ELEMENTS, value_is_known

_TAGS = frozenset({
    "p", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "div", "table", "thead", "tbody", "tr", "th",
    "td", "hr", "br", "em", "strong", "del", "code", "pre", "figure", "figcaption", "span", "a", "img",
})  # fmt: skip
_FREE = {
    "a": {"href", "data-remote"},
    "img": {"alt", "data-picture"},
    "ol": {"start"},
    "th": {"align"},
    "td": {"align"},
    "div": {"aria-label"},
    "math": {"alttext"},
}  # attributes whose value is looked at
_FIXED = {
    "pre": {"tabindex": {"0"}},
    "div": {"tabindex": {"0"}, "role": {"group", "math"}},
    "span": {"role": {"img"}, "aria-label": {"done", "open"}},
    "math": {"display": {"block", "inline"}},
}
_CLASSES = {
    "div": {"nbb-table", "nbb-math"},
    "figure": {"nbb-code"},
    "li": {"nbb-task"},
    "code": {"nbb-tex"},
    "a": {"nbb-remote"},
    "span": set(CLASSES),
}
_WEB = r"https?://[A-Za-z0-9][^\s<>\"'`\\]*"
_values = {
    "href": re.compile(rf"{_WEB}|mailto:[^\s<>\"'`\\]*"),
    "data-remote": re.compile(_WEB),
    "data-picture": re.compile(r"[\w.:-]{1,200}", re.ASCII),
    "start": re.compile(r"\d{1,9}", re.ASCII),
    "align": re.compile("left|center|right"),
}


def _value(tag: str, name: str, value: str) -> str | None:
    """Give the value of an attribute, None for one that is not allowed."""
    if tag in ELEMENTS and name in ATTRIBUTES:
        return value if value_is_known(name, value) else None
    allowed = _values.get(name)
    return value if allowed is None or allowed.fullmatch(value) else None


_cleaner = nh3.Cleaner(
    tags=set(_TAGS | ELEMENTS),
    clean_content_tags={"script", "style"},
    attributes={**_FREE, **{name: set(ATTRIBUTES) | _FREE.get(name, set()) for name in ELEMENTS}},
    attribute_filter=_value,
    tag_attribute_values=_FIXED,
    set_tag_attribute_values={"a": {"target": "_blank"}},
    allowed_classes=_CLASSES,
    url_schemes={"http", "https", "mailto"},
    url_relative="deny",
    link_rel="noopener noreferrer",
)


def clean(html: str) -> str:
    """Give a block of HTML without whatever is not in the panel's contract, and every element closed."""
    return _cleaner.clean(html)
