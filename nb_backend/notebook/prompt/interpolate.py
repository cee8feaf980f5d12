r"""Fill in the values of a prompt: each ``{{ expression }}`` is replaced by the value of the expression.

An expression stands between ``{{`` and the first ``}}`` that is outside its strings and brackets. It is one whole
Python expression of at most 2,000 characters, without a blank line, a comment, a comma outside brackets or a ``{{``
outside strings. It is not a constant other than a text, and not empty brackets. Everything else stays as it is,
character for character: JSON, LaTeX, ``{{0}}`` and ``{{1, 2}}`` of C, ``{{ .Name }}`` and ``{{#if x}}`` of templates.
These stay too:

- three or more braces in a row: ``{{{x}}}``
- braces right after LaTeX or code, that is, after ``\command``, ``\command_``, ``^`` or a ``}`` that ends no
  expression: ``\frac{{a}}{{b}}``
- an expression after a backslash: of ``\{{ x }}`` only the backslash goes. ``{{ "{{" }}`` also makes braces.

Use ``--raw`` if text looks like an expression but is not meant as one (``x_{{i}}``, ``{{ message }}`` of a template).

All names are looked up before anything is evaluated. Then each expression is evaluated once, in order. Values are never
evaluated. ``values`` says how a value is written.
"""

from __future__ import annotations

import builtins
import os
import re
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from traceback import format_exception_only
from typing import Any
from urllib.parse import urlsplit

from ...media.attachment import Attachment, file_name, unique_name
from ...text import truncate
from ...tools.table_text import ShortenedText
from ...tools.values import show
from .expression import Expression, expressions

RAISED = (Exception, SystemExit, GeneratorExit)
"""The exceptions of an expression that are reported in one line; an interrupt is not one of them."""

_MAX_LABEL = 30  # characters of an expression in a remark
_OR_RAW = "or use --raw to send the braces as typed"  # of a cell


class PromptError(ValueError):
    """A prompt that cannot be sent as it is; the message is one line and says what to do."""


@dataclass(frozen=True)
class Prompt:
    """A prompt after interpolation: the text, and the images that it names, in order, by their file names.

    ``remarks`` say of which values less is sent: "df: 20 of 200 rows sent".
    """

    text: str
    images: dict[str, Attachment] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def fill_in(source: str, names: dict[str, Any], *, otherwise: str = _OR_RAW) -> Prompt:
    """Replace the expressions of a prompt by their values, as ``render`` does. This runs the user's code.

    The names that an expression assigns (``:=``) are added to ``names``.
    """
    return render(source, partial(evaluate, names), names=names, otherwise=otherwise)


def evaluate(names: dict[str, Any], code: str) -> Any:
    """Return the value of an expression with these names."""
    return eval(code, names)  # noqa: S307  it is the user's own code


def render(source: str, evaluate: Callable[[str], Any], *, names: Container[str], otherwise: str = _OR_RAW) -> Prompt:
    """Replace the expressions of a prompt by their values; a prompt without expressions stays as it is.

    ``names`` are those of the user's namespace; Python's built-in names are known. ``PromptError`` lists the names that
    are not defined, before anything is evaluated, or names the expression that failed. Its last words are
    ``otherwise``: how to send the braces as typed.
    """
    found = list(expressions(source))
    _check_names([expression for expression in found if not expression.escaped], names, otherwise)
    parts: list[str] = []
    images: dict[str, Attachment] = {}
    remarks: list[str] = []
    done = 0
    for expression in found:
        if expression.escaped:
            parts.append(source[done : expression.start - 1])
            done = expression.start
            continue
        parts.append(source[done : expression.start])
        done = expression.end
        try:
            value = evaluate(expression.code)
            shown = show(value)
        except RAISED as error:
            raise PromptError(f"{expression} raised {describe_error(error)}: correct it, {otherwise}") from error
        if isinstance(shown, ShortenedText):
            remarks.append(f"{_label(expression.code)}: {shown.remark}")
        if isinstance(shown, Attachment):
            shown = f"[image: {add_image(images, shown, '' if shown is value else expression.code)}]"
        elif "\n" in shown and not isinstance(value, str):
            shown = _on_own_lines(shown, source[: expression.start][-1:], source[done : done + 2])
        parts.append(shown)
    text = "".join([*parts, source[done:]]) if found else source
    return Prompt(text, images, [*dict.fromkeys(remarks)])


def describe_error(error: BaseException) -> str:
    """Return the last line of the exception's traceback: its type and its message, in at most 300 characters."""
    return truncate(" ".join("".join(format_exception_only(error)).split()), 300)


def _label(code: str) -> str:
    """Return an expression in a few characters, with no key in it."""
    from ... import settings
    from ...redaction import redact

    return truncate(redact(" ".join(code.split()), settings.known_keys()), _MAX_LABEL)


def _on_own_lines(text: str, before: str, after: str) -> str:
    """Separate a text of several lines from what is before and after it; a blank line follows a Markdown table."""
    line_ends = 2 if text.endswith("|") else 1
    existing = len(after) - len(after.lstrip("\n"))
    return "\n" * (before not in "\n") + text + "\n" * (line_ends - existing if after else 0)


def _check_names(found: list[Expression], names: Container[str], otherwise: str) -> None:
    bound: set[str] = set()
    missing: dict[str, Expression] = {}
    for expression in found:
        for name in expression.reads:
            if name not in bound and name not in names and not hasattr(builtins, name):
                missing.setdefault(name, expression)
        bound |= expression.binds
    if missing:
        where = list(dict.fromkeys(map(str, missing.values())))
        where[5:] = [f"{len(where) - 5} more"] if len(where) > 5 else []
        are, them = ("is", "it") if len(missing) == 1 else ("are", "them")
        raise PromptError(f"{_join(where)}: {_join(missing)} {are} not defined: define {them}, {otherwise}")


def add_image(images: dict[str, Attachment], image: Attachment, code: str) -> str:
    """Add an image, named after its expression, or by its own name if ``code`` is ""; return the name.

    An image that is there already is not added again.
    """
    for name, added in images.items():
        if added.uri == image.uri:
            return name
    if not code:
        return add_named_image(images, image, image.name)
    names_a_value = re.fullmatch(r"""[\w.]+(?:\[[\w '".-]+\]|\.\w+)*""", code)  # a name, an attribute, a subscript
    stem = re.sub(r"\W+", "_", code).strip("_")[:40] if names_a_value else ""
    if image.media_type:
        return add_named_image(images, image, file_name(stem, image.media_type))
    return add_named_image(images, image, f"{stem or 'image'}{os.path.splitext(urlsplit(image.uri).path)[1]}")


def add_named_image(images: dict[str, Attachment], image: Attachment, name: str) -> str:
    """Add an image under this name, or a similar one if another image has it; return the name."""
    if name in images and images[name].uri == image.uri:
        return name
    free = unique_name(name, images)
    images[free] = replace(image, name=free)
    return free


def _join(words: Iterable[str]) -> str:
    *rest, last = words
    return f"{', '.join(rest)} and {last}" if rest else last
