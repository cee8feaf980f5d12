"""Find the ``{{ expression }}``s of a prompt, and the names that each reads, without evaluating anything."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from ...chat.placeholders import BLANK_LINE, MAX_LENGTH, find_placeholders
from ...text import truncate

_STRING = r'"""(?:[^"\\]|\\.|"(?!""))*+"""|"(?:[^"\\\n]|\\.)*+"'
_TOKEN = re.compile(rf"""{_STRING}|{_STRING.replace('"', "'")}|[][(){{}}"'#,]""", re.DOTALL)
_CLOSING = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class Expression:
    """An expression in a prompt: ``prompt[start:end]`` with its braces.

    ``reads`` are the names that it takes from outside, ``binds`` those that it assigns (``:=``).
    """

    start: int
    end: int
    code: str
    reads: tuple[str, ...]
    binds: frozenset[str]
    escaped: bool

    def __str__(self) -> str:
        return f"{{{{ {truncate(' '.join(self.code.split()), 60)} }}}}"


def expressions(source: str) -> Iterator[Expression]:
    """Yield the expressions of a prompt, escaped ones too, by the rules of ``interpolate``."""
    for found in find_placeholders(source, _expression_at):
        yield Expression(found.start, found.end, *found.content, escaped=found.escaped)


def names_read(code: str) -> tuple[str, ...] | None:
    """Return the names that an expression takes from outside; ``None`` if the code is not an expression."""
    parsed = _parse(code)
    return parsed and parsed[1]


def _expression_at(source: str, start: int) -> tuple[tuple[str, tuple[str, ...], frozenset[str]], int] | None:
    """Parse the expression that begins at ``start``; return it and the position after its closing braces."""
    end = _end(source, start)
    parsed = None if end is None else _parse(source[start:end].strip())
    return None if end is None or parsed is None else (parsed, end + 2)


def _end(source: str, start: int) -> int | None:
    """Return the position of the ``}}`` that closes what begins at ``start``; ``None`` if that is not an expression."""
    limit = min(len(source), start + MAX_LENGTH + 2)
    if blank := BLANK_LINE.search(source, start, limit):
        limit = blank.start()
    unclosed: list[str] = []
    for token in _TOKEN.finditer(source, start, limit):
        kind, at = token[0], token.start()
        if source.startswith("{{", at):
            return None
        if kind in _CLOSING:
            unclosed.append(_CLOSING[kind])
        elif unclosed and kind == unclosed[-1]:
            unclosed.pop()
        elif kind == "}" and not unclosed:
            return at if source.startswith("}}", at) else None
        elif kind in ")]}#'\"" or (kind == "," and not unclosed):
            return None
    return None


def _parse(code: str) -> tuple[str, tuple[str, ...], frozenset[str]] | None:
    """Return the code, the names it takes from outside, and those it assigns; ``None`` if it is not an expression."""
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
    """Whether this is a number or another constant but a text, or empty brackets: code of other languages has those."""
    if isinstance(node, ast.UnaryOp):
        return _is_constant(node.operand)
    if isinstance(node, ast.List | ast.Tuple):
        return not node.elts
    return isinstance(node, ast.Constant) and not isinstance(node.value, str)


def _names(node: ast.AST, local: frozenset[str]) -> Iterator[tuple[str, bool]]:
    """Yield the names that are not local to a part of the expression, each with whether it is assigned there."""
    # Not by symtable: since Python 3.12 it mixes the names of a comprehension with those around it.
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
