"""``%backend``: what stands behind the cells, and how to change it. A verb is a function."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from .. import settings
from ..background import run
from ..errors import BackendError
from ..markdown import safe_markdown, safe_terminal

if TYPE_CHECKING:
    from ..providers.base import Model

MAX_PROVIDERS = 8  # asked for what their models can; g4f has dozens, and asking all takes minutes


class Report:
    """A few lines of Markdown that a command gives; in a terminal they read well as they are."""

    def __init__(self, *lines: str) -> None:
        self.markdown = "\n".join(lines)

    def _repr_markdown_(self) -> str:
        markdown: str = safe_markdown(self.markdown)
        return markdown

    def __repr__(self) -> str:
        return safe_terminal(self.markdown)


def command(line: str) -> Report:
    """Do what ``%backend LINE`` says; ``ValueError`` if that is nothing it knows."""
    verb, _, rest = line.strip().partition(" ")
    if verb not in COMMANDS:
        known = ", ".join(["ask", *sorted(filter(None, COMMANDS))])
        raise ValueError(f"there is no %backend {verb}: it knows {known}")
    return COMMANDS[verb](rest.strip())


def state(_: str) -> Report:
    """Say which server answers, whether it does, which model is asked, and whether a key is set."""
    url = settings.url()
    try:
        models = run(_models())
        named = ", ".join(_cell(model) for model in models[:3]) + (", …" if len(models) > 3 else "")
        reachable = f"reachable, {len(models)} model{'' if len(models) == 1 else 's'}: {named}"
    except BackendError as error:
        reachable = f"not reachable: {error}"
    return Report(
        f"- server: {url or _EMBEDDED} ({reachable})",
        f"- model: {settings.model() or 'the choice of the server'}",
        f"- key: {'set' if settings.api_key() else 'not set'}",
        *([f"- aliases: {_aliases()}"] if settings.current.aliases else []),
        "- more: `%backend help`, `%%backend?`",
    )


def models(wanted: str) -> Report:
    """List the server's models whose name contains a word, and what each can."""
    found = [model for model in run(_models()) if wanted.lower() in f"{model.provider} {model}".lower()]
    if not found:
        return Report(f"no model is called like {wanted!r}" if wanted else "the server names no model")
    rows = [f"| {_cell(model)} | {_cell(model.provider)} | {_SEES[model.vision]} |" for model in found]
    return Report("| model | provider | sees images |", "| --- | --- | --- |", *rows)


def use(model: str) -> Report:
    """Ask this model in every cell that names none; without a name, the server's own choice again."""
    settings.current.model = model or None
    return Report(f"cells that name no model ask {settings.model() or 'the one that the server chooses'}")


def url(address: str) -> Report:
    """Ask the server at this address; ``default`` goes back to NB_BACKEND_URL or the embedded backend."""
    if address:
        settings.current.url = None if address == "default" else settings.url(address)
    return Report(f"the server is {settings.url() or _EMBEDDED}")


def key(typed: str) -> Report:
    """Ask for the key without showing it; it is kept in this process only."""
    if typed:
        raise ValueError(
            "a key on this line is saved with the notebook and in the history: it was not used. Delete the line, "
            "and type %backend key alone: it asks for the key and shows nothing"
        )
    try:
        entered = getpass.getpass("key: ")  # by its module: a kernel puts its own there
    except RuntimeError:
        raise ValueError("nobody can type a key here: set NB_BACKEND_API_KEY before the start") from None
    settings.current.api_key = entered.strip() or None
    return Report(f"the key is {'set' if settings.api_key() else 'not set'}")


def alias(words: str) -> Report:
    """Give a model a short name: ``%backend alias NAME MODEL``; without a model the name is forgotten."""
    name, _, model = words.partition(" ")
    if name and model.strip():
        settings.current.aliases[name] = model.strip()
    elif name:
        settings.current.aliases.pop(name, None)
    return Report(f"aliases: {_aliases() or 'none'}")


def usage(_: str) -> Report:
    """Show what there is."""
    verbs = [f"- `{f'%backend {verb}'.strip()}`: {function.__doc__}" for verb, function in COMMANDS.items()]
    verbs.append("- `%backend ask QUESTION`: Ask in one line.")
    return Report(*verbs, "- `%%backend [MODEL]` above a question asks it; `%%backend?` shows its options")


COMMANDS: dict[str, Callable[[str], Report]] = {
    "": state,
    "models": models,
    "use": use,
    "url": url,
    "key": key,
    "alias": alias,
    "help": usage,
}

_EMBEDDED = "the embedded backend, on this machine"
_SEES = {True: "yes", False: "no", None: "?"}


async def _models() -> list[Model]:
    """Ask for the models; where there are few providers, for what each of their models can, too."""
    from ..chat import provider_for

    provider = provider_for(settings.url())
    models = await provider.get_models()
    providers = sorted({model.provider for model in models})
    if len(providers) > MAX_PROVIDERS or all(model.vision is not None for model in models):
        return models
    known: dict[tuple[str, str], Model] = {(model.provider, str(model)): model for model in models}
    for name in providers:
        with suppress(BackendError):
            known |= {(name, str(model)): model for model in await provider.get_models(name)}
    return list(known.values())


def _aliases() -> str:
    return ", ".join(f"{name} = {model}" for name, model in sorted(settings.current.aliases.items()))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
