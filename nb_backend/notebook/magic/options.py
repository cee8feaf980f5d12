"""What may stand on the line of ``%%backend``."""

from __future__ import annotations

import json
import keyword
import math
import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from IPython.core.error import UsageError
from IPython.core.magic_arguments import MagicArgumentParser, argument, magic_arguments

FORMATS: Final = ("markdown", "text", "code", "json")
KEY_ON_THE_LINE: Final = (
    "a key on this line is saved with the notebook and in the history: it was not used. Delete the line, "
    "and type %backend key alone: it asks for the key and shows nothing"
)
_WORD = re.compile(r"""(?:"(?:\\"|[^"])*"|'[^']*'|[^\s"'])+""")
_QUOTED = re.compile(r"""(?P<before>[^"'=\s]+=|)(?P<quote>["'])(?P<value>.*)(?P=quote)""", re.DOTALL)


# fields of the body that the magic itself fills, and names that mean something else in Python
_OWN = frozenset({"model", "messages", "media", "prompt", "images", "system", "new", "self", "cls"})


@dataclass(frozen=True)
class Options:
    """What the line of a cell says; ``params`` are fields of the request's body.

    ``models`` are those that are asked, if there are several; ``model`` is the one that goes on in the conversation.
    """

    model: str | None
    system: str | None
    image: list[str]
    chat: str
    new: bool
    once: bool
    out: str | None
    format: str
    cache: bool | None
    refresh: bool
    raw: bool
    dry_run: bool
    params: dict[str, Any]
    models: Sequence[str] = ()


def parse(line: str) -> Options:
    """Read the line of a magic ``with_options``; ``ValueError`` in one line if it cannot be."""
    refuse_key(line)
    found = words(line)
    if any(word.startswith("--") and _is_secret(word[2:].partition("=")[0]) for word in found):
        raise ValueError(KEY_ON_THE_LINE)
    try:
        given = vars(build_parser().parse_intermixed_args(found))
    except UsageError as error:
        raise ValueError(f"{error}: see %%backend?") from None
    named = {name: given.pop(name) for name in ("provider", "temperature", "max_tokens")}
    params = {name: value for name, value in named.items() if value is not None} | dict(given.pop("param"))
    if given["once"] and (given["chat"] or given["new"]):
        raise ValueError("--once asks outside of all conversations: leave out --chat and --new, or --once")
    given["chat"] = given["chat"] or "main"
    given["model"] = _kept(given["models"], given.pop("keep"))
    if len(given["models"]) < 2:
        del given["models"]
    return Options(**given, params=params)


def _kept(models: list[str], keep: str | None) -> str | None:
    """Give the model that goes on in the conversation; ``ValueError`` if that, or another, cannot be told."""
    from ... import settings

    named = {settings.model(model): model for model in models}
    if len(models) > 1 and (len(named) < len(models) or not all(map(str.strip, models))):
        raise ValueError("several models are asked on this line, and one is named twice or by no name: name each once")
    if keep is None:
        return models[0] if models else None
    if kept := named.get(settings.model(keep)):
        return kept
    raise ValueError("--keep takes one of the models that the line names: its answer goes on in the conversation")


def refuse_key(line: str) -> None:
    """Raise ``ValueError`` if there is a key on the line of a magic."""
    from ... import settings
    from ...redaction import has_key  # not when the extension is loaded

    if has_key(line, settings.known_keys()):
        raise ValueError(KEY_ON_THE_LINE)


def words(line: str) -> list[str]:
    """Cut a line at white space outside of quotes; quotes around a word, or around what follows its "=", go.

    Others stay, as JSON needs them: ``stop=["a","b"]``. ``ValueError`` for a quote that nothing closes.
    """
    found: list[str] = []
    at, option = 0, ""
    for word in _WORD.finditer(line):
        if line[at : word.start()].strip():
            break
        at = word.end()
        quoted = _QUOTED.fullmatch(word[0])
        text = word[0] if quoted is None else quoted["before"] + _unescaped(quoted)
        if quoted is not None and text.startswith("-") and option:  # argparse takes it for another one
            found[-1] += f"={text}" if option.startswith("--") else text
        else:
            found.append(text)
        option = text if quoted is None and text.startswith("-") and "=" not in text else ""
    if line[at:].strip():
        raise ValueError(f"nothing closes the quote in {line[at:].strip()[:40]}: see %%backend?")
    return found


def _unescaped(quoted: re.Match[str]) -> str:
    value = quoted["value"]
    return value.replace('\\"', '"') if quoted["quote"] == '"' else value


def _is_secret(name: str) -> bool:
    from ...redaction import is_secret_name  # not when the extension is loaded

    return is_secret_name(name)


def _temperature(text: str) -> float:
    with suppress(ValueError):
        if math.isfinite(value := float(text)) and value >= 0:
            return value
    raise ArgumentTypeError(f"{text} is no number from 0 up")


def _count(text: str) -> int:
    with suppress(ValueError):
        if (value := int(text)) > 0:
            return value
    raise ArgumentTypeError(f"{text} is no whole number from 1 up")


def _variable(text: str) -> str:
    if not text.isidentifier() or keyword.iskeyword(text):
        raise ArgumentTypeError(f"{text!r} is no name for a variable")
    return text


def _param(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ArgumentTypeError(f"{text!r} is not KEY=VALUE: write it like top_p=0.9")
    if _is_secret(name):
        raise ArgumentTypeError(KEY_ON_THE_LINE)
    if name in _OWN:
        raise ArgumentTypeError(
            f"{name} is no parameter: the model and the question stand in the cell, images after -i, system after -s"
        )
    if value in ("True", "False", "None"):
        raise ArgumentTypeError(f"{text} is no JSON: write true, false or null")
    try:
        found = json.loads(value, parse_constant=str)
    except (ValueError, RecursionError):
        if value.startswith(("{", "[", '"')):
            raise ArgumentTypeError(f"{text} is no JSON: put it into '…' if there are spaces in it") from None
        return name, value
    if any(map(_is_secret, _keys(found))):
        raise ArgumentTypeError(KEY_ON_THE_LINE)
    if not _fits(found):
        raise ArgumentTypeError(f"{text} has a number in it that is too large to be sent: take a smaller one")
    return name, found


def _keys(value: Any) -> Iterator[str]:
    """Give the keys of all objects in a JSON value."""
    if isinstance(value, dict):
        yield from value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _keys(item)


def _fits(value: Any) -> bool:
    """Tell whether all numbers in a JSON value are finite, and fit into 64 bits if they are whole."""
    if isinstance(value, dict | list):
        return all(map(_fits, value.values() if isinstance(value, dict) else value))
    return -(2**63) <= value < 2**64 if isinstance(value, int) else not isinstance(value, float) or math.isfinite(value)


_OPTIONS = (
    argument(
        "models",
        nargs="*",
        metavar="model",
        help="the model to ask; without it, the one that is set, or the server's own choice; several answer side by "
        "side, and _ is the list",
    ),
    argument(
        "--keep",
        metavar="MODEL",
        help="which of several models goes on in the conversation; the first if not said",
    ),
    argument("-s", "--system", metavar="TEXT", help="the system prompt of the conversation, from this question on"),
    argument("-t", "--temperature", type=_temperature, metavar="NUMBER", help="how freely the model chooses its words"),
    argument("--max-tokens", type=_count, metavar="COUNT", help="how long the answer may be"),
    argument(
        "-p",
        "--param",
        type=_param,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any other field of the request, its value JSON or a text: -p top_p=0.9; may be repeated",
    ),
    argument(
        "-i",
        "--image",
        action="append",
        default=[],
        metavar="EXPRESSION_OR_PATH",
        help="a figure, a picture, an array, bytes, a file, an address, or a list of them, to go along with the "
        "question; @output is what the last cell has shown, @clipboard what was copied; may be repeated",
    ),
    argument("-c", "--chat", metavar="NAME", help='the conversation that this is part of; "main" if not said'),
    argument("-n", "--new", action="store_true", help="start the conversation over with this question"),
    argument("--once", action="store_true", help="ask outside of all conversations"),
    argument("-o", "--out", type=_variable, metavar="NAME", help="the variable that gets the answer, as _ does"),
    argument(
        "-f",
        "--format",
        choices=FORMATS,
        default="markdown",
        help="markdown and text show the answer as such; code puts its code into a new cell below; json checks it, "
        "and _ is the object it says",
    ),
    argument("--provider", metavar="NAME", help="the provider to ask, of a server that has several, as g4f does"),
    argument(
        "--cache",
        action="store_true",
        default=None,
        help="keep the answer, and replay it the next time this is asked: see %%backend cache",
    ),
    argument("--refresh", action="store_true", help="ask anew, and keep that answer"),
    argument("--raw", action="store_true", help="send {{ expressions }} as typed, and evaluate none"),
    argument("--dry-run", action="store_true", help="show what would be sent, and where, and send nothing"),
)


@cache
def build_parser() -> MagicArgumentParser:
    """Give the parser of the options, which is made once."""

    def backend() -> None: ...

    parser: MagicArgumentParser = with_options(backend).parser
    return parser


def with_options(magic: Callable[..., Any]) -> Any:
    """Decorate the magic with its options, for ``%%backend?``."""
    for option in reversed(_OPTIONS):
        magic = option(magic)
    return magic_arguments("%backend")(magic)
