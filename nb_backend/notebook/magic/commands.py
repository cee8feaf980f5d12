"""``%backend``: what stands behind the cells, and how to change it. A verb is a function."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ... import settings
from ...background import run
from ...chat.cache import AnswerCache
from ...chat.chat import Chat
from ...chat.history import describe_length
from ...chat.named_chats import chats
from ...errors import BackendError
from ...providers.catalog import available_models, listed_models
from ...providers.registry import check_same_dialect
from ..report import EMBEDDED, Report
from .line import KEY_ON_THE_LINE, refuse_key, words

if TYPE_CHECKING:
    from ...providers.model import Model


def command(line: str) -> Report | Chat:
    """Do what ``%backend LINE`` says; ``ValueError`` if that is nothing it knows."""
    refuse_key(line)
    verb, rest = verb_of(line.strip().rstrip(";"))
    if verb not in COMMANDS:
        known = ", ".join(sorted(filter(None, [*COMMANDS, *ASKING])))
        raise ValueError(f"there is no %backend {verb}: it knows {known}")
    return COMMANDS[verb](rest)


def verb_of(line: str) -> tuple[str, str]:
    """Cut a line into its first word and the rest."""
    verb, *rest = line.split(None, 1)[:2] or [""]
    return verb, rest[0].strip() if rest else ""


def state(_: str) -> Report:
    """Say which server answers, whether it does, which model is asked, and whether a key is set."""
    urls = settings.urls()
    try:
        models = run(listed_models(settings.url()))
        named = ", ".join(_cell(model) for model in models[:3]) + (", …" if len(models) > 3 else "")
        reachable = f"reachable, {len(models)} model{'' if len(models) == 1 else 's'}: {named}"
    except BackendError as error:
        reachable = f"not reachable: {error}"
    return Report(
        f"- server: {urls[0] if urls else EMBEDDED} ({reachable})",
        *([f"- if that fails: {', '.join(urls[1:])}"] if urls[1:] else []),
        f"- model: {settings.model() or 'the choice of the server'}",
        f"- key: {'set' if settings.api_key() else 'not set'}",
        *([f"- aliases: {_aliases()}"] if settings.current.aliases else []),
        f"- conversations: {chats}",
        "- more: `%backend help`, `%%backend?`",
    )


def models(wanted: str) -> Report:
    """List the server's models whose name contains a word, and what each can."""
    found = [model for model in run(available_models()) if wanted.lower() in f"{model.provider} {model}".lower()]
    if not found:
        return Report(f"no model is called like {wanted!r}" if wanted else "the server names no model")
    rows = [f"| {_cell(model)} | {_cell(model.provider)} | {_abilities(model)} |" for model in found]
    return Report("| model | provider | besides text |", "| --- | --- | --- |", *rows)


def use(model: str) -> Report:
    """Ask this model in every cell that names none; without a name, the server's own choice again."""
    settings.current.model = " ".join(words(model)) or None
    return Report(f"cells that name no model ask {settings.model() or 'the one that the server chooses'}")


def url(address: str) -> Report:
    """Ask the server at this address, of several the next if one fails; ``default`` goes back to NB_BACKEND_URL or the
    embedded backend.
    """
    if address:
        urls = [] if address == "default" else settings.urls(address)
        check_same_dialect(urls)
        settings.current.url = " ".join(urls) or None
    return Report(f"the server is {', or '.join(settings.urls()) or EMBEDDED}")


def key(typed: str) -> Report:
    """Ask for the key without showing it; it is kept in this process only."""
    if typed:
        raise ValueError(KEY_ON_THE_LINE)
    try:
        entered = settings.Secret(getpass.getpass("key: ").strip())  # by its module: a kernel puts its own there
    except (RuntimeError, EOFError):
        raise ValueError("nobody can type a key here: set NB_BACKEND_API_KEY before the start") from None
    settings.current.api_key = settings.secret(entered).value if entered.value else None
    return Report(f"the key is {'set' if settings.api_key() else 'not set'}")


def alias(text: str) -> Report:
    """Give a model a short name: ``%backend alias NAME MODEL``; without a model the name is forgotten."""
    name, *model = words(text) or [""]
    if model:
        settings.current.aliases[name] = " ".join(model)
    elif name:
        settings.current.aliases.pop(name, None)
    return Report(f"aliases: {_aliases() or 'none'}")


def conversations(_: str) -> Report:
    """List the conversations."""
    rows = [
        f"| {_cell(name)} | {describe_length(chat.messages)} | {_cell(_last_question(chat))} |"
        for name, chat in chats.items()
    ]
    if not rows:
        return Report("there is no conversation yet: `%%backend` begins one")
    return Report("| conversation | length | last question |", "| --- | --- | --- |", *rows)


def history(name: str) -> Chat:
    """Show a conversation, the one of the cells that name none if this names none: ``%backend history NAME``."""
    return _conversation(name)


def reset(name: str) -> Report:
    """Start a conversation over: ``%backend reset NAME``; how to ask, its system prompt say, stays as it was given."""
    chat = _conversation(name)
    had = describe_length(chat.messages)
    chat.reset()
    return Report(f"the conversation {name or 'main'} starts over; it had {had}")


def cache(line: str) -> Report:
    """Say whether answers are kept and replayed, and where; `on`, `on FOLDER`, `off`, `clear` (delete them), `info`."""
    verb, folder = verb_of(line)
    if verb not in ("", "on", "off", "clear", "info") or (folder and verb != "on"):
        raise ValueError(f"{line!r} is nothing that the cache does: write %backend cache on, off, clear or info")
    if verb in ("on", "off"):
        named = "".join(words(folder)[:1])
        settings.current.cache = str(settings.cache(named or True)) if verb == "on" else False
    kept_in = settings.cache()
    store = AnswerCache(kept_in or settings.cache(True))
    where = store.folder.relative_to(Path.cwd()) if store.folder.is_relative_to(Path.cwd()) else store.folder
    found = [f"- the cache is {'on' if kept_in else 'off'}: `{where}`"]
    if verb == "clear":
        found.append(f"- {store.clear()} answers were deleted")
    elif verb not in ("on", "off"):  # which say the same in a notebook that runs again
        count, size = store.size()
        found.append(f"- answers: {count} ({size / 2**20:.1f} of {store.max_bytes / 2**20:.0f} MB)")
        found += ["- no server is asked: NB_BACKEND_CACHE_ONLY is set"] if settings.cache_only() else []
    return Report(*found)


def usage(_: str) -> Report:
    """Show what there is."""
    verbs = [f"- `{f'%backend {verb}'.strip()}`: {function.__doc__}" for verb, function in COMMANDS.items()]
    verbs += [f"- `%backend {verb}`: {what}" for verb, what in ASKING.items()]
    return Report(*verbs, "- `%%backend [MODEL]` above a question asks it; `%%backend?` shows its options")


COMMANDS: dict[str, Callable[[str], Report | Chat]] = {
    "": state,
    "models": models,
    "use": use,
    "url": url,
    "key": key,
    "alias": alias,
    "chats": conversations,
    "history": history,
    "reset": reset,
    "cache": cache,
    "help": usage,
}
ASKING = {  # what the magic does itself, as a cell's question
    "ask QUESTION": "Ask in one line.",
    "fix [OPTIONS]": "Ask about the last exception; the options are those of a cell, and -f code gives a new one.",
}
_ABILITIES = {"vision": "sees images", "audio": "audio", "image": "makes images"}


def _conversation(name: str) -> Chat:
    """Give a conversation that there is, by its name, with quotes or without; "main" is there in any case."""
    name = name.strip("\"'") or "main"
    if name != "main" and name not in chats:
        raise ValueError(f"there is no conversation {name!r}: there is {', '.join(chats) or 'none yet'}")
    return chats[name]


def _last_question(chat: Chat) -> str:
    asked = [str(message.get("content") or "") for message in chat.messages if message["role"] == "user"]
    return asked[-1] if asked and len(asked[-1]) <= 60 else f"{asked[-1][:59]}…" if asked else ""


def _abilities(model: Model) -> str:
    said = {what: getattr(model, ability) for ability, what in _ABILITIES.items()}
    if all(can is None for can in said.values()):
        return "?"
    return ", ".join(what for what, can in said.items() if can) or "–"


def _aliases() -> str:
    return ", ".join(f"{name} = {model}" for name, model in sorted(settings.current.aliases.items()))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
