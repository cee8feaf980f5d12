"""Write a value of the notebook as text for a model, or as an image: into a prompt, and as the result of a tool.

The first rule that fits decides:

1. A text stays whole. All other text is cut after 20,000 characters, with a note. Text of which less is sent is a
   ``ShortenedText``, whose remark says how much.
2. An exception becomes its type and message. An ``Answer`` becomes its text; several answers, their texts below the
   names of their models. A numpy array becomes its shape, its dtype and a summary. The bytes of an image become that
   image; other bytes are written as a literal.
3. A table or a column of any library becomes its shape, dtypes and a Markdown table (``table_text``). Whole numbers
   keep all digits, in lists and arrays, too.
4. The result of ``_repr_markdown_`` or ``_repr_latex_`` is used (so sympy is sent as LaTeX, not as an image).
5. A value that can show itself as an image (see ``media.from_object``) is attached, and ``[image: fig.png]`` is written
   in the text.
6. The text of its mime bundle is used: Markdown, LaTeX, plain text, JSON, or the text of its HTML.
7. The ``str`` of its class is used if it defines one, else what IPython prints for it; if that is the name of its class
   only, its JSON or the text of its HTML (so a Styler becomes its rows). An address in memory is never sent.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from traceback import format_exception_only
from typing import Any

from ..markdown.data_uris import shorten_data_uris
from ..media.attachment import Attachment
from ..media.convert import attach
from ..media.from_object import figure_of, is_of, picture_of
from ..media.sniff import media_type
from .html_text import html_text
from .table_text import ShortenedText, exact_numbers, table_text

LONGEST_VALUE = 20_000  # characters
_MAX_ARRAY = 1000  # values of an array that is not summarized
_BUNDLE_TYPES = {"text/markdown", "text/latex", "text/plain", "application/json", "text/html"}
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+(?=[^<>]*>)|\A at 0x[0-9a-fA-F]+\Z")  # in <Name at 0x7f>, whole or its end
_NAME_ONLY = re.compile(r"\s*<[\w.<>]+(?: object)?(?: at 0x[0-9a-fA-F]+)?>\s*")  # all that an object says by default
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\].*?(?:\x07|\x1b\\))")  # colors and links of a terminal


def show(value: Any) -> str | Attachment:
    """Return a value as text, or as an image to attach, by the rules above."""
    if isinstance(value, Attachment):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, BaseException):
        return _cut("".join(format_exception_only(value)).strip())
    if is_of(value, "nb_backend", "Answer", "Answers"):
        return _cut(shorten_data_uris(str(value)))
    if is_of(value, "numpy", "ndarray") and (value.dtype != object or figure_of(value) is None):
        text = _cut(f"{type(value).__name__}, shape {value.shape}, dtype {value.dtype}:\n{_array(value)}")
        is_whole = value.size <= _MAX_ARRAY
        return text if is_whole else ShortenedText(text, f"a summary of {value.size:,} values sent")
    if isinstance(value, bytes | bytearray | memoryview):
        data, limit = bytes(value), LONGEST_VALUE // 4  # a byte is written with at most four characters
        if (media_type(data) or "").startswith("image/"):
            return attach(data)
        if len(data) <= limit:
            return repr(data)
        text = f"{data[:limit]!r} … [{len(data) - limit:,} more bytes left out]"
        return ShortenedText(text, f"{limit:,} of {len(data):,} bytes sent")
    with exact_numbers():
        if (table := table_text(value, _plain)) is not None:
            return table
        for hook in ("_repr_markdown_", "_repr_latex_"):
            if isinstance(text := _call(value, hook), str):
                return _cut(text)
        return _image(value) or _shown_text(value)


def _array(value: Any) -> str:
    """Return what numpy prints for an array; if that has an exponent, with all digits of whole numbers instead."""
    with sys.modules["numpy"].printoptions(threshold=_MAX_ARRAY, edgeitems=3 if value.ndim < 4 else 1):
        text = repr(value)
        if "e+" in text:
            with exact_numbers():
                text = repr(value)
    return text


def _shown_text(value: Any) -> str:
    """Return the text that a notebook shows for a value: of its mime bundle, its own, or that of its HTML."""
    if type(value).__module__ == "builtins":
        return _plain(value)
    if (text := bundle_text(_call(value, "_repr_mimebundle_", include=_BUNDLE_TYPES, exclude=None))) is not None:
        return _cut(text)
    own = _plain(value)
    if not (_NAME_ONLY.fullmatch(own) or _has_address(value)):
        return own
    if (shown := _call(value, "_repr_json_")) is not None:
        return _cut(_json(shown))
    html = _call(value, "_repr_html_")
    return _cut(html_text(html)) or own if isinstance(html, str) else own


def _has_address(value: Any) -> bool:
    """Whether an object that shows itself as HTML prints an address in memory: it has no better text then."""
    with suppress(Exception):
        return callable(getattr(type(value), "_repr_html_", None)) and _ADDRESS.search(repr(value)) is not None
    return False


def bundle_text(bundle: Any) -> str | None:
    """Return the text of a mime bundle; ``None`` if it has none, or only the name of the object's class."""
    if not isinstance(bundle, Mapping):
        return None
    for kind in ("text/markdown", "text/latex"):
        if isinstance(text := bundle.get(kind), str):
            return text
    plain = bundle.get("text/plain")
    if isinstance(plain, str) and plain.strip() and not _NAME_ONLY.fullmatch(plain := _ANSI.sub("", plain)):
        return plain
    if "application/json" in bundle:
        return _json(bundle["application/json"])
    html = bundle.get("text/html")
    return (html_text(html) or None) if isinstance(html, str) else None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _image(value: Any) -> Attachment | None:
    if type(value).__module__ == "builtins":
        return None
    found = picture_of(value)
    return None if found is None else attach(found)


def _plain(value: Any) -> str:
    if getattr(type(value), "__str__", None) is not object.__str__:
        return _cut(_without_address(str(value)))
    size = len(value) if isinstance(value, list | tuple | set | frozenset | dict) else 0
    printer = _printer()(output := _BoundedText(), max_width=100)
    cut = size > printer.max_seq_length  # then the printer writes "..." itself
    try:
        printer.pretty(value)
        printer.flush()
    except _FullError:
        cut = True
    if not cut:
        return output.getvalue()
    what = f"{type(value).__name__} of {size:,} items, " if size else ""
    remark = f"the first of {size:,} items sent" if size else f"the first {LONGEST_VALUE:,} characters sent"
    return ShortenedText(f"{output.getvalue()}\n… [{what}the rest left out]", remark)


@cache
def _printer() -> Any:
    from IPython.lib.pretty import RepresentationPrinter  # only when it is needed

    class Printer(RepresentationPrinter):
        """IPython's printer, without the addresses of objects in memory."""

        def text(self, obj: str) -> None:
            super().text(_without_address(obj))  # type: ignore[no-untyped-call]

    return Printer


def _without_address(text: str) -> str:
    """Return the text of an object without its address in memory, which tells a model nothing. A text is kept."""
    if " at 0x" not in text or text.startswith(("'", '"', "b'", 'b"')):
        return text
    return _ADDRESS.sub("", text)


class _FullError(Exception):
    pass


class _BoundedText(io.StringIO):
    """Text buffer that raises ``_FullError`` at ``LONGEST_VALUE``, so that printing a huge value ends early."""

    def write(self, text: str) -> int:
        if super().write(text[: LONGEST_VALUE - self.tell()]) < len(text):
            raise _FullError
        return len(text)


def _call(value: Any, hook: str, **options: Any) -> Any:
    """Return what a display hook of an object returns, or ``None`` if its class has no such hook."""
    if isinstance(value, type) or not callable(getattr(type(value), hook, None)):
        return None
    try:
        shown = getattr(value, hook)(**options)
    except NotImplementedError:
        return None
    return shown[0] if isinstance(shown, tuple) and shown else shown  # without its metadata


def _cut(text: str) -> str:
    rest = len(text) - LONGEST_VALUE
    if rest <= 0:
        return text
    remark = f"{LONGEST_VALUE:,} of {len(text):,} characters sent"
    return ShortenedText(f"{text[:LONGEST_VALUE]}\n… [{rest:,} more characters left out]", remark)
