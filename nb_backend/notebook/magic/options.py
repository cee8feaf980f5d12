"""The options of ``%%backend``: each is a field of ``Options``, and everything about it is declared there."""

# ruff: noqa: RUF009  option() and flag() return a dataclasses.field

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, TypeVar

from IPython.core.error import UsageError
from IPython.core.magic_arguments import MagicArgumentParser

from ...providers.common_fields import EFFORTS
from ...text import shorten
from .declaration import Option, flag, option, option_of
from .line import KEY_ON_THE_LINE, Word, refuse_key, words
from .option_values import is_secret_option, parameter, positive_integer, temperature, variable_name

FORMATS: Final = ("markdown", "text", "code", "json")


@dataclass(frozen=True)
class Options:
    """What the line of a cell says.

    ``models`` is empty unless there are several; ``model`` is the one whose answer continues the chat. ``unsure`` are
    those that may be words of a text: they are asked only if the server lists them. ``doubt`` is the refusal if it does
    not; "" for the usual one. ``like_service`` are those that may be meant for a service.
    """

    models: Sequence[str] = option(
        default=(),
        nargs="*",
        metavar="model",
        completes="models",
        help="the model to ask; by default the one that %%backend use has set, else the server's choice. Several "
        "models answer side by side, and _ is the list of their answers",
    )
    keep: str | None = option(
        "--keep",
        example="gpt-4o",
        metavar="MODEL",
        completes="models",
        help="the model, of several, whose answer continues the chat; by default the first",
    )
    system: str | None = option(
        "-s",
        "--system",
        example='"Be brief"',
        metavar="TEXT",
        help="the system prompt of the chat, from this prompt on",
    )
    temperature: float | None = option(
        "-t",
        "--temperature",
        example="0.2",
        metavar="NUMBER",
        type=temperature,
        in_body=True,
        help="how random the answer is, from 0; some models that reason refuse it",
    )
    max_tokens: int | None = option(
        "--max-tokens",
        example="500",
        metavar="COUNT",
        type=positive_integer,
        in_body=True,
        help="the longest answer, in tokens; what a model reasons counts too",
    )
    effort: str | None = option(
        "--effort",
        example="low",
        choices=EFFORTS,
        in_body=True,
        help="how long a model reasons before it answers, if it can",
    )
    param: list[tuple[str, Any]] = option(
        "-p",
        "--param",
        example="top_p=0.9",
        metavar="KEY=VALUE",
        action="append",
        type=parameter,
        help="any other field of the request; the value is JSON or a text: -p top_p=0.9. May be repeated",
    )
    image: list[str] = option(
        "-i",
        "--image",
        example="fig",
        metavar="EXPRESSION_OR_PATH",
        action="append",
        completes="images",
        help="an image to send with the prompt: a figure, a picture, an array, bytes, a file, an address, or a list of "
        "them. @output is what the last cell showed, @clipboard what was copied. May be repeated",
    )
    tool: list[str] = option(
        "-T",
        "--tool",
        example="population",
        metavar="NAME",
        action="append",
        completes="tools",
        help="a tool that the model may call: a function, an expression or a list of them, look, cells or run, an MCP "
        "server or SERVER.tool. run and MCP tools ask first. May be repeated",
    )
    chat: str = option(
        "-c",
        "--chat",
        example="work",
        metavar="NAME",
        default="main",
        completes="chats",
        help='the chat to continue; by default "main"',
    )
    new: bool = flag("-n", "--new", help="start the chat over with this prompt")
    once: bool = flag("--once", help="ask outside every chat: nothing is remembered")
    out: str | None = option(
        "-o",
        "--out",
        example="answer",
        metavar="NAME",
        type=variable_name,
        completes="variables",
        help="the variable to store the answer in, besides _",
    )
    format: str = option(
        "-f",
        "--format",
        example="json",
        choices=FORMATS,
        default="markdown",
        help="markdown and text choose how the answer is shown; code also puts its code into a new cell below; json "
        "also checks it, and _ is the value it contains",
    )
    schema: str | None = option(
        "--schema",
        example="Review",
        metavar="EXPRESSION_OR_PATH",
        completes="variables",
        help="what the answer must be: a pydantic class, a JSON schema as a dict, or a file with one. It means -f "
        "json, and _ is an instance of the class, or the value; if the answer does not fit, the model is asked once "
        "more",
    )
    provider: str | None = option(
        "--provider",
        example="OpenAI",
        metavar="NAME",
        in_body=True,
        help="the service to ask, if the server has several, as g4f does",
    )
    cache: bool = flag(
        "--cache", help="store the answer, and replay it the next time the same is asked: see %%backend cache"
    )
    refresh: bool = flag("--refresh", help="ask again although an answer is stored, and store the new one")
    act: bool = flag("--act", help="carry out the tool calls of a stored answer again")
    raw: bool = flag("--raw", help="send {{ expressions }} as typed, without evaluating them")
    dry_run: bool = flag("--dry-run", help="show what would be sent, and where, without sending it")
    model: str | None = None
    unsure: Sequence[str] = ()
    doubt: str = ""
    like_service: Sequence[str] = ()

    @property
    def params(self) -> dict[str, Any]:
        """The fields of the request's body that the line sets; ``-p`` wins over an option of the same name."""
        values = {one.name: getattr(self, one.name) for one in declared(type(self)) if one.in_body}
        return {name: value for name, value in values.items() if value is not None} | dict(self.param)

    def request_options(self, model: str | None = None) -> dict[str, Any]:
        """Return the keyword arguments of ``Chat.stream`` and ``Chat.request``; ``model`` is one of several."""
        return {
            **self.params,
            "model": model or self.model,
            "system": self.system,
            "new": self.new,
            "cache": self.cache or self.refresh or None,
            "refresh": self.refresh,
            "act": self.act,
        }


def declared(options: type[Options] = Options) -> tuple[Option, ...]:
    """Return the options that the fields of a class declare, in their order."""
    return tuple(replace(one.metadata["option"], name=one.name) for one in fields(options) if "option" in one.metadata)


OptionsT = TypeVar("OptionsT", bound=Options)


def build_parser(options: type[Options] = Options, description: str | None = None) -> MagicArgumentParser:
    """Build the parser of the options; its help begins with the description."""
    parser = MagicArgumentParser("%backend", description=description)
    for one in declared(options):
        arguments: dict[str, Any] = {**one.arguments, "default": argparse.SUPPRESS}
        if one.flags:
            arguments["dest"] = one.name
        parser.add_argument(*(one.flags or [one.name]), **arguments)
    return parser


def with_options(magic: Callable[..., Any]) -> Any:
    """Decorate the magic: its docstring, which ``%%backend?`` shows, gets the help of the options."""
    magic.__doc__ = build_parser(description=inspect.cleandoc(magic.__doc__ or "")).format_help()
    return magic


def parse(
    line: str,
    options: type[OptionsT] = Options,  # type: ignore[assignment]
    *,
    trust_one: bool = True,
) -> OptionsT:
    """Read the line of a cell; ``ValueError`` in one line if it is not valid.

    ``trust_one``: a word that is alone is a model, even if it looks like a word of a text.
    """
    from .mistakes import option_error, refuse_mistakes, refuse_text
    from .model_names import is_alias, is_like_service, looks_like_name, split_at_commas

    refuse_key(line)
    try:
        found = words(line)
    except ValueError:
        _refuse_secret_options(re.findall(r"--\w[\w-]*", line), options)  # no message may repeat it
        raise
    _refuse_secret_options(found, options)
    doubt = refuse_mistakes(found, declared(options))
    try:
        given = vars(build_parser(options).parse_intermixed_args(found))
    except UsageError as error:
        raise option_error(str(error), found, declared(options)) from None
    if not given.get("chat"):
        given.pop("chat", None)
    if "once" in given and ("chat" in given or "new" in given):
        raise ValueError("--once asks outside every chat: leave out --chat and --new, or leave out --once")
    if "schema" in given and given.setdefault("format", "json") != "json":
        raise ValueError(f"--schema reads the answer as JSON: leave out -f {given['format']}")
    named = split_at_commas(given.pop("models", []))
    given = {name: _without_flags(value) for name, value in given.items()}
    refuse_text(named)
    like_service = [str(word) for word in named if is_like_service(word)]
    unsure = [str(word) for word in named if not (is_alias(word) or looks_like_name(word) or _is_one_quoted(word))]
    models = [*map(str, named)]
    model = _kept_model(models, given.get("keep"))
    several = models if len(models) > 1 else ()
    is_checked = several or doubt or not trust_one
    return options(
        **given,
        models=several,
        model=model,
        unsure=unsure if is_checked else (),
        doubt=doubt,
        like_service=like_service,
    )


def _refuse_secret_options(found: Sequence[str], options: type[Options]) -> None:
    """Raise ``ValueError`` if a word is an option like ``--api-key``, but not one like ``--max-token``."""
    for word in found:
        name = word.partition("=")[0]
        if name.startswith("--") and is_secret_option(name[2:]) and option_of(name, declared(options))[0] is None:
            raise ValueError(KEY_ON_THE_LINE)


def _without_flags(value: Any) -> Any:
    """Return words as plain texts: they are sent, and pickled with the chat."""
    if isinstance(value, list):
        return [*map(_without_flags, value)]
    return str(value) if isinstance(value, Word) else value


def _is_one_quoted(word: Word) -> bool:
    """Whether this is one word in quotes: a model that is named like a word of a text."""
    return word.is_quoted and len(word.split()) == 1


def _kept_model(models: list[str], keep: str | None) -> str | None:
    """Return the model whose answer continues the chat; ``ValueError`` if it, or another one, is not clear."""
    from ... import settings

    named = {settings.model(model): model for model in models}
    if len(models) > 1 and (len(named) < len(models) or not all(map(str.strip, models))):
        raise ValueError("this line names several models, and one of them twice or without a name: name each one once")
    if keep is None:
        return models[0] if models else None
    if kept := named.get(settings.model(keep)):
        return kept
    which = f"one of {', '.join(map(shorten, models))}" if models else "a model that the line names"
    raise ValueError(f"--keep needs {which}, not {shorten(keep)}: its answer continues the chat")
