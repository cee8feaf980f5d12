r"""Prompts that see the notebook: each ``{{ expression }}`` gives its place to the expression's value.

An expression stands between ``{{`` and the ``}}`` that is outside its strings and brackets. It is one whole Python
expression of at most 2,000 characters, with no blank line, no comment, no comma outside brackets and no ``{{`` outside
strings in it; and a constant alone is none, unless a text, nor are empty brackets. Whatever is no expression stays as
it is, character for character: JSON, LaTeX, ``{{0}}`` and ``{{1, 2}}`` of C, ``{{ .Name }}`` and ``{{#if x}}`` of
templates. So do

- three and more braces in a row: ``{{{x}}}``;
- braces that hug LaTeX or code, that is, right after ``\command``, ``\command_``, ``^`` or a ``}`` which ends no
  expression: ``\frac{{a}}{{b}}``;
- an expression after a backslash: of ``\{{ x }}`` only the backslash goes. ``{{ "{{" }}`` gives braces, too.

What looks like an expression and is meant to be none (``x_{{i}}``, ``{{ message }}`` of a template) wants ``--raw``.

Names are looked up before anything is evaluated. Then each expression is evaluated once, in order; what a value
holds is never evaluated. How a value is shown stands in ``values``.
"""

from __future__ import annotations

import ast
import builtins
import os
import re
import warnings
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field, replace
from traceback import format_exception_only
from typing import Any
from urllib.parse import urlsplit

from ...media.attachment import Attachment, file_name, unique_name
from ...placeholders import BLANK_LINE, MAX_LENGTH, find_placeholders
from .values import show

_STRING = r'"""(?:[^"\\]|\\.|"(?!""))*+"""|"(?:[^"\\\n]|\\.)*+"'
_TOKEN = re.compile(rf"""{_STRING}|{_STRING.replace('"', "'")}|[][(){{}}"'#,]""", re.DOTALL)
_CLOSING = {"(": ")", "[": "]", "{": "}"}
RAISED = (Exception, SystemExit, GeneratorExit)
"""What an expression may raise and be told of it in one line; an interrupt is none of them."""


_RAW = "or use --raw to send the braces as they are"


class PromptError(ValueError):
    """A prompt that cannot be sent as it stands; the message is one line and says what to do."""


@dataclass(frozen=True)
class Prompt:
    """What a model is asked: the text, and the pictures that it names, in order, by their file names."""

    text: str
    images: dict[str, Attachment] = field(default_factory=dict)


@dataclass(frozen=True)
class Expression:
    """An expression in a prompt: from its first brace to behind its last, its code, the names it reads and binds."""

    start: int
    end: int
    code: str
    reads: tuple[str, ...]
    binds: frozenset[str]
    escaped: bool

    def __str__(self) -> str:
        return f"{{{{ {_line(self.code, 60)} }}}}"


def render(source: str, evaluate: Callable[[str], Any], *, names: Container[str]) -> Prompt:
    """Put the values of the expressions into a prompt; a prompt without expressions is ``source`` itself.

    ``names`` are those of the user's namespace (Python's own are known). ``PromptError`` lists the names that are
    missing, and then nothing was evaluated, or it names the expression that failed.
    """
    found = list(expressions(source))
    _check_names([expression for expression in found if not expression.escaped], names)
    parts: list[str] = []
    images: dict[str, Attachment] = {}
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
            raise PromptError(f"{expression} raised {said_of(error)}: mend it, {_RAW}") from error
        if isinstance(shown, Attachment):
            shown = f"[image: {add(images, shown, '' if shown is value else expression.code)}]"
        elif "\n" in shown and not isinstance(value, str):  # on lines of its own; behind a table an empty one
            before, after = source[: expression.start][-1:], source[done : done + 2]
            ends, has = 2 if shown.endswith("|") else 1, len(after) - len(after.lstrip("\n"))
            shown = "\n" * (before not in "\n") + shown + "\n" * (ends - has if after else 0)
        parts.append(shown)
    return Prompt("".join([*parts, source[done:]]) if found else source, images)


def expressions(source: str) -> Iterator[Expression]:
    """Find the expressions of a prompt, escaped ones too, by the rules above; nothing is evaluated."""
    for found in find_placeholders(source, _expression_at):
        yield Expression(found.start, found.end, *found.content, escaped=found.escaped)


def said_of(error: BaseException) -> str:
    """Give an exception in one line, as Python ends a traceback with it."""
    return _line("".join(format_exception_only(error)), 300)


def names_read(code: str) -> tuple[str, ...] | None:
    """Give the names that an expression takes from outside; ``None`` if the code is no expression."""
    parsed = _parse(code)
    return parsed and parsed[1]


def _expression_at(source: str, start: int) -> tuple[tuple[str, tuple[str, ...], frozenset[str]], int] | None:
    """Parse the expression that begins at ``start``; return it and the position after its closing braces."""
    end = _end(source, start)
    parsed = None if end is None else _parse(source[start:end].strip())
    return None if end is None or parsed is None else (parsed, end + 2)


def _end(source: str, start: int) -> int | None:
    """Find the ``}}`` that closes what begins at ``start``; ``None`` if no expression can begin there."""
    limit = min(len(source), start + MAX_LENGTH + 2)
    if blank := BLANK_LINE.search(source, start, limit):
        limit = blank.start()
    open_: list[str] = []
    for token in _TOKEN.finditer(source, start, limit):
        kind, at = token[0], token.start()
        if source.startswith("{{", at):
            return None
        if kind in _CLOSING:
            open_.append(_CLOSING[kind])
        elif open_ and kind == open_[-1]:
            open_.pop()
        elif kind == "}" and not open_:
            return at if source.startswith("}}", at) else None
        elif kind in ")]}#'\"" or (kind == "," and not open_):
            return None
    return None


def _parse(code: str) -> tuple[str, tuple[str, ...], frozenset[str]] | None:
    """Give an expression, the names that it takes from outside and those that it leaves there."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(code, mode="eval").body
        names = list(_names(body, frozenset()))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if _is_constant(body):
        return None
    binds = frozenset(name for name, bound in names if bound)
    reads = {name for name, _ in names} - binds
    words = [*re.findall(r"\w+", code), *sorted(reads)]
    return code, tuple(sorted(reads, key=words.index)), binds


def _is_constant(node: ast.expr) -> bool:
    """Tell whether this is a number and the like, signed or not, or empty brackets, as in code of other languages."""
    if isinstance(node, ast.UnaryOp):
        return _is_constant(node.operand)
    if isinstance(node, ast.List | ast.Tuple):
        return not node.elts
    return isinstance(node, ast.Constant) and not isinstance(node.value, str)


def _names(node: ast.AST, local: frozenset[str]) -> Iterator[tuple[str, bool]]:
    """Give the names that are not local to a part of the expression, and whether they are bound there."""
    # symtable would do, but since Python 3.12 it mixes a comprehension's own names with those around it
    if isinstance(node, ast.Name):
        if node.id not in local:
            yield node.id, isinstance(node.ctx, ast.Store)
    elif isinstance(node, ast.Lambda):
        args = node.args
        for default in [*args.defaults, *filter(None, args.kw_defaults)]:
            yield from _names(default, local)
        own = filter(None, [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg])
        inside = list(_names(node.body, local | {arg.arg for arg in own}))
        bound = {name for name, bound in inside if bound}
        yield from (found for found in inside if found[0] not in bound)
    elif isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        yield from _names(node.generators[0].iter, local)
        targets = [name for generator in node.generators for name in _names(generator.target, frozenset())]
        local |= {name for name, bound in targets if bound}
        first, children = node.generators[0], list(ast.iter_child_nodes(node))
        children[children.index(first) : children.index(first) + 1] = [first.target, *first.ifs]
        for child in children:
            yield from _names(child, local)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _names(child, local)


def _check_names(found: list[Expression], names: Container[str]) -> None:
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
        absent, them = _join([f"no {name}" for name in missing]), "it" if len(missing) == 1 else "them"
        raise PromptError(f"{_join(where)}: there is {absent}: define {them}, {_RAW}")


def add(images: dict[str, Attachment], image: Attachment, code: str) -> str:
    """Add a picture under the name of its expression, or its own if that is "", and give that name.

    The same picture goes along once.
    """
    for name, added in images.items():
        if added.uri == image.uri:
            return name
    if not code:
        return keep(images, image, image.name)
    simple = re.fullmatch(r"""[\w.]+(?:\[[\w '".-]+\]|\.\w+)*""", code)  # a name, an attribute, a subscript
    stem = re.sub(r"\W+", "_", code).strip("_")[:40] if simple else ""
    of_address = f"{stem or 'image'}{os.path.splitext(urlsplit(image.uri).path)[1]}"
    return keep(images, image, file_name(stem, image.media_type) if image.media_type else of_address)


def keep(images: dict[str, Attachment], image: Attachment, name: str) -> str:
    """Keep a picture under this name, or one like it that is free, and give that; once, if it is named so already."""
    if name in images and images[name].uri == image.uri:
        return name
    free = unique_name(name, images)
    images[free] = replace(image, name=free)
    return free


def _line(text: str, length: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _join(words: Iterable[str]) -> str:
    *rest, last = words
    return f"{', '.join(rest)} and {last}" if rest else last
